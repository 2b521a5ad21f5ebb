"""What becomes of each VM record, given what the cloud lists and what DIRAC and the VM itself say.

What is seen comes first, time-outs after: a VM that shows life is never timed out by a late or stopped director. An
endpoint without a complete listing changes nothing, and no server is believed gone on one listing, nor on several that
lack most servers at once. An age that is negative, because a clock was set back, is below every time-out.

A VM that an operator holds is neither deleted nor drained, whatever it shows and however old it is; its record still
ends when the cloud lists it no more, and a delete that was asked for before it was held is not taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Brakes import braked, shows_life
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete, Move
from JenniferDIRAC.WorkloadManagementSystem.Planner.Draining import drain_drifted, drain_or_resume
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import (
    OVER,
    WORKING,
    End,
    absent,
    expired,
    is_alive,
    shown,
    stored,
    timed_out,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Fleet import Fleet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    Outcome,
    PilotState,
    ServerState,
    ServerView,
    Snapshot,
    VirtualMachine,
    VMState,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch, disbelief

#: Every step a record may make; what is not here is refused. The long steps are those of a director that looks late.
TRANSITIONS: frozenset[tuple[VMState, VMState]] = frozenset(
    (source, target)
    for source, targets in {
        VMState.PLANNED: (VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING),
        VMState.REQUESTED: (VMState.BOOTING, VMState.RUNNING, VMState.DRAINING),
        VMState.BOOTING: (VMState.RUNNING, VMState.DRAINING),
        VMState.RUNNING: (VMState.DRAINING,),
        VMState.DRAINING: (VMState.RUNNING,),
        VMState.DELETING: (),
    }.items()
    for target in (*targets, VMState.DELETING, VMState.ENDED)
    if target is not source
)


def is_allowed(source: VMState, target: VMState) -> bool:
    return (source, target) in TRANSITIONS


def decide_all(
    snapshot: Snapshot, fleets: Mapping[VMTypeKey, Fleet], watches: Mapping[EndpointKey, Watch], policy: Policy
) -> dict[str, Move | Delete]:
    """The decision of this cycle per VM, by the VM's id; VMs that stay as they are have none."""
    listed = {endpoint.key: endpoint for endpoint in snapshot.endpoints if endpoint.servers is not None}
    watch = {key: watches[key] for key in listed}
    disbelieved = {key for key, endpoint in listed.items() if disbelief(endpoint, snapshot.vms, watch[key])}
    servers = {key: {server.vm: server for server in endpoint.servers or ()} for key, endpoint in listed.items()}
    decisions: dict[str, Move | Delete] = {}
    by_clock: set[str] = set()
    drifted = False
    for vm_type, fleet in fleets.items():
        where = vm_type.endpoint
        if where not in listed:
            continue
        for vm in fleet.others:
            drifted = drifted or bool(vm.drifted)
            server = servers[where].get(vm.id)
            if server is not None and server.id != vm.server_id:
                server = server_of(vm, listed[where])
            if server is None and where in disbelieved:
                continue
            decision = decide(vm, server, watch[where])
            if decision is None:
                continue
            decisions[vm.id] = decision
            if isinstance(decision, Delete) and shows_life(vm) and not (server and shown(vm, server, watch[where])):
                by_clock.add(vm.id)
    decisions = braked(decisions, by_clock, fleets.values(), policy)
    if not drifted:
        return decisions
    seen = [vm for vm in snapshot.vms if vm.endpoint in servers and vm.id in servers[vm.endpoint]]
    return decisions | drain_drifted(seen, decisions, watch)


def server_of(vm: VirtualMachine, endpoint: Endpoint) -> ServerView | None:
    """Of the servers that bear its identity the one in its record, else any (an ambiguous create)."""
    own = [server for server in endpoint.servers or () if server.vm == vm.id]
    return min(own, key=lambda server: (server.id != vm.server_id, server.id), default=None)


