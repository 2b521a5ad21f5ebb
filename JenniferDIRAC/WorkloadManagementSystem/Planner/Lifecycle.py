"""What becomes of each VM record, given what the cloud lists and what DIRAC and the VM itself say.

What is seen comes first, time-outs after: a VM that shows life is never timed out by a late or stopped director. An
endpoint without a complete listing changes nothing, and no server is believed gone on one listing, nor on several that
lack most servers at once. An age that is negative, because a clock was set back, is below every time-out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Delete,
    Endpoint,
    EndpointKey,
    Move,
    Outcome,
    PilotState,
    Policy,
    ServerState,
    ServerView,
    Snapshot,
    VirtualMachine,
    VMState,
    VMTypeKey,
)

#: Every step a record may make; what is not here is refused. The long steps are those of a director that looks late.
TRANSITIONS: frozenset[tuple[VMState, VMState]] = frozenset(
    (source, target)
    for source, targets in {
        VMState.PLANNED: (VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DELETING, VMState.ENDED),
        VMState.REQUESTED: (VMState.BOOTING, VMState.RUNNING, VMState.DELETING, VMState.ENDED),
        VMState.BOOTING: (VMState.RUNNING, VMState.DELETING, VMState.ENDED),
        VMState.RUNNING: (VMState.DRAINING, VMState.DELETING, VMState.ENDED),
        VMState.DRAINING: (VMState.RUNNING, VMState.DELETING, VMState.ENDED),
        VMState.DELETING: (VMState.ENDED,),
    }.items()
    for target in targets
)

#: States in which a VM with a server is to be found in its endpoint's list.
LISTED_STATES = frozenset({VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING})

_WORKING = frozenset({VMState.RUNNING, VMState.DRAINING})


@dataclass(frozen=True)
class End:
    """Why a VM ends: outcome, HSF code (100 to 700, as VCycle's users know them), and a sentence for the operator."""

    outcome: Outcome
    code: int
    reason: str


@dataclass(frozen=True)
class Watch:
    """The time by which ages are judged, and since when somebody looked without a break."""

    policy: Policy
    now: datetime
    since: datetime | None = None

    def longer(self, start: datetime, timeout: timedelta) -> bool:
        """Whether more than ``timeout`` went by since ``start`` while somebody was looking."""
        return self.now - (start if self.since is None else max(start, self.since)) > timeout


def is_allowed(source: VMState, target: VMState) -> bool:
    return (source, target) in TRANSITIONS


def is_suspect(believed: Set[str], listed: Set[str]) -> bool:
    """Whether a complete listing lacks so many servers at once that it is rather the list that is wrong.

    ``believed`` are the ids of an endpoint's VMs in ``LISTED_STATES`` whose record has a server, ``listed`` those of
    the VMs that its list shows.
    """
    return len(believed) > 1 and 2 * len(believed & listed) < len(believed)


def disbelief(endpoint: Endpoint, vms: Iterable[VirtualMachine], watch: Watch) -> str:
    """Why nothing is believed gone on this endpoint's list: "" or how much of it is missing since when."""
    since = endpoint.suspect_since
    if since is None or watch.longer(since, watch.policy.suspect_timeout):
        return ""
    believed = {vm.id for vm in vms if vm.endpoint == endpoint.key and vm.server_id and vm.state in LISTED_STATES}
    missing = len(believed - {server.vm for server in endpoint.servers or ()})
    return f"{missing} of {len(believed)} servers are missing from its list since {since:%Y-%m-%d %H:%M} UTC"


def watches(snapshot: Snapshot, policy: Policy, now: datetime) -> dict[EndpointKey, Watch]:
    """Per endpoint since when it was looked at without a break: by the director, and with a list in answer."""
    return {
        endpoint.key: Watch(
            policy,
            now,
            max((since for since in (snapshot.watching_since, endpoint.watching_since) if since), default=None),
        )
        for endpoint in snapshot.endpoints
    }


def by_type(vms: Iterable[VirtualMachine]) -> dict[VMTypeKey, list[VirtualMachine]]:
    groups: defaultdict[VMTypeKey, list[VirtualMachine]] = defaultdict(list)
    for vm in vms:
        groups[vm.vm_type].append(vm)
    return groups


def decide_all(
    snapshot: Snapshot,
    policy: Policy,
    now: datetime,
    groups: Mapping[VMTypeKey, Iterable[VirtualMachine]] | None = None,
) -> dict[str, Move | Delete]:
    """The decision of this cycle per VM, by the VM's id; VMs that stay as they are have none.

    ``groups`` are the VMs by type, for whoever has them already.
    """
    endpoints = {endpoint.key: endpoint for endpoint in snapshot.endpoints if endpoint.servers is not None}
    listed = {key: {server.vm: server for server in endpoint.servers} for key, endpoint in endpoints.items()}
    watch = watches(snapshot, policy, now)
    disbelieved = {key for key, endpoint in endpoints.items() if disbelief(endpoint, snapshot.vms, watch[key])}
    decisions: dict[str, Move | Delete] = {}
    for vm_type, group in (by_type(snapshot.vms) if groups is None else groups).items():
        key = vm_type.endpoint
        if key not in endpoints:
            continue
        for vm in _to_judge(group, listed[key], policy, now):
            server = server_of(vm, endpoints[key]) if vm.id in listed[key] else None
            if server is None and key in disbelieved:
                continue
            decision = decide(vm, server, watch[key])
            if decision is not None:
                decisions[vm.id] = decision
    return _within_cap(decisions, snapshot.vms, policy.max_deletes_per_cycle)


def _to_judge(
    vms: Iterable[VirtualMachine], listed: Mapping[str, ServerView], policy: Policy, now: datetime
) -> list[VirtualMachine]:
    """All but those that are plainly at work, as almost all are: it runs a job at a server that is well, said no end,
    is young, and nobody wants anything of it. To look at each rule for each of them would take half of the cycle."""
    oldest = now - policy.max_lifetime + policy.drain_timeout
    quiet = now - policy.heartbeat_timeout
    running, working, active = VMState.RUNNING, PilotState.RUNNING, ServerState.ACTIVE
    return [
        vm
        for vm in vms
        if not (
            vm.state is running
            and vm.jobs > 0
            and vm.pilot is working
            and (server := listed.get(vm.id)) is not None
            and server.state is active
            and server.id == vm.server_id
            and vm.said is None
            and vm.pilot_finished_at is None
            and vm.created_at > oldest
            and (vm.heartbeat_at is None or vm.heartbeat_at > quiet)
            and not (vm.drain or vm.drifted)
        )
    ]


def _within_cap(
    decisions: dict[str, Move | Delete], vms: Iterable[VirtualMachine], max_deletes: int
) -> dict[str, Move | Delete]:
    """Every step but the deletes beyond ``max_deletes`` of an endpoint. New deletes go first, then the oldest VM.

    Were the repeated ones first, a few servers that the cloud cannot delete would keep all others alive.
    """
    deletes: Counter[EndpointKey] = Counter()
    kept = dict(decisions)
    doomed = (vm for vm in vms if vm.id in decisions and isinstance(decisions[vm.id], Delete))
    for vm in sorted(doomed, key=lambda vm: (vm.state in (VMState.DELETING, VMState.ENDED), vm.created_at, vm.id)):
        deletes[vm.endpoint] += 1
        if deletes[vm.endpoint] > max_deletes:
            del kept[vm.id]
    return kept


def server_of(vm: VirtualMachine, endpoint: Endpoint) -> ServerView | None:
    """The VM's server: the one in its record if listed, else any that bears its identity (an ambiguous create)."""
    own = [server for server in endpoint.servers or () if server.vm == vm.id]
    return min(own, key=lambda server: (server.id != vm.server_id, server.id), default=None)


def after(vm: VirtualMachine, decision: Move | Delete | None, now: datetime) -> VirtualMachine:
    """The record as it will be once the decision was carried out."""
    match decision:
        case Move():
            moved = replace(vm, state=decision.target, since=now, server_id=decision.server_id or vm.server_id)
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
        end = _absent(vm, watch)
        return None if end is None else _move(vm, VMState.ENDED, end.reason, end=end)
    if _came_back(vm, server, watch) or _verdict_waits(vm, server, watch):
        return None
    if vm.state in (VMState.DELETING, VMState.ENDED):
        return _delete(vm, server, _stored_end(vm, watch))
    end = _broken(vm, server, watch) or _overdue(vm, watch)
    if end is not None:
        return _delete(vm, server, end)
    if vm.state in _WORKING:
        end = _without_pilot(vm, watch)
        return None if end is None else _delete(vm, server, end)
    if _alive(vm):
        return _move(vm, VMState.RUNNING, "The VM or its pilot reported.", server)
    if server.state is ServerState.ACTIVE and vm.state is not VMState.BOOTING:
        return _move(vm, VMState.BOOTING, "Its server is active; its first word is awaited.", server)
    end = _silent(vm, watch) if vm.state is VMState.BOOTING else _unlaunched(vm, server, watch)
    if end is not None:
        return _delete(vm, server, end)
    if vm.state is VMState.PLANNED:
        return _move(vm, VMState.REQUESTED, "Its server was found in the cloud.", server)
    return None


def _absent(vm: VirtualMachine, watch: Watch) -> End | None:
    """Its server is not listed: believed only after several complete listings in a row."""
    if vm.missed < watch.policy.missed_listings or vm.state is VMState.ENDED:
        return None
    if vm.state is VMState.DELETING:
        return _stored_end(vm, watch)
    if vm.state is VMState.PLANNED:
        if not watch.longer(vm.since, watch.policy.settle_timeout):
            return None
        return End(Outcome.FAILED_TO_START, 700, "It was never made: the cloud shows no server for this intent.")
    return _ended_itself(vm, watch) or End(
        Outcome.VANISHED, 700, f"Its server vanished: {vm.missed} complete listings in a row do not hold it."
    )


def _came_back(vm: VirtualMachine, server: ServerView, watch: Watch) -> bool:
    """It was believed gone, and its server is there again with a pilot at work: that one is left to finish."""
    return (
        vm.state is VMState.ENDED
        and vm.outcome is Outcome.VANISHED
        and vm.said is None
        and vm.pilot in (PilotState.RUNNING, PilotState.NOT_ASKED)
        and server.state not in (ServerState.STOPPED, ServerState.ERROR)
        and _expired(vm, watch) is None
    )


def _verdict_waits(vm: VirtualMachine, server: ServerView, watch: Watch) -> bool:
    """It stopped, and only DIRAC knows why: it is asked again, for a while."""
    unknown = vm.pilot is PilotState.NOT_ASKED and vm.said is None and vm.jobs == 0
    return (
        unknown
        and server.state is ServerState.STOPPED
        and vm.state not in (VMState.DELETING, VMState.ENDED)
        and not watch.longer(vm.since, watch.policy.registration_timeout)
    )


def _broken(vm: VirtualMachine, server: ServerView, watch: Watch) -> End | None:
    """The cloud shows that the server is no longer any use."""
    if server.state is ServerState.STOPPED:
        if vm.said is None and vm.pilot is PilotState.RUNNING:
            return End(Outcome.VANISHED, 700, "Its server stopped while its pilot was at work.")
        return assess(vm, watch)
    if server.state is not ServerState.ERROR:
        return None
    fault = server.fault or "the cloud gives no reason"
    if vm.state in _WORKING:
        return _ended_itself(vm, watch) or End(Outcome.VANISHED, 700, f"Its server broke down while it ran: {fault}")
    return End(Outcome.FAILED_TO_START, 700, f"Its server went to ERROR: {fault}")


def _overdue(vm: VirtualMachine, watch: Watch) -> End | None:
    """It has been there for too long, whatever it does."""
    finished, policy = vm.pilot_finished_at, watch.policy
    if finished is not None and watch.longer(finished, policy.poweroff_timeout):
        end = assess(vm, watch)
        late = f"It did not switch itself off within {_minutes(policy.poweroff_timeout)} of its pilot's end."
        return replace(end, reason=f"{late} {end.reason}")
    return _expired(vm, watch)


def _expired(vm: VirtualMachine, watch: Watch) -> End | None:
    # Not a matter of who was looking: an age limit counts from the creation.
    lifetime = watch.policy.max_lifetime
    if watch.now - vm.created_at <= lifetime:
        return None
    return End(Outcome.EXPIRED, 100, f"It is older than the greatest lifetime, {_minutes(lifetime)}.")


def _unlaunched(vm: VirtualMachine, server: ServerView, watch: Watch) -> End | None:
    timeout = watch.policy.launch_timeout
    if not watch.longer(vm.since, timeout):
        return None
    return End(
        Outcome.FAILED_TO_START,
        700,
        f"Its server was still {server.state.value} {_minutes(timeout)} after the request.",
    )


def _silent(vm: VirtualMachine, watch: Watch) -> End | None:
    timeout = watch.policy.registration_timeout
    if vm.pilot is PilotState.NOT_ASKED or not watch.longer(vm.since, timeout):
        return None
    return End(
        Outcome.NEVER_REPORTED, 500, f"Neither the VM nor its pilot reported within {_minutes(timeout)} of the boot."
    )


def _without_pilot(vm: VirtualMachine, watch: Watch) -> End | None:
    """It runs, and DIRAC, which was asked, never saw its pilot at work."""
    timeout = watch.policy.registration_timeout
    never_ran = vm.pilot in (PilotState.UNKNOWN, PilotState.WAITING) and vm.jobs == 0 and vm.said is None
    if not never_ran or not watch.longer(vm.since, timeout):
        return None
    return End(
        Outcome.NEVER_REPORTED, 500, f"It said hello, but its pilot did not report within {_minutes(timeout)} of that."
    )


def _alive(vm: VirtualMachine) -> bool:
    return vm.spoke or vm.said is not None or vm.jobs > 0 or vm.pilot in (PilotState.RUNNING, PilotState.FINISHED)


def _ended_itself(vm: VirtualMachine, watch: Watch) -> End | None:
    return assess(vm, watch) if vm.said is not None or vm.pilot is PilotState.FINISHED else None


def _stored_end(vm: VirtualMachine, watch: Watch) -> End:
    if vm.outcome is None:
        return assess(vm, watch)
    return End(vm.outcome, vm.outcome_code, vm.outcome_reason)


def assess(vm: VirtualMachine, watch: Watch) -> End:
    """Why a VM stopped, from what DIRAC knows (its jobs, its pilot) and what the VM said, in that order."""
    said = vm.said
    text = f' The VM said: {said.code} "{said.reason}".' if said else ""
    if vm.jobs > 0:
        return End(
            Outcome.WORKED, said.code if said else 200, f"It ran {vm.jobs} {'job' if vm.jobs == 1 else 'jobs'}.{text}"
        )
    if said is not None:
        # HSF codes below 400 are orderly ends (asked, success, no more work); the others are faults of VM, site or VO.
        if said.code < 400:
            return End(Outcome.NO_WORK, said.code, f"It ended in good order without a job.{text}")
        return End(Outcome.FIZZLED, said.code, f"It ended with an error before any job.{text}")
    if watch.now - vm.created_at < watch.policy.fizzle_time:
        return End(
            Outcome.FIZZLED, 700, f"It stopped within {_minutes(watch.policy.fizzle_time)}, without a job or a reason."
        )
    if not _alive(vm):
        return End(Outcome.NEVER_REPORTED, 500, "It stopped, and neither it nor its pilot ever reported.")
    return End(Outcome.NO_WORK, 300, "It stopped by itself; its pilot matched no job.")


def _move(
    vm: VirtualMachine, target: VMState, reason: str, server: ServerView | None = None, end: End | None = None
) -> Move:
    return Move(
        vm=vm.id,
        source=vm.state,
        target=target,
        reason=reason,
        server_id=server.id if server is not None and server.id != vm.server_id else "",
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


def _minutes(time: timedelta) -> str:
    minutes = time / timedelta(minutes=1)
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
