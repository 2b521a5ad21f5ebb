"""Why a VM ends: what the cloud, the VM or an operator shows, and what only the director's clock says.

HSF codes (HSF-TN-2016-04, as VCycle's users know them): 100 asked to stop, 200 success, 300 no more work, 500 the boot
came to nothing, 700 all else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Outcome,
    PilotState,
    ServerState,
    ServerView,
    VirtualMachine,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting

WORKING = frozenset({VMState.RUNNING, VMState.DRAINING})
OVER = frozenset({VMState.DELETING, VMState.ENDED})
_DOWN = frozenset({ServerState.STOPPED, ServerState.ERROR})


@dataclass(frozen=True)
class End:
    """Why a VM ends: outcome, HSF code (100 to 700), and a sentence for the operator."""

    outcome: Outcome
    code: int
    reason: str


def shown(vm: VirtualMachine, server: ServerView, watch: Watch) -> End | None:
    """The end that is there to see, whatever the clock says of it."""
    if server.state in _DOWN:
        return _broken(vm, server, watch)
    end = None if vm.pilot_finished_at is None else _stays_up(vm, vm.pilot_finished_at, watch)
    return end or (_ordered(vm, watch) if vm.drain else None)


def timed_out(vm: VirtualMachine, server: ServerView, watch: Watch) -> End | None:
    """The end that nobody but the director's clock shows: the one to be careful with."""
    if (end := expired(vm, watch)) is not None:
        return end
    if vm.state in WORKING:
        end = None if vm.jobs else _without_pilot(vm, watch) or _idle(vm, watch)
        if vm.heartbeat_at is not None:
            end = end or _heartbeat_lost(vm, vm.heartbeat_at, watch)
        return end or (_drained(vm, watch) if vm.state is VMState.DRAINING else None)
    if is_alive(vm):
        return None
    if vm.state is VMState.BOOTING:
        return _silent(vm, watch)
    return None if server.state is ServerState.ACTIVE else _unlaunched(vm, server, watch)


def absent(vm: VirtualMachine, watch: Watch) -> End | None:
    """Its server is not listed: believed only after several complete listings in a row."""
    if vm.missed < watch.policy.missed_listings or vm.state is VMState.ENDED:
        return None
    if vm.state is VMState.DELETING:
        return stored(vm, watch)
    if vm.state is VMState.PLANNED:
        if not watch.longer(vm.since, watch.policy.settle_timeout):
            return None
        return End(Outcome.FAILED_TO_START, 700, "It was never made: the cloud shows no server for this intent.")
    return _ended_itself(vm, watch) or End(
        Outcome.VANISHED, 700, f"Its server vanished: {vm.missed} complete listings in a row do not hold it."
    )


def stored(vm: VirtualMachine, watch: Watch) -> End:
    """The end that was decided before."""
    if vm.outcome is None:
        return assess(vm, watch)
    return End(vm.outcome, vm.outcome_code, vm.outcome_reason)


def expired(vm: VirtualMachine, watch: Watch) -> End | None:
    """It is too old, whatever it does."""
    if vm.created_at >= watch.expired_before:
        return None
    lifetime = lasting(watch.policy.max_lifetime)
    return End(Outcome.EXPIRED, 100, f"It is older than the greatest lifetime, {lifetime}.")


def is_alive(vm: VirtualMachine) -> bool:
    """Whether it, or its pilot, was ever heard of."""
    if vm.spoke or vm.said is not None or vm.jobs > 0 or vm.heartbeat_at is not None:
        return True
    return vm.pilot in (PilotState.RUNNING, PilotState.FINISHED)


def is_done(vm: VirtualMachine) -> bool:
    """Whether it said its end, or its pilot is finished."""
    return vm.said is not None or vm.pilot is PilotState.FINISHED


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
            Outcome.FIZZLED, 700, f"It stopped within {lasting(watch.policy.fizzle_time)}, without a job or a reason."
        )
    if not is_alive(vm):
        return End(Outcome.NEVER_REPORTED, 500, "It stopped, and neither it nor its pilot ever reported.")
    return End(Outcome.NO_WORK, 300, "It stopped by itself; its pilot matched no job.")


def _ended_itself(vm: VirtualMachine, watch: Watch) -> End | None:
    return assess(vm, watch) if is_done(vm) else None


def _broken(vm: VirtualMachine, server: ServerView, watch: Watch) -> End:
    """The cloud shows that the server is no longer any use."""
    if server.state is ServerState.STOPPED:
        if vm.said is None and vm.pilot is PilotState.RUNNING:
            return End(Outcome.VANISHED, 700, "Its server stopped while its pilot was at work.")
        return assess(vm, watch)
    fault = server.fault or "the cloud gives no reason"
    if vm.state in WORKING:
        return _ended_itself(vm, watch) or End(Outcome.VANISHED, 700, f"Its server broke down while it ran: {fault}")
    return End(Outcome.FAILED_TO_START, 700, f"Its server went to ERROR: {fault}")


