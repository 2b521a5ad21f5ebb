"""Where a VM is in its life and why, what is awaited and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, PilotState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import moment, number, sentence


@dataclass(frozen=True)
class VMFacts:
    """What is known of one VM. ``boot`` is how long VMs of its type take to their first word; ``levers`` those that
    stand and cover it; ``pilot`` None when DIRAC could not be asked."""

    record: VMRecord
    last: Transition | None = None
    pilot: PilotState | None = None
    policy: Policy = Policy()
    boot: timedelta | None = None
    levers: tuple[Lever, ...] = ()


def why_vm(facts: VMFacts, now: datetime) -> tuple[str, ...]:
    """The sentences: what it is, what it does, what is awaited, who holds or drains it."""
    record = facts.record
    # In vacuum mode a VM is started for no queue, which is the number 0.
    purpose = f"for task queue {record.task_queue}" if record.task_queue else "to look for jobs (VacuumVMs)"
    return (
        f"VM {record.vm_id} is {record.state.value} since {moment(record.since, now)} ({lasting(now - record.since)}): "
        f"a VM of {record.vm_type} for {record.vo}, {number(record.cores, 'core')}, started {purpose} at "
        f"{moment(record.created_at, now)}.",
        *_last_step(facts),
        *_AWAITED[record.state](facts, now),
        *_pilot(facts),
        *_levers(facts, now),
    )


def _last_step(facts: VMFacts) -> Iterator[str]:
    # The end tells its own reason; "task queue 7 of belle" is told above.
    if facts.last is not None and facts.last.source is not None and facts.record.outcome is None:
        by = "" if facts.last.actor == "director" else f" (by {facts.last.actor})"
        yield sentence(f"It came there because: {facts.last.reason.rstrip('.')}{by}")


def _until(facts: VMFacts, timeout: timedelta, start: datetime, now: datetime) -> str:
    left = start + timeout - now
    if left <= timedelta(0):
        return "the time for that is over, and the director's next look decides"
    return f"it has {lasting(left)} left for that, until {moment(start + timeout, now)}"


def _until_heard(facts: VMFacts, timeout: timedelta, now: datetime) -> str:
    """As ``_until``, of a pilot that is silent."""
    entered = facts.record.pilot_entered_at
    if entered is None:
        return "its time begins when DIRAC knows its pilot"
    return _until(facts, timeout, max(facts.record.since, entered), now)


def _planned(facts: VMFacts, now: datetime) -> Iterator[str]:
    until = _until(facts, facts.policy.settle_timeout, facts.record.since, now)
    yield f"The cloud's answer, or a server of its name in two listings, is awaited: {until} (SettleTimeout)."


def _requested(facts: VMFacts, now: datetime) -> Iterator[str]:
    until = _until(facts, facts.policy.launch_timeout, facts.record.since, now)
    yield f"The cloud has accepted it, and is to make its server active: {until} (LaunchTimeout)."


def _booting(facts: VMFacts, now: datetime) -> Iterator[str]:
    until = _until_heard(facts, facts.policy.registration_timeout, now)
    yield f"Its first word is awaited: {until} (RegistrationTimeout)."
    if facts.boot is not None:
        left = facts.record.created_at + facts.boot - now
        expected = (
            f"is expected in about {lasting(left)}" if left > timedelta(0) else f"was expected {lasting(-left)} ago"
        )
        yield f"VMs of its type take {lasting(facts.boot)} to it: it {expected}."


def _running(facts: VMFacts, now: datetime) -> Iterator[str]:
    record, policy = facts.record, facts.policy
    if record.pilot_finished_at is not None:
        until = _until(facts, policy.poweroff_timeout, record.pilot_finished_at, now)
        yield f"Its pilot has ended, and it is to switch itself off: {until} (PoweroffTimeout)."
    elif record.jobs == 0:
        if facts.pilot is PilotState.RUNNING and not record.jobs_known:
            yield "Its pilot is at work; DIRAC came to know it late, so it may have a job that was not counted."
        elif facts.pilot is PilotState.RUNNING:
            until = _until_heard(facts, policy.idle_timeout, now)
            yield f"Its pilot is at work and has got no job yet: {until} (IdleTimeout)."
        elif facts.pilot is not None:
            until = _until_heard(facts, policy.registration_timeout, now)
            yield f"It spoke, and its pilot is to report: {until} (RegistrationTimeout)."
    if record.heartbeat_at is not None:
        age = lasting(now - record.heartbeat_at)
        yield f"Its last heartbeat is {age} old; after {lasting(policy.heartbeat_timeout)} it is lost."
    yield f"It may live until {moment(record.created_at + policy.max_lifetime, now)} (MaxLifetime)."


def _draining(facts: VMFacts, now: datetime) -> Iterator[str]:
    until = _until(facts, facts.policy.drain_timeout, facts.record.since, now)
    yield f"It is to end, and may finish what it has: {until} (DrainTimeout)."


def _deleting(facts: VMFacts, now: datetime) -> Iterator[str]:
    yield from _ended(facts, now)
    age = now - facts.record.since
    if age > facts.policy.delete_timeout:
        yield f"The cloud still lists its server, {lasting(age)} after the delete: it is asked for again and again."
    else:
        yield "Its server is to be gone from the cloud's list."


def _ended(facts: VMFacts, now: datetime) -> Iterator[str]:
    record = facts.record
    outcome = record.outcome.value if record.outcome else "unknown"
    code = f" (HSF {record.code})" if record.code else ""
    yield sentence(f"Its outcome is {outcome}{code}: {record.outcome_reason or 'no reason is recorded'}")


_AWAITED = {
    VMState.PLANNED: _planned,
    VMState.REQUESTED: _requested,
    VMState.BOOTING: _booting,
    VMState.RUNNING: _running,
    VMState.DRAINING: _draining,
    VMState.DELETING: _deleting,
    VMState.ENDED: _ended,
}


def _pilot(facts: VMFacts) -> Iterator[str]:
    record = facts.record
    jobs = f"it matched {number(record.jobs, 'job')}" if record.jobs else "it has matched no job"
    if facts.pilot is PilotState.UNKNOWN:
        yield f"DIRAC knows no pilot {record.pilot_reference} (yet)."
    elif facts.pilot is not None:
        yield f"Its pilot {record.pilot_reference} is {facts.pilot.value}; {jobs}."
    elif record.jobs:
        yield f"Its pilot matched {number(record.jobs, 'job')}."


def _levers(facts: VMFacts, now: datetime) -> Iterator[str]:
    for lever in facts.levers:
        effect = "nothing ends it before" if lever.kind is LeverKind.HOLD else "it is to end with what it has"
        yield sentence(f"Lever {lever.id}, {effect}: {told(lever, now)}")
