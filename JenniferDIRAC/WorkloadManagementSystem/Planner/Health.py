"""Back-off: after VMs that came to nothing no new one is started for a while, then one probe.

What the cloud is to blame for (its image, its flavor, itself) counts against the VM type for every VO; what a VO's
profile may be to blame for, against the VM type for that VO. One VM without work may just have come too late; several
in a row say that the jobs will not go there. A full quota is no end of a VM at all.
"""

from __future__ import annotations

from collections import defaultdict
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

CLOUD_FAULTS = frozenset({Outcome.FAILED_TO_START, Outcome.REJECTED})
VO_FAULTS = frozenset({Outcome.FIZZLED, Outcome.NEVER_REPORTED})
#: So many VMs of one VM type and VO that end one after the other without work are a fault.
NO_WORK_IN_A_ROW = 3
#: Stands for a VO where every VO is meant.
EVERY_VO = ""

#: What backs off: a VM type for one VO or for every VO.
Scope = tuple[VMTypeKey, str]


def scopes(vm_type: VMTypeKey, vo: str) -> tuple[Scope, Scope]:
    return (vm_type, EVERY_VO), (vm_type, vo)


def unhealthy(recent_ends: Iterable[RecentEnd], vms: Iterable[VirtualMachine]) -> dict[Scope, RecentEnd]:
    """What backs off, with the latest end that made it so, unless a VM has proved since that jobs do run there.

    An end counts from the moment it was decided, not only when the cloud has cleared the server away.
    """
    vms = tuple(vms)
    decided = [
        RecentEnd(vm.vm_type, vm.vo, vm.outcome, vm.since)
        for vm in vms
        if vm.state in (VMState.DELETING, VMState.ENDED) and vm.outcome is not None
    ]
    ends: defaultdict[Scope, list[RecentEnd]] = defaultdict(list)
    for end in (*recent_ends, *decided):
        ends[end.vm_type, EVERY_VO].append(end)
        if end.outcome not in CLOUD_FAULTS:  # such a VM never came so far as to tell of the VO's profile
            ends[end.vm_type, end.vo].append(end)
    bad = {scope: fault for scope, of_scope in ends.items() if (fault := _fault(scope, of_scope)) is not None}
    for vm in vms:
        for scope in scopes(vm.vm_type, vm.vo):
            if scope in bad and _disproves(vm, bad[scope]):
                del bad[scope]
    return bad


def _fault(scope: Scope, ends: list[RecentEnd]) -> RecentEnd | None:
    """The latest end, if it is a fault or the last of several in a row that found no work."""
    _, vo = scope
    faults = CLOUD_FAULTS if vo == EVERY_VO else VO_FAULTS
    latest = sorted(ends, key=lambda end: (end.at, end.outcome in faults, end.outcome))[-NO_WORK_IN_A_ROW:]
    idle = vo != EVERY_VO and [end.outcome for end in latest] == [Outcome.NO_WORK] * NO_WORK_IN_A_ROW
    return latest[-1] if idle or latest[-1].outcome in faults else None


def _disproves(vm: VirtualMachine, end: RecentEnd) -> bool:
    """It has a job; and where it is a matter of booting, it began to run after that end."""
    has_job = vm.state is VMState.RUNNING and vm.jobs > 0
    return has_job and (end.outcome is Outcome.NO_WORK or vm.since > end.at)


def backoff_left(end: RecentEnd, policy: Policy, now: datetime) -> float:
    """Seconds for which nothing is started after this end; 0 when over, or when the clock was set back before it."""
    age = now - end.at
    if age < timedelta(0):
        return 0.0
    return max(0.0, (policy.backoff - age).total_seconds())