def after(vm: VirtualMachine, decision: Move | Delete | None, now: datetime) -> VirtualMachine:
    """The record as it will be once the decision was carried out."""
    match decision:
        case Move():
            moved = replace(vm, state=decision.target, since=now, server_id=decision.server_id or vm.server_id)
            if decision.target is VMState.RUNNING:
                moved = replace(moved, running_at=vm.running_at or now)
            if decision.outcome is None:
                return moved
            return replace(moved, outcome=decision.outcome, outcome_reason=decision.reason, outcome_code=decision.code)
        case Delete() if is_allowed(vm.state, VMState.DELETING):
            return replace(
                vm,
                state=VMState.DELETING,
                since=now,
                server_id=decision.server_id,
                outcome=decision.outcome,
                outcome_reason=decision.reason,
                outcome_code=decision.code,
            )
    return vm


def decide(vm: VirtualMachine, server: ServerView | None, watch: Watch) -> Move | Delete | None:
    """The one step this VM makes now, from a complete listing in which ``server`` is its server (None: not listed)."""
    if server is None:
        end = absent(vm, watch)
        return None if end is None else _move(vm, VMState.ENDED, end.reason, end=end)
    if vm.state in OVER:
        left_alone = vm.state is VMState.ENDED and (vm.held or _came_back(vm, server, watch))
        return None if left_alone else _delete(vm, server, stored(vm, watch))
    if server.state is ServerState.STOPPED and _verdict_waits(vm, watch):
        return None
    end = None if vm.held else shown(vm, server, watch) or timed_out(vm, server, watch)
    if end is not None:
        return _delete(vm, server, end)
    alive = vm.state in WORKING or is_alive(vm)
    if (drain := drain_or_resume(vm, alive, watch)) is not None:
        return replace(drain, server_id=_adopted(vm, server))
    if vm.state in WORKING:
        return None
    if alive:
        return _move(vm, VMState.RUNNING, "The VM or its pilot reported.", server)
    if server.state is ServerState.ACTIVE and vm.state is not VMState.BOOTING:
        return _move(vm, VMState.BOOTING, "Its server is active; its first word is awaited.", server)
    if vm.state is VMState.PLANNED:
        return _move(vm, VMState.REQUESTED, "Its server was found in the cloud.", server)
    return None


def _came_back(vm: VirtualMachine, server: ServerView, watch: Watch) -> bool:
    """It was believed gone, and its server is there again with a pilot at work: that one is left to finish."""
    return (
        vm.outcome is Outcome.VANISHED
        and vm.said is None
        and vm.pilot in (PilotState.RUNNING, PilotState.NOT_ASKED)
        and server.state not in (ServerState.STOPPED, ServerState.ERROR)
        and expired(vm, watch) is None
    )


def _verdict_waits(vm: VirtualMachine, watch: Watch) -> bool:
    """It stopped, and only DIRAC knows why: it is asked again, for a while."""
    unknown = vm.pilot is PilotState.NOT_ASKED and vm.said is None and vm.jobs == 0
    return unknown and not watch.longer(vm.since, watch.policy.registration_timeout)


def _adopted(vm: VirtualMachine, server: ServerView | None) -> str:
    """The id of a server that its record does not have yet."""
    return server.id if server is not None and server.id != vm.server_id else ""


def _move(
    vm: VirtualMachine, target: VMState, reason: str, server: ServerView | None = None, end: End | None = None
) -> Move:
    return Move(
        vm=vm.id,
        source=vm.state,
        target=target,
        reason=reason,
        server_id=_adopted(vm, server),
        outcome=end.outcome if end else None,
        code=end.code if end else 0,
    )


def _delete(vm: VirtualMachine, server: ServerView, end: End) -> Delete:
    return Delete(
        vm=vm.id,
        endpoint=vm.endpoint,
        server_id=server.id,
        source=vm.state,
        outcome=end.outcome,
        reason=end.reason,
        code=end.code,
    )
