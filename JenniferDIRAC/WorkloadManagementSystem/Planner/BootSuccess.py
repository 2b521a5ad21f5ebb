"""How many of a VM type's latest boots succeeded: what a VM on its way is worth, and which VM type goes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, RecentEnd, VirtualMachine, VMState, VMTypeKey

#: Fewer boots than that measure nothing.
LEAST_BOOTS = 4
_FAILED = frozenset({Outcome.FAILED_TO_START, Outcome.NEVER_REPORTED})


def boot_success(
    ends: Mapping[VMTypeKey, Iterable[RecentEnd]], vms: Mapping[VMTypeKey, Iterable[VirtualMachine]], window: int
) -> dict[VMTypeKey, int]:
    """Thousandths of each VM type's last ``window`` boots that came to life; all where it is silent.

    A request that the cloud refused, as wrong or for want of room, is no boot. Were all boots to fail, one of them is
    taken to have succeeded: back-off is there to stop, and no job is to get VMs without end.
    """
    measured = {}
    for key, of_type in ends.items():
        boots = [
            (end.at, end.outcome not in _FAILED)
            for end in of_type
            if not end.no_room and end.outcome is not Outcome.REJECTED
        ]
        if all(booted for _, booted in boots):
            continue
        boots += [(vm.alive_since, True) for vm in vms.get(key, ()) if vm.state is VMState.RUNNING]
        latest = sorted(boots)[-window:]
        if len(latest) >= LEAST_BOOTS:
            measured[key] = max(1, sum(booted for _, booted in latest)) * JOB // len(latest)
    return {key: success for key, success in measured.items() if success < JOB}
