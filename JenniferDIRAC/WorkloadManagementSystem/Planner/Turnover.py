"""Jobs that VMs at work are going to take before a VM that is started now has booted.

A VM that takes one job after another is supply for as many as it takes, at its own pace, within one boot time. Jobs are
left to that only as far as it reaches: for all others VMs are started. So a job waits no longer for it than about the
boot of a VM of its own, which would not have come sooner. The pace is that of the past: where it does not last, because
the jobs at work are longer, because small jobs keep taking the cores that a big one needs, or because the VMs are too
old for the time that a job wants, the queue's jobs do not get fewer. After two boot times of that they are left to
turnover no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    PilotState,
    Policy,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)

#: A boot is not believed to be faster.
_LEAST_BOOT = timedelta(minutes=1)
#: A queue that was not seen to lose a job for so many boot times is not left to turnover.
_TRUSTED_BOOTS = 2
# While DIRAC does not answer, the pilots are what they were: else its silence would start VMs for what they take.
_AT_WORK = frozenset({PilotState.RUNNING, PilotState.NOT_ASKED})


def turn_over(
    groups: Iterable[Group],
    vms: Mapping[VMTypeKey, Collection[VirtualMachine]],
    vm_types: Mapping[VMTypeKey, VMType],
    policy: Policy,
    now: datetime,
) -> None:
    """Counts what VMs at work, which stand by VM type, will take of the jobs that no VM on its way takes.

    Each take counts once, first for the task queues that the fewest kinds of VMs can take jobs of.
    """
    by_vo: dict[str, list[Group]] = {}
    for group in groups:
        if any(need.unserved and need.queue.fell_at is not None for need in group.needs):
            by_vo.setdefault(group.vo, []).append(group)
    if not by_vo:
        return
    takes: dict[tuple[VMTypeKey, str, int], int] = {}
    choices: dict[Group, list[tuple[tuple[VMTypeKey, str, int], timedelta]]] = {}
    for key, of_type in vms.items():
        vm_type = vm_types.get(key)
        workers = _workers(of_type) if vm_type is not None else None
        if vm_type is None or not workers:
            continue
        boot = _boot_time(workers, policy)
        for (vo, cores), number in _takes(workers, vm_type, boot, now).items():
            kind = key, vo, cores
            takes[kind] = number
            for group in by_vo.get(vo, ()):
                if (key in group.matches or not vm_type.matches_known) and _fits(group, vm_type, cores):
                    choices.setdefault(group, []).append((kind, boot))
    needs = ((len(kinds), need.queue.id, need, kinds) for group, kinds in choices.items() for need in group.needs)
    for *_, need, kinds in sorted(needs, key=lambda item: item[:2]):
        _leave(need, kinds, takes, now)


def _workers(vms: Iterable[VirtualMachine]) -> list[VirtualMachine]:
    """Those that took jobs before and will take more. Of one with a single job nobody knows when it takes another."""
    running, at_work = VMState.RUNNING, _AT_WORK
    return [
        vm
        for vm in vms
        if vm.jobs > 1 and vm.state is running and vm.said is None and not vm.drain and vm.pilot in at_work
    ]


def _boot_time(workers: Collection[VirtualMachine], policy: Policy) -> timedelta:
    """From the request to Running, the median."""
    boots = sorted([vm.since - vm.created_at for vm in workers])
    longest = policy.launch_timeout + policy.registration_timeout
    return max(_LEAST_BOOT, min(longest, boots[len(boots) // 2]))


def _takes(
    workers: Iterable[VirtualMachine], vm_type: VMType, boot: timedelta, now: datetime
) -> dict[tuple[str, int], int]:
    """Thousandths of jobs by VO (in lower case) and cores. The jobs that first filled a VM say nothing of turnover."""
    found: dict[tuple[str, int], int] = {}
    expected = boot * JOB
    for vm in workers:
        later = vm.jobs - vm_type.jobs_at_once(1, vm.cores)
        if later > 0:
            # One that was drained and works again came to Running late, and its jobs did not.
            at_work = now - min(vm.since, vm.created_at + boot)
            kind = vm.vo.lower(), vm.cores
            found[kind] = found.get(kind, 0) + later * expected // max(at_work, boot)
    return found


def _fits(group: Group, vm_type: VMType, cores: int) -> bool:
    """Whether such a job can take the place of any other: in a VM of several jobs only the smallest can."""
    jobs = group.at_once(vm_type, cores)
    return jobs > 0 and jobs == vm_type.jobs_at_once(1, cores)


def _leave(
    need: Need,
    kinds: Iterable[tuple[tuple[VMTypeKey, str, int], timedelta]],
    takes: dict[tuple[VMTypeKey, str, int], int],
    now: datetime,
) -> None:
    """Leave as many of its jobs to these VMs as they take."""
    fell_at = need.queue.fell_at
    if fell_at is None or not need.unserved:
        return
    for kind, boot in sorted(kinds):
        if now - fell_at <= _TRUSTED_BOOTS * boot:
            taken = min(need.left, takes[kind])
            takes[kind] -= taken
            need.left -= taken
            need.turned_over += taken
