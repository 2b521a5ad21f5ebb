"""Back-off: after VMs that came to nothing no new one is started for a while, then one probe.

What the cloud is to blame for (its image, its flavor, itself) counts against the VM type for every VO; what a VO's
profile may be to blame for, against the VM type for that VO. One VM without work may just have come too late; several
in a row say that the jobs will not go there. A full quota is no end of a VM at all, and a cloud without room is not to
blame (``NoRoom``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, RecentEnd, VirtualMachine, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

CLOUD_FAULTS = frozenset({Outcome.FAILED_TO_START, Outcome.REJECTED})
VO_FAULTS = frozenset({Outcome.FIZZLED, Outcome.NEVER_REPORTED})
_BAD = CLOUD_FAULTS | VO_FAULTS | {Outcome.NO_WORK}
#: So many VMs of one VM type and VO that end one after the other without work are a fault.
NO_WORK_IN_A_ROW = 3
#: Stands for a VO where every VO is meant.
EVERY_VO = ""

#: What backs off: a VM type for one VO (in lower case) or for every VO.
Scope = tuple[VMTypeKey, str]


def scopes(vm_type: VMTypeKey, vo: str) -> tuple[Scope, Scope]:
    return (vm_type, EVERY_VO), (vm_type, vo)


def ends_of(recent_ends: Iterable[RecentEnd], vms: Iterable[VirtualMachine]) -> dict[VMTypeKey, list[RecentEnd]]:
    """The recent ends by VM type, with those of ``vms``, whose end is decided and not yet one of them.

    An end counts from the moment it was decided, not only when the cloud has cleared the server away.
    """
    ends: defaultdict[VMTypeKey, list[RecentEnd]] = defaultdict(list)
    for end in recent_ends:
        ends[end.vm_type].append(end)
    for vm in vms:
        if vm.outcome is not None:
            ends[vm.vm_type].append(RecentEnd(vm.vm_type, vm.vo, vm.outcome, vm.since, vm.no_room))
    return ends


def unhealthy(
    ends: Mapping[VMTypeKey, Iterable[RecentEnd]], vms: Mapping[VMTypeKey, Iterable[VirtualMachine]]
) -> dict[Scope, RecentEnd]:
    """What backs off, with the latest end that made it so, unless a VM has proved since that jobs do run there.

    ``vms`` by VM type. A VM for which the cloud had no room says nothing.
    """
    bad: dict[Scope, RecentEnd] = {}
    for key, of_type in ends.items():
        counted = [end for end in of_type if not end.no_room]
        if all(end.outcome not in _BAD for end in counted):
            continue
        of_scope: defaultdict[Scope, list[RecentEnd]] = defaultdict(list)
        for end in counted:
            of_scope[key, EVERY_VO].append(end)
            if end.outcome not in CLOUD_FAULTS:  # such a VM never came so far as to tell of the VO's profile
                of_scope[key, end.vo.lower()].append(end)
        faults = {scope: fault for scope, some in of_scope.items() if (fault := _fault(scope, some)) is not None}
        for vm in vms.get(key, ()) if faults else ():
            for scope in scopes(key, vm.vo.lower()):
                if scope in faults and _disproves(vm, faults[scope]):
                    del faults[scope]
        bad |= faults
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
    ran_later = vm.running_at is not None and vm.running_at > end.at
    return has_job and (end.outcome is Outcome.NO_WORK or ran_later)


def backoff_left(end: RecentEnd, policy: Policy, now: datetime) -> float:
    """Seconds for which nothing is started after this end; 0 when over, or when the clock was set back before it."""
    age = now - end.at
    if age < timedelta(0):
        return 0.0
    return max(0.0, (policy.backoff - age).total_seconds())
