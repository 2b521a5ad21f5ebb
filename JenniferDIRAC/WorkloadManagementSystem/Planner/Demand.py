"""How many jobs wait that no VM on its way will take.

Each task queue counts once, whatever matches it, and each VM on its way is supply for one task queue only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    PilotState,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch

#: States of a VM that was asked for and has not shown life yet.
STARTING = frozenset({VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING})


def each_once(task_queues: Iterable[TaskQueue]) -> tuple[TaskQueue, ...]:
    """The queues that hold jobs, by id; what several askers saw of one queue is one queue."""
    merged: dict[int, TaskQueue] = {}
    for queue in task_queues:
        seen = merged.get(queue.id, queue)
        merged[queue.id] = replace(
            queue,
            vo=min(seen.vo, queue.vo),
            jobs=max(seen.jobs, queue.jobs),
            processors=max(seen.processors, queue.processors, 1),
            matches=seen.matches | queue.matches,
        )
    return tuple(queue for _, queue in sorted(merged.items()) if queue.jobs > 0)


def is_supply(vm: VirtualMachine, watch: Watch) -> bool:
    """Whether this VM is going to ask for its first job; one that runs for long without a job is not believed to."""
    if vm.said is not None or vm.jobs > 0 or vm.pilot is PilotState.FINISHED:
        return False
    if vm.state is VMState.RUNNING:
        return not watch.longer(vm.since, watch.policy.registration_timeout)
    return vm.state in STARTING


def jobs_left(
    task_queues: Iterable[TaskQueue], supply: Iterable[VirtualMachine], vm_types: Mapping[VMTypeKey, VMType]
) -> dict[int, int]:
    """Waiting jobs per task queue id that the VMs on their way, ``supply``, will not take.

    The oldest VM is assigned first, and to the queue it was started for if that one still waits: so the VMs that a
    plan created cover just what they were created for, and planning again creates nothing more.
    """
    queues = {queue.id: queue for queue in task_queues}
    left = {queue.id: queue.jobs for queue in queues.values()}

    def suitable(vm: VirtualMachine) -> list[TaskQueue]:
        return [queue for queue in queues.values() if covers(vm, queue, vm_types) > 0]

    assignable = [(vm, suitable(vm)) for vm in supply]
    for vm, options in sorted(assignable, key=lambda item: (item[0].created_at, len(item[1]), item[0].id)):
        waiting = [queue for queue in options if left[queue.id] > 0]
        if waiting:
            queue = min(waiting, key=lambda q: (q.id != vm.task_queue, _waste(vm, q, left[q.id], vm_types), q.id))
            left[queue.id] -= min(left[queue.id], covers(vm, queue, vm_types))
    return left


def covers(vm: VirtualMachine, queue: TaskQueue, vm_types: Mapping[VMTypeKey, VMType]) -> int:
    """How many jobs of the queue this VM would run at once.

    While it is not known what its VM type matches, it may match every queue of its VO: were it no supply then, a
    Matcher that does not answer for a moment would double it elsewhere.
    """
    vm_type = vm_types.get(vm.vm_type)
    if vm_type is None or vm.vo != queue.vo or (vm_type.matches_known and vm_type.key not in queue.matches):
        return 0
    return vm_type.jobs_at_once(queue.processors, vm.cores)


def _waste(vm: VirtualMachine, queue: TaskQueue, left: int, vm_types: Mapping[VMTypeKey, VMType]) -> int:
    return vm.cores - min(left, covers(vm, queue, vm_types)) * queue.processors
