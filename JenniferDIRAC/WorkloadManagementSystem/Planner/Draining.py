"""Which VMs take no new payload: by an operator's order, for their age, or because what is booted today is another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete, Move
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import is_done
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, VirtualMachine, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting


def drain_or_resume(vm: VirtualMachine, alive: bool, watch: Watch) -> Move | None:
    """Into Draining by order or for its age, and out of it when neither is left.

    :param alive: it runs, or is about to be known to
    """
    if vm.held or is_done(vm):
        return None
    why = vm.drain or (_age(watch) if vm.created_at < watch.drained_before else "")
    if why and alive and vm.state is not VMState.DRAINING:
        return Move(vm.id, vm.state, VMState.DRAINING, why)
    if vm.state is VMState.DRAINING and not why and not vm.drifted:
        return Move(vm.id, vm.state, VMState.RUNNING, "There is no reason any more to drain it.")
    return None


def _age(watch: Watch) -> str:
    return f"It is older than {lasting(watch.drain_age)}, and lives for {lasting(watch.policy.max_lifetime)} at most."


def drain_drifted(
    listed: Collection[VirtualMachine],
    decisions: Mapping[str, Move | Delete],
    watches: Mapping[EndpointKey, Watch],
) -> dict[str, Move]:
    """Of the VMs that run something old, which are drained now: per endpoint the oldest, so many that no more than
    ``drift_percent`` of its VMs, and at least one, drain for that reason at a time.

    ``listed`` are the VMs whose server was seen in this cycle.
    """
    if not any(vm.drifted for vm in listed):
        return {}
    live: Counter[EndpointKey] = Counter()
    draining: Counter[EndpointKey] = Counter()
    waiting: defaultdict[EndpointKey, list[VirtualMachine]] = defaultdict(list)
    for vm in listed:
        state = _next_state(vm, decisions.get(vm.id))
        if state in (VMState.DELETING, VMState.ENDED):
            continue
        where = vm.endpoint
        live[where] += 1
        if not vm.drifted:
            continue
        if state is VMState.DRAINING:
            draining[where] += not (vm.drain or vm.created_at < watches[where].drained_before)
        elif state is VMState.RUNNING and not vm.held and not is_done(vm):
            waiting[where].append(vm)
    moves: dict[str, Move] = {}
    for where, old in waiting.items():
        budget = max(1, live[where] * watches[where].policy.drift_percent // 100) - draining[where]
        for vm in sorted(old, key=lambda vm: (vm.created_at, vm.id))[: max(0, budget)]:
            move = decisions.get(vm.id)
            adopted = move.server_id if isinstance(move, Move) else ""
            moves[vm.id] = Move(
                vm.id, vm.state, VMState.DRAINING, f"It is not what is booted today: {vm.drifted}", adopted
            )
    return moves


def _next_state(vm: VirtualMachine, decision: Move | Delete | None) -> VMState:
    match decision:
        case Move():
            return decision.target
        case Delete():
            return VMState.DELETING
    return vm.state
