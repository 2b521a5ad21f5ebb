"""One endpoint's thread: a cloud that hangs keeps its own thread, and nobody else's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, Unreachable


class EndpointWorker:
    """Runs one task at a time against one endpoint, in a daemon thread that cannot keep the agent from ending."""

    def __init__(
        self, name: str, make_endpoint: Callable[[], CloudEndpoint], clock: Callable[[], float] = time.monotonic
    ):
        self._name = name
        self._make_endpoint = make_endpoint
        self._endpoint: CloudEndpoint | None = None
        self._clock = clock
        self._current: tuple[Future, str, float] | None = None

    def start(self, what: str, task: Callable[[CloudEndpoint], Any]) -> Future:
        """Begin ``task``; the future holds its value or its exception.

        While an earlier task still runs, nothing is begun and the future holds ``Unreachable`` saying so.
        """
        future: Future = Future()
        if self._current is not None and not self._current[0].done():
            _, earlier, since = self._current
            seconds = self._clock() - since
            future.set_exception(Unreachable(f"the cloud has not answered '{earlier}' for {seconds:.0f} s"))
            return future
        self._current = (future, what, self._clock())
        threading.Thread(target=self._run, args=(future, task), name=f"{self._name}: {what}", daemon=True).start()
        return future

    def _run(self, future: Future, task: Callable[[CloudEndpoint], Any]) -> None:
        try:
            if self._endpoint is None:
                self._endpoint = self._make_endpoint()
            future.set_result(task(self._endpoint))
        except BaseException as error:  # the outermost loop of an endpoint's thread: the caller gets it with the future
            future.set_exception(error)


def results_within(futures: dict[Any, Future], deadline: float) -> dict[Any, Any]:
    """The value or the exception of each future; ``Unreachable`` for those not done ``deadline`` seconds from now."""
    wait(futures.values(), timeout=deadline)
    results = {}
    for key, future in futures.items():
        if not future.done():
            results[key] = Unreachable(f"the cloud did not answer within {deadline:.0f} s")
        else:
            results[key] = future.exception() or future.result()
    return results
