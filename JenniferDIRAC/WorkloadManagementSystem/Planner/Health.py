"""Back-off: after a VM of a type ended badly nothing new is started for a while, then one probe.

``NoWork`` is no fault of the VM type, and a full quota is no end of a VM at all: neither backs off.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Outcome,
    Policy,
    RecentEnd,
    VirtualMachine,
    VMState,
    VMTypeKey,
)

BAD_OUTCOMES = frozenset({Outcome.FAILED_TO_START, Outcome.FIZZLED, Outcome.NEVER_REPORTED, Outcome.REJECTED})


def unhealthy(recent_ends: Iterable[RecentEnd], vms: Iterable[VirtualMachine]) -> dict[VMTypeKey, RecentEnd]:
    """The VM types whose latest end was bad, with that end, unless a VM that began to run after it got a job.

    An end counts from the moment it was decided, not only when the cloud has cleared the server away.
    """
    vms = tuple(vms)
    decided = [
        RecentEnd(vm.vm_type, vm.outcome, vm.since)
        for vm in vms
        if vm.state in (VMState.DELETING, VMState.ENDED) and vm.outcome is not None
    ]
    latest: dict[VMTypeKey, RecentEnd] = {}
    for end in sorted((*recent_ends, *decided), key=lambda end: (end.at, end.outcome in BAD_OUTCOMES, end.outcome)):
        latest[end.vm_type] = end
    bad = {key: end for key, end in latest.items() if end.outcome in BAD_OUTCOMES}
    for vm in vms:
        if vm.state is VMState.RUNNING and vm.jobs > 0 and vm.vm_type in bad and vm.since > bad[vm.vm_type].at:
            del bad[vm.vm_type]
    return bad


def backoff_left(end: RecentEnd, policy: Policy, now: datetime) -> float:
    """Seconds for which nothing is started after this end; 0 when over, or when the clock was set back before it."""
    age = now - end.at
    if age < timedelta(0):
        return 0.0
    return max(0.0, (policy.backoff - age).total_seconds())
