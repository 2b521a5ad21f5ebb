"""One director over endpoints of a real OpenStack; tells how long each of them took in each cycle.

The store is SQLite in memory and DIRAC the tests' own double, so that nothing but clouds takes time.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.contestants.lane import serve
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import NO_NETWORK

sys.path.append(str(Path(__file__).parents[2] / "tests/unit/WorkloadManagementSystem/Director"))
from director_world import World  # noqa: E402

_ENOUGH_JOBS = 10000


class TimedEndpoint:
    """Keeps when each call of its began and ended, until they are taken."""

    def __init__(self, cloud: OpenStackEndpoint):
        self._cloud = cloud
        self._calls: list[tuple[str, float, float]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cloud, name)
        return self._timed(name, value) if callable(value) else value

    def create_server(self, request):
        """Without a port, whose making would hide all else."""
        return self._timed("create_server", self._cloud.create_server)(replace(request, networks=(NO_NETWORK,)))

    def take(self) -> list[tuple[str, float, float]]:
        taken, self._calls = self._calls, []
        return taken

    def _timed(self, name: str, call):
        def timed(*args, **kwargs):
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._calls.append((name, begin, time.perf_counter()))

        return timed


class DirectorChild:
    """:param clouds_yaml: its path
    :param clouds: entries of it, an endpoint each
    :param vms: how many VMs each endpoint gets per cycle that creates
    """

    def __init__(self, clouds_yaml: str, clouds: list[str], image: str, vms: int):
        os.environ["OS_CLIENT_CONFIG_FILE"] = clouds_yaml
        self._world = World(*(f"CLOUD.{cloud}.org" for cloud in clouds), image=f"name:{image}")
        options = {"VO": "belle", "PollingTime": 10, "MaxCreatesPerCycle": vms, "MaxBooting": _ENOUGH_JOBS}
        self._world.config = DirectorConfig.read("CloudDirector", options)
        self._timed = {
            cloud: TimedEndpoint(OpenStackEndpoint(str(config), cloud))
            for cloud, config in zip(clouds, self._world.configs, strict=True)
        }
        self._world.clouds = {
            key_of(config): timed for config, timed in zip(self._world.configs, self._timed.values(), strict=True)
        }

    def look(self) -> dict[str, Any]:
        """A cycle without anything to do."""
        return self._cycle(0)

    def create(self) -> dict[str, Any]:
        """A cycle with more jobs than VMs may be made."""
        return self._cycle(_ENOUGH_JOBS)

    def _cycle(self, jobs: int) -> dict[str, Any]:
        """Seconds: of the cycle, of each endpoint's look, and of each of its creates."""
        self._world.wait_for_jobs(jobs)
        begin = time.perf_counter()
        self._world.cycle()
        seconds = time.perf_counter() - begin
        looks, creates = {}, defaultdict(list)
        for cloud, timed in self._timed.items():
            calls = timed.take()
            creates[cloud] = [end - start for name, start, end in calls if name == "create_server"]
            seen = [(start, end) for name, start, end in calls if name not in ("create_server", "delete_server")]
            if seen:
                looks[cloud] = max(end for _, end in seen) - min(start for start, _ in seen)
        return {"seconds": seconds, "looks": looks, "creates": creates, "words": self._world.log.warnings[-3:]}


if __name__ == "__main__":
    serve(DirectorChild)
