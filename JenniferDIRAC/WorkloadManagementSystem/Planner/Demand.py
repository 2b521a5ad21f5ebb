"""How many jobs wait that no VM on its way will take.

Each task queue counts once, whatever matches it, and each VM on its way is supply for one task queue only. Jobs are
counted in thousandths, so that a VM that may fail to boot counts for less than its jobs, and sums stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import is_done
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch

#: States of a VM that was asked for and has not shown life yet.
STARTING = frozenset({VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING})
#: Thousandths of a job.
JOB = 1000
#: A task queue with no more than that left is served: one job never gets two VMs because 5 % of them fail to boot.
SERVED = JOB // 2


class Need:
    """What one task queue still wants. ``left`` are thousandths of jobs that no VM takes yet, ``coming`` the ids of the
    VMs on their way that are counted for it, ``started`` how many of a VM type this plan starts for it."""

    __slots__ = ("queue", "group", "left", "coming", "taken", "turned_over", "started", "created", "order")

    def __init__(self, queue: TaskQueue, group: Group, order: int):
        self.queue, self.group, self.order = queue, group, order
        self.left = queue.jobs * JOB
        self.coming: list[str] = []
        self.taken = 0  # thousandths of jobs that those that are coming take
        self.turned_over = 0  # thousandths of jobs that VMs at work take
        self.started: dict[VMTypeKey, int] = {}
        self.created = 0

    @property
    def unserved(self) -> bool:
        return self.left > SERVED

    @property
    def jobs_left(self) -> int:
        return (self.left + JOB - SERVED - 1) // JOB


class Group:
    """Task queues of one VO that want VMs of the same kind: as many processors, and the same VM types match.

    ``vo`` is in lower case. ``probe``: they want VMs and not jobs, each VM counts as one, whatever it could run.
    """

    __slots__ = ("vo", "processors", "matches", "probe", "needs")

    def __init__(self, vo: str, processors: int, matches: frozenset[VMTypeKey], probe: bool = False):
        self.vo, self.processors, self.matches, self.probe = vo, processors, matches, probe
        self.needs: list[Need] = []

    def at_once(self, vm_type: VMType, cores: int = 0) -> int:
        """How many of their jobs one VM of this type, of so many cores, runs at a time."""
        jobs = vm_type.jobs_at_once(self.processors, cores)
        return min(1, jobs) if self.probe else jobs


def each_once(task_queues: Iterable[TaskQueue]) -> tuple[TaskQueue, ...]:
    """The queues that hold jobs, by id; what several askers saw of one queue is one queue."""
    merged: dict[int, TaskQueue] = {}
    for queue in task_queues:
        seen = merged.get(queue.id)
        if seen is None and queue.processors >= 1:
            merged[queue.id] = queue
            continue
        seen = seen or queue
        merged[queue.id] = replace(
            queue,
            vo=min(seen.vo, queue.vo),
            jobs=max(seen.jobs, queue.jobs),
            processors=max(seen.processors, queue.processors, 1),
            matches=seen.matches | queue.matches,
            fell_at=min(seen.fell_at, queue.fell_at) if seen.fell_at and queue.fell_at else None,
        )
    return tuple(queue for _, queue in sorted(merged.items()) if queue.jobs > 0)


def grouped(queues: Iterable[TaskQueue]) -> tuple[Group, ...]:
    """The queues as needs, those that want the same together."""
    groups: dict[tuple[str, int, frozenset[VMTypeKey]], Group] = {}
    for queue in queues:
        # As DIRAC compares VO names: without regard to case.
        kind = (queue.vo.lower(), queue.processors, frozenset(queue.matches))
        group = groups.get(kind)
        if group is None:
            group = groups[kind] = Group(*kind)
        group.needs.append(Need(queue, group, queue.id))
    return tuple(groups.values())


def is_supply(vm: VirtualMachine, watch: Watch) -> bool:
    """Whether this VM is going to ask for its first job; one that runs for long without a job is not believed to."""
    if vm.jobs > 0 or is_done(vm):
        return False
    if vm.state is VMState.RUNNING:
        return not watch.longer(vm.since, watch.policy.registration_timeout)
    return vm.state in STARTING


def assign(
    groups: Iterable[Group],
    supply: Iterable[VirtualMachine],
    vm_types: Mapping[VMTypeKey, VMType],
    success: Mapping[VMTypeKey, int],
) -> None:
    """Counts the VMs on their way, ``supply``, for the queues.

    ``success`` are the thousandths of a VM type's boots that succeed; all where it is silent.

    The oldest VM is assigned first, and to the queue it was started for if that one still waits: so the VMs that a
    plan created cover just what they were created for, and planning again creates nothing more.
    """
    by_vo: dict[str, list[Group]] = {}
    needs: dict[int | None, Need] = {}
    for group in groups:
        by_vo.setdefault(group.vo, []).append(group)
        needs.update((need.queue.id, need) for need in group.needs)
    kinds: dict[tuple[VMTypeKey, str, int], list[tuple[Group, int]]] = {}
    assignable = []
    for vm in supply:
        kind = vm.vm_type, vm.vo, vm.cores
        options = kinds.get(kind)
        if options is None:
            vm_type = vm_types.get(vm.vm_type)
            of_vo = by_vo.get(vm.vo.lower(), ()) if vm_type else ()
            # While it is not known what a VM type matches, it may match every queue of its VO: were its VMs no supply
            # then, a Matcher that does not answer for a moment would double them elsewhere.
            options = kinds[kind] = [
                (group, jobs)
                for group in of_vo
                if (vm.vm_type in group.matches or not vm_type.matches_known)
                and (jobs := group.at_once(vm_type, vm.cores))
            ]
        if not options:
            continue
        # A VM that runs has booted.
        booted = success.get(vm.vm_type, JOB) if vm.state in STARTING else JOB
        own = needs.get(vm.task_queue)
        of_own = 0 if own is None else next((jobs for group, jobs in options if group is own.group), 0)
        choice = sum(len(group.needs) for group, _ in options)
        # Of the VMs of one queue the smallest first: were it last, a bigger one before it might leave it over.
        order = (vm.created_at, not of_own, of_own * booted, choice, vm.id)
        assignable.append((order, vm, options, booted, own if of_own else None, of_own))
    for _, vm, options, booted, own, of_own in sorted(assignable, key=lambda item: item[0]):
        if own is not None and own.unserved:
            need, jobs = own, of_own
        else:
            best = min(
                (
                    (vm.cores - min(-(-need.left // JOB), jobs) * group.processors, need.queue.id, need, jobs)
                    for group, jobs in options
                    for need in group.needs
                    if need.left > SERVED
                ),
                default=None,
            )
            if best is None:
                continue
            _, _, need, jobs = best
        taken = min(need.left, jobs * booted)
        need.left -= taken
        need.taken += taken
        need.coming.append(vm.id)