def _stays_up(vm: VirtualMachine, finished_at: datetime, watch: Watch) -> End | None:
    timeout = watch.policy.poweroff_timeout
    if not watch.longer(finished_at, timeout):
        return None
    if vm.heartbeat_at is not None and not watch.silent(finished_at, timeout):
        # It waits for the gateway to come back and take its logs, which it does for so long.
        timeout += watch.policy.lease
        if not watch.longer(finished_at, timeout):
            return None
    end = assess(vm, watch)
    late = f"It did not switch itself off within {lasting(timeout)} of its pilot's end."
    return replace(end, reason=f"{late} {end.reason}")


def _ordered(vm: VirtualMachine, watch: Watch) -> End | None:
    """An operator drains it, and it has no job to finish. Nobody knows that while DIRAC does not answer, or if it came
    to know the pilot late; and one whose pilot is at work may have got a job since, so it drains for a cycle first."""
    if vm.jobs > 0 or not vm.jobs_known or vm.pilot is PilotState.NOT_ASKED or is_done(vm):
        return None
    drains_already = vm.state is VMState.DRAINING and vm.since != watch.now
    if vm.pilot is PilotState.RUNNING and not drains_already:
        return None
    return End(Outcome.KILLED, 100, vm.drain)


def _unlaunched(vm: VirtualMachine, server: ServerView, watch: Watch) -> End | None:
    timeout = watch.policy.launch_timeout
    if not watch.longer(vm.since, timeout):
        return None
    return End(
        Outcome.FAILED_TO_START,
        700,
        f"Its server was still {server.state.value} {lasting(timeout)} after the request.",
    )


def _silent(vm: VirtualMachine, watch: Watch) -> End | None:
    timeout = watch.policy.registration_timeout
    if vm.pilot is PilotState.NOT_ASKED or not _heard_nothing(vm, timeout, watch):
        return None
    return End(
        Outcome.NEVER_REPORTED, 500, f"Neither the VM nor its pilot reported within {lasting(timeout)} of the boot."
    )


def _without_pilot(vm: VirtualMachine, watch: Watch) -> End | None:
    """It runs, and DIRAC, which was asked, never saw its pilot at work."""
    timeout = watch.policy.registration_timeout
    never_ran = vm.pilot in (PilotState.UNKNOWN, PilotState.WAITING) and vm.said is None
    if not never_ran or not _heard_nothing(vm, timeout, watch):
        return None
    return End(
        Outcome.NEVER_REPORTED, 500, f"It said hello, but its pilot did not report within {lasting(timeout)} of that."
    )


def _heard_nothing(vm: VirtualMachine, timeout: timedelta, watch: Watch) -> bool:
    """Its pilot's silence: it counts only from when DIRAC knows the pilot, because it hears of no other."""
    entered = vm.pilot_entered_at
    return entered is not None and watch.longer(max(vm.since, entered), timeout)


def _heartbeat_lost(vm: VirtualMachine, heartbeat_at: datetime, watch: Watch) -> End | None:
    """It sent heartbeats, and then none, with a gateway there that hears others. After its end they stop: that is
    ``_stays_up``'s."""
    timeout = watch.policy.heartbeat_timeout
    if vm.pilot is PilotState.RUNNING and vm.jobs > 0:
        timeout += watch.policy.lease  # for so long it works on where nobody hears it
    if is_done(vm) or not watch.silent(heartbeat_at, timeout):
        return None
    last = f"{heartbeat_at:%Y-%m-%d %H:%M} UTC"
    return End(Outcome.HEARTBEAT_LOST, 700, f"No heartbeat came for {lasting(timeout)}; the last one was at {last}.")


def _idle(vm: VirtualMachine, watch: Watch) -> End | None:
    timeout = watch.policy.idle_timeout
    idle = vm.pilot is PilotState.RUNNING and vm.said is None and vm.jobs_known
    if not idle or not _heard_nothing(vm, timeout, watch):
        return None
    return End(Outcome.NO_WORK, 300, f"Its pilot was at work for {lasting(timeout)} and got no job.")


def _drained(vm: VirtualMachine, watch: Watch) -> End | None:
    timeout = watch.policy.drain_timeout
    if not watch.longer(vm.since, timeout):
        return None
    return End(Outcome.EXPIRED, 100, f"It was draining for more than {lasting(timeout)}.")
