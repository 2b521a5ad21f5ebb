"""A small simulated world for tests: one cloud, nothing drawn at random unless a test wants it."""

from __future__ import annotations

from JenniferDIRAC.WorkloadManagementSystem.Simulator.OurDirector import OurDirector
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Scenario, parse
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Simulation import Result, run
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import Submission
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

MINUTE, HOUR = 60.0, 3600.0


def scenario(*vm_types: dict, days: float = 1, **cloud) -> Scenario:
    """One cloud where a VM needs 10 minutes to its first job: 4 to ACTIVE, 3 to its first word, 3 to its pilot."""
    place = {"site": "CLOUD.A.fr", "ce": "a", "start": {"spread": 0}}
    place |= {"vm_types": list(vm_types) or [{"queue": "q"}]} | cloud
    return parse({"vos": ["belle", "t2k.org"], "days": days, "clouds": [place]}, "test")


def jobs(number: int, hours: float = 1, at: float = 0, vo: str = "belle", processors: int = 1) -> Submission:
    return Submission(at, vo, (hours * HOUR,) * number, processors)


def simulated(of: Scenario, *submissions: Submission, **how) -> tuple[Result, World]:
    """A run of the real director."""
    world = World(of, submissions)
    return run(world, OurDirector(world), **how), world
