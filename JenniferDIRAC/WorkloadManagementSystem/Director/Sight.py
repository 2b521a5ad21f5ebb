"""What a cycle saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Snapshot, VMTypeKey


@dataclass(frozen=True)
class Sight:
    """A cycle's snapshot, and what acting and reporting need besides.

    ``offerings`` are what each VM type means at its cloud, ``consoles`` the consoles read, by VM id.
    """

    snapshot: Snapshot
    offerings: Mapping[VMTypeKey, Offering]
    consoles: Mapping[str, str]
    demand_problem: str = ""
