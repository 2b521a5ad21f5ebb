"""One look at each cloud per cycle, all at the same time; the look of a slow one is used when it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, Unreachable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey


class Looks:
    """Takes looks through the endpoints' workers; ``deadline`` in seconds."""

    def __init__(self, workers: Mapping[EndpointKey, EndpointWorker], deadline: float):
        self._workers = workers
        self._punctuality = Punctuality(deadline)
        self._under_way: dict[EndpointKey, tuple[EndpointWorker, Future]] = {}

    def take(
        self, looks: Mapping[EndpointKey, Callable[[CloudEndpoint], Any]]
    ) -> dict[EndpointKey, Observation | Exception]:
        """What each look saw, or why it saw nothing.

        A look that came too late for its cycle serves a later one: its worker does one thing at a time, so nothing was
        done at that cloud meanwhile.
        """
        self._under_way = {key: under_way for key, under_way in self._under_way.items() if key in looks}
        results: dict[EndpointKey, Observation | Exception] = {}
        begun: dict[EndpointKey, Future] = {}
        for key, look in looks.items():
            worker = self._workers[key]
            owner, earlier = self._under_way.get(key, (None, None))
            if owner is not worker or earlier is None:
                begun[key] = worker.start("list servers", look)
                self._under_way[key] = (worker, begun[key])
            elif earlier.done():
                results[key] = result_of(earlier)
                del self._under_way[key]
            else:
                results[key] = Unreachable(f"the cloud has not answered yet: {worker.busy}")
        self._punctuality.wait(begun)
        for key, future in begun.items():
            if future.done():
                results[key] = result_of(future)
                del self._under_way[key]
            else:
                results[key] = Unreachable("the cloud has not answered yet")
        return results


def result_of(future: Future) -> Any:
    """The value or the exception of a future that is done."""
    return future.exception() or future.result()
