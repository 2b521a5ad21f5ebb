"""Jobs that VMs at work are going to take about as soon as a VM that is started now.

A VM that takes one job after another is supply for as many as it takes, at its own pace, within ``turnover_boots``
boot times. Jobs are left to that only as far as it reaches: for all others VMs are started. With one boot time a job
waits no longer for it than about the boot of a VM of its own, which would not have come sooner; with more of them fewer
VMs are started whose job another one takes, and jobs wait longer. The pace is that of the past: where it does not last,
because the jobs at work are longer, because small jobs keep taking the cores that a big one needs, or because the VMs
are too old for the time that a job wants, the queue's jobs do not get fewer. After twice that time they are left to
turnover no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, SERVED, Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Fleet import Fleet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, VirtualMachine, VMState, VMType, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

#: A boot is not believed to be faster.
_LEAST_BOOT = timedelta(minutes=1)
#: A queue that was not seen to lose a job for so many times the reach is not left to turnover.
_TRUSTED = 2
# While DIRAC does not answer, the pilots are what they were: else its silence would start VMs for what they take.
_AT_WORK = frozenset({PilotState.RUNNING, PilotState.NOT_ASKED})


def turn_over(
    groups: Iterable[Group],
    fleets: Mapping[VMTypeKey, Fleet],
    vm_types: Mapping[VMTypeKey, VMType],
    policy: Policy,
    now: datetime,
) -> None:
    """Counts what VMs at work will take of the jobs that no VM on its way takes.

    Each take counts once, first for the task queues that the fewest VM types match.
    """
    trusted = now - _TRUSTED * policy.turnover_boots * _longest(policy)
    needs = [
        need
        for group in groups
        for need in group.needs
        if need.unserved and need.queue.fell_at is not None and need.queue.fell_at >= trusted
    ]
    if not needs or not policy.turnover_boots:
        return
    # In the order of their names; what is used up goes, and VMs are looked at when the first queue asks for their type.
    ordered = sorted((key for key in fleets if key in vm_types), key=attrgetter("site", "ce", "queue"))
    open_to: dict[str, dict[VMTypeKey, None]] = {vo: dict.fromkeys(ordered) for vo in {need.group.vo for need in needs}}
    found: dict[VMTypeKey, dict[str, list[_Takes]]] = {}
    for need in sorted(needs, key=lambda need: (len(need.group.matches), need.queue.id)):
        group = need.group
        mine = open_to[group.vo]
        for key in list(mine):
            vm_type = vm_types[key]
            if key not in group.matches and vm_type.matches_known:
                continue
            of_type = found.get(key)
            if of_type is None:
                of_type = found[key] = _takes(fleets[key], vm_type, policy, now)
            takes = of_type.get(group.vo)
            if not takes:
                del mine[key]
                continue
            for each in takes:
                _leave(need, each, vm_type, now)
            of_type[group.vo] = [each for each in takes if each.left]
            if need.left <= SERVED:
                break


@dataclass(slots=True)
class _Takes:
    """Thousandths of jobs that VMs of one type and VO, with so many cores, are going to take within their ``reach``."""

    cores: int
    left: int
    reach: timedelta


def _leave(need: Need, takes: _Takes, vm_type: VMType, now: datetime) -> None:
    """Leave as many of its jobs to these VMs as they take."""
    fits = _fits(need.group, vm_type, takes.cores)
    if need.left <= SERVED or not fits or now - need.queue.fell_at > _TRUSTED * takes.reach:
        return
    taken = min(need.left, takes.left)
    takes.left -= taken
    need.left -= taken
    need.turned_over += taken


def _takes(fleet: Fleet, vm_type: VMType, policy: Policy, now: datetime) -> dict[str, list[_Takes]]:
    """By VO, in lower case, with the median of the times from request to Running as boot time. The jobs
    that first filled a VM say nothing of turnover."""
    workers = _workers(fleet)
    if not workers:
        return {}
    since = [vm.alive_since for vm in workers]
    each_boot = sorted([at - vm.created_at for vm, at in zip(workers, since, strict=True)])
    boot = max(_LEAST_BOOT, min(_longest(policy), each_boot[len(each_boot) // 2]))
    seconds, sums = int(boot.total_seconds()), defaultdict[tuple[str, int], int](int)
    first = {cores: vm_type.jobs_at_once(1, cores) for cores in {vm.cores for vm in workers}}
    for vm, at in zip(workers, since, strict=True):
        later = vm.jobs - first[vm.cores]
        if later > 0:
            at_work = now - at
            of_boot = later * JOB
            if at_work > boot:
                of_boot = of_boot * seconds // (at_work.days * 86400 + at_work.seconds)
            sums[vm.vo, vm.cores] += of_boot
    found: dict[str, list[_Takes]] = {}
    for (vo, cores), number in sorted(sums.items()):
        found.setdefault(vo.lower(), []).append(
            _Takes(cores, number * policy.turnover_boots, policy.turnover_boots * boot)
        )
    return found


def _workers(fleet: Fleet) -> list[VirtualMachine]:
    """Those that took jobs before and will take more. Of one with a single job nobody knows when it takes another."""
    running = VMState.RUNNING
    return [vm for vm in fleet.at_work if vm.jobs > 1] + [
        vm
        for vm in fleet.others
        if vm.jobs > 1 and vm.state is running and vm.said is None and not vm.drain and vm.pilot in _AT_WORK
    ]


def _longest(policy: Policy) -> timedelta:
    """No boot that succeeds is longer."""
    return policy.launch_timeout + policy.registration_timeout


def _fits(group: Group, vm_type: VMType, cores: int) -> bool:
    """Whether such a job can take the place of any other: in a VM of several jobs only the smallest can."""
    jobs = group.at_once(vm_type, cores)
    return jobs > 0 and jobs == vm_type.jobs_at_once(1, cores)
