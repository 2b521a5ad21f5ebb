"""What a cycle saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from JenniferDIRAC.WorkloadManagementSystem.Context.ContextVersion import Recipient
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import Scope
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Snapshot, VMTypeKey


@dataclass(frozen=True)
class Sight:
    """A cycle's snapshot, and what acting and reporting need besides.

    ``offerings`` are what each VM type means at its cloud, ``consoles`` the consoles read, by VM id. ``versions`` are
    for whom VMs may be started, with the version of what they would be told, where that can be made.
    """

    snapshot: Snapshot
    offerings: Mapping[VMTypeKey, Offering]
    consoles: Mapping[str, str]
    demand_problem: str = ""
    versions: Mapping[Scope, tuple[Recipient, str]] = field(default_factory=dict)
