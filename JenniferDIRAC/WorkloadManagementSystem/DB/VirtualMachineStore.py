"""The store of VM records: the few operations that may change them.

Plain SQLAlchemy on MariaDB, MySQL and SQLite; ``VirtualMachineDB`` brings the connection from DIRAC's configuration.
Every operation is one transaction. When the database does not answer it raises ``StoreUnavailable``, and works again
as soon as the database does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar, Unpack

from sqlalchemy import ColumnElement, Engine, Select, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from JenniferDIRAC.WorkloadManagementSystem.DB.Changes import (
    Facts,
    NoOutcome,
    Step,
    TransitionRefused,
    UnknownId,
    UnknownVM,
    values_of_facts,
    values_of_step,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.Database import (
    Database,
    StoreError,
    StoreUnavailable,
    again,
    changed,
    database_time,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.EndpointConfigs import EndpointConfigs
from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim, LeaseLost, Leases, Overtaken, hold_on
from JenniferDIRAC.WorkloadManagementSystem.DB.Levers import Levers, UnknownLever
from JenniferDIRAC.WorkloadManagementSystem.DB.Plans import Plans
from JenniferDIRAC.WorkloadManagementSystem.DB.Reports import Reports
from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import Sessions
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import VM, History, Installation
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, CycleReport, Intent, Transition, Trial, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner import Lifecycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import ERROR_CODE, GOOD_OUTCOMES
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState, VMTypeKey

__all__ = [
    "Claim",
    "Facts",
    "LeaseLost",
    "Overtaken",
    "Step",
    "StoreError",
    "StoreUnavailable",
    "TransitionRefused",
    "UnknownLever",
    "UnknownVM",
    "VirtualMachineStore",
]

LIVE_STATES = tuple(state for state in VMState if state is not VMState.ENDED)
KILLED_CODE = 100  # HSF-TN-2016-04: asked to stop by its host
SELECT_LIMIT = 1000
BATCH = 100  # rows changed in one transaction, so that no other one waits for long
_SHORTEST_PREFIX = 6
_RECORDED = tuple(f.name for f in fields(VMRecord) if f.name != "vm_type")
_COLUMNS = (VM.site, VM.ce, VM.queue, *(getattr(VM, name) for name in _RECORDED))
_INTENDED = tuple(f.name for f in fields(Intent) if f.name != "vm_type")
_LIVED = or_(VM.jobs > 0, and_(VM.outcome.in_(GOOD_OUTCOMES), VM.code < ERROR_CODE))  # VMRecord.lived
_vm_type = lru_cache(maxsize=None)(VMTypeKey)  # thousands of records share a few
VM_ID_PREFIX = re.compile(rf"[0-9a-f]{{{_SHORTEST_PREFIX},32}}")


Item = TypeVar("Item")


class VirtualMachineStore:
    """VM records over any SQLAlchemy engine; safe to use from several threads and processes at once."""

    def __init__(self, engine: Engine):
        """Make the tables that are missing, and the columns that an older version's tables lack.

        :raises StoreUnavailable: the database does not answer
        """
        self._engine = engine
        self._database = Database(engine)
        self._reports = Reports(self._database)
        self.configs = EndpointConfigs(self._database)
        self.leases = Leases(self._database)
        self.levers = Levers(self._database)
        self.plans = Plans(self._database)
        self.sessions = Sessions(self._database)

    def installation(self) -> str:
        """This installation's UUID, 32 hexadecimal digits: made by whoever asks first, and the same ever after."""
        try:
            with self._database.transaction() as session:
                if (found := session.get(Installation, 1)) is not None:
                    return found.uuid
                made = Installation(only=1, uuid=uuid.uuid4().hex, created_at=datetime.now(UTC))
                session.add(made)
                session.flush()
                return made.uuid
        except IntegrityError:  # another process was first
            with self._database.transaction() as session:
                return session.get_one(Installation, 1).uuid

    @again
    def record_intents(
        self, intents: Sequence[Intent], now: datetime, actor: str = "director", claim: Claim | None = None
    ) -> None:
        """Record, before anything is sent, that these VMs are about to be asked for: all of them or none.

        :param claim: what the decision rests on, in an installation with several directors
        :raises Overtaken: it rests on that no longer; nothing was recorded
        """
        if not intents:
            return
        with self._database.transaction() as session:
            hold_on(session, claim, {intent.vm_type.endpoint for intent in intents})
            begin = {"state": VMState.PLANNED, "since": now, "created_at": now, "touched_at": database_time(session)}
            session.execute(insert(VM), [_new_row(intent) | begin for intent in intents])
            _enter_history(
                session,
                ((one.vm_id, None, VMState.PLANNED, now, one.reason, actor) for one in intents),
            )

    def move(
        self,
        vm_id: str,
        source: VMState,
        target: VMState,
        now: datetime,
        reason: str,
        actor: str = "director",
        **facts: Unpack[Facts],
    ) -> bool:
        """Take a VM from ``source`` to ``target`` and record the facts with it: all or nothing.

        False, and nothing is changed, when its state is not ``source`` (any more): somebody else was faster.

        :raises TransitionRefused: the life cycle has no such step, or a VM would end without an outcome
        """
        return self.move_all([Step(vm_id, source, target, now, reason, actor, facts)])[0]

    def move_all(self, steps: Sequence[Step]) -> tuple[bool, ...]:
        """Carry out each step as ``move`` does, ``BATCH`` of them in one transaction.

        :raises TransitionRefused: nothing of the step's batch was recorded, and of no later one
        """
        for step in steps:
            if not Lifecycle.is_allowed(step.source, step.target):
                way = f"from {step.source.value} to {step.target.value}"
                raise TransitionRefused(f"VM {step.vm}: the life cycle has no step {way}")
        return tuple(moved for batch in _batches(steps) for moved in self._move_batch(batch))

    @again
    def _move_batch(self, steps: Sequence[Step]) -> list[bool]:
        moved = [False] * len(steps)
        with self._database.transaction() as session:
            # In one order, so that two directors never wait for each other.
            for place, step in sorted(enumerate(steps), key=lambda item: item[1].vm):
                where = update(VM.__table__).where(VM.vm_id == step.vm, VM.state == step.source)
                moved[place] = bool(changed(session, where.values(values_of_step(step, _first))))
            done = [step for step, is_done in zip(steps, moved, strict=True) if is_done]
            _enter_history(
                session, ((step.vm, step.source, step.target, step.at, step.reason, step.actor) for step in done)
            )
            ended = [step.vm for step in done if step.target is VMState.ENDED]
            query = select(VM.vm_id).where(VM.vm_id.in_(ended), VM.outcome.is_(None))
            if ended and (vm := session.scalars(query).first()):
                raise NoOutcome(vm)
        return moved

    def note(self, vm_id: str, **facts: Unpack[Facts]) -> None:
        """Record what was observed of a VM, without a transition.

        :raises UnknownVM: there is no VM of that id
        """
        self.note_all({vm_id: facts})

    def note_all(self, news: Mapping[str, Facts]) -> None:
        """Record what was observed of VMs, by id, ``BATCH`` of them in one transaction.

        :raises UnknownVM: nothing of its batch was recorded, and of no later one
        """
        for batch in _batches(sorted(news.items())):
            self._note_batch(batch)

    @again
    def _note_batch(self, news: Iterable[tuple[str, Facts]]) -> None:
        with self._database.transaction() as session:
            for vm, facts in news:
                if not changed(
                    session, update(VM.__table__).where(VM.vm_id == vm).values(values_of_facts(facts, _first))
                ):
                    raise UnknownId(vm)

    @again
    def request_kill(self, vm: str, actor: str, reason: str, now: datetime) -> VMRecord:
        """Decide the end of a VM (id, prefix or pilot reference): the director then has its server deleted.

        A VM that is being deleted already keeps the outcome it has.

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        :raises TransitionRefused: it has ended already
        """
        record = self.get(vm)
        while record.state is not VMState.DELETING:
            if record.state is VMState.ENDED:
                outcome = record.outcome.value if record.outcome else "?"
                raise TransitionRefused(f"VM {record.vm_id} has ended already ({outcome}): there is nothing to kill")
            facts = Facts(outcome=Outcome.KILLED, outcome_reason=reason, code=KILLED_CODE)
            self.move(record.vm_id, record.state, VMState.DELETING, now, reason, actor, **facts)
            record = self.get(record.vm_id)
        return record

    def live(self) -> tuple[VMRecord, ...]:
        """All VMs that have not ended, oldest first."""
        return self._records(select(*_COLUMNS).where(VM.state.in_(LIVE_STATES)).order_by(VM.created_at, VM.vm_id))

    def clock(self) -> datetime:
        """The database's own time."""
        with self._database.transaction() as session:
            return database_time(session)

    def touched(self, since: datetime) -> tuple[VMRecord, ...]:
        """The VMs, ended ones too, whose row was written at ``since`` of the database's clock or later."""
        return self._records(select(*_COLUMNS).where(VM.touched_at >= since))

    def ended(self, vm_ids: Collection[str]) -> tuple[VMRecord, ...]:
        """Those of these VMs that have ended."""
        if not vm_ids:
            return ()
        return self._records(select(*_COLUMNS).where(VM.vm_id.in_(vm_ids), VM.state == VMState.ENDED))

    def known(self, vm_ids: Collection[str]) -> frozenset[str]:
        """Those of these ids of which there is a record, whatever became of it."""
        if not vm_ids:
            return frozenset()
        with self._database.transaction() as session:
            return frozenset(session.scalars(select(VM.vm_id).where(VM.vm_id.in_(vm_ids))))

    def get(self, vm: str) -> VMRecord:
        """The VM of that id, unique beginning of an id (6 digits or more), or pilot reference.

        :raises UnknownVM: no VM, or more than one, answers to it
        """
        found = self._records(select(*_COLUMNS).where(VM.pilot_reference == vm))
        if not found and VM_ID_PREFIX.fullmatch(vm):
            found = self._records(select(*_COLUMNS).where(VM.vm_id.startswith(vm)).limit(5))
        return the_only(vm, found)

    def select(
        self,
        *,
        state: VMState | Collection[VMState] = (),
        site: str = "",
        ce: str = "",
        vo: str = "",
        since: datetime | None = None,
        limit: int = SELECT_LIMIT,
    ) -> tuple[VMRecord, ...]:
        """VMs that meet every given condition, newest first; ``since`` is the earliest creation."""
        query = select(*_COLUMNS).order_by(VM.created_at.desc(), VM.vm_id.desc()).limit(limit)
        if state:
            query = query.where(VM.state.in_([state] if isinstance(state, VMState) else list(state)))
        for column, value in ((VM.site, site), (VM.ce, ce), (VM.vo, vo)):
            if value:
                query = query.where(column == value)
        if since:
            query = query.where(VM.created_at >= since)
        return self._records(query)

    def history(self, vm_id: str) -> tuple[Transition, ...]:
        """A VM's steps, the intent first."""
        with self._database.transaction() as session:
            steps = session.scalars(select(History).where(History.vm_id == vm_id).order_by(History.id))
            return tuple(Transition(step.source, step.target, step.at, step.reason, step.actor) for step in steps)

    def console_tail(self, vm_id: str) -> str:
        """The end of a VM's console as last noted, at most 16 KiB. Untrusted text: always escape."""
        with self._database.transaction() as session:
            return session.scalar(select(VM.console_tail).where(VM.vm_id == vm_id)) or ""

    def recent_ends(self, since: datetime) -> tuple[VMRecord, ...]:
        """The VMs that ended at ``since`` or later, oldest end first."""
        return self._records(select(*_COLUMNS).where(VM.ended_at >= since).order_by(VM.ended_at))

    def untried(self, trials: Collection[Trial]) -> frozenset[Trial]:
        """Those with which no VM came to life well, though one did with another version, or with one that nobody
        noted."""
        found = set()
        with self._database.transaction() as session:
            for trial in trials:
                key = trial.vm_type
                place = VM.site == key.site, VM.ce == key.ce, VM.queue == key.queue, VM.vo == trial.vo, _LIVED
                with_it = select(VM.vm_id).where(*place, VM.version == trial.version).limit(1)
                with_another = select(VM.vm_id).where(*place, VM.version != trial.version).limit(1)
                if session.scalar(with_it) is None and session.scalar(with_another) is not None:
                    found.add(trial)
        return frozenset(found)

    def counts(self) -> tuple[Count, ...]:
        """VMs and cores that have not ended, by endpoint, VO and state."""
        group = (VM.site, VM.ce, VM.vo, VM.state)
        query = select(*group, func.count(), func.sum(VM.cores)).where(VM.state.in_(LIVE_STATES))
        with self._database.transaction() as session:
            return tuple(
                Count(*row[:5], int(row[5])) for row in session.execute(query.group_by(*group).order_by(*group))
            )

    def save_reports(self, reports: Sequence[CycleReport]) -> None:
        """Put these in the place of the last reports of the same endpoints and VOs, and drop what nobody renews."""
        self._reports.save(reports)

    def reports(self) -> tuple[CycleReport, ...]:
        """The last report of every endpoint and VO."""
        return self._reports.last()

    def _records(self, query: Select) -> tuple[VMRecord, ...]:
        """The records that a selection of ``_COLUMNS`` finds."""
        with self._database.transaction() as session:
            return tuple(_record(row) for row in session.execute(query))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def the_only(vm: str, found: Sequence[VMRecord]) -> VMRecord:
    """:raises UnknownVM: nothing, or more than one, was found as ``vm``"""
    if not found:
        raise UnknownVM(
            f"no VM is known as '{vm}': expected a VM id, {_SHORTEST_PREFIX} or more hexadecimal digits of "
            "its beginning, or a pilot reference; 'dirac-admin-cloud vms' lists them"
        )
    if len(found) > 1:
        raise UnknownVM(f"several VMs begin with '{vm}': {', '.join(record.vm_id for record in found)}")
    return found[0]


def _enter_history(session: Session, steps: Iterable[tuple]) -> None:
    """Steps as vm_id, source, target, at, reason and actor."""
    names = ("vm_id", "source", "target", "at", "reason", "actor")
    if rows := [dict(zip(names, step, strict=True)) for step in steps]:
        session.execute(insert(History.__table__), rows)


def _new_row(intent: Intent) -> dict[str, Any]:
    return {name: getattr(intent, name) for name in _INTENDED} | asdict(intent.vm_type)


def _first(name: str, at: datetime) -> ColumnElement[datetime]:
    return func.coalesce(getattr(VM, name), at)


def _record(row: Sequence[Any]) -> VMRecord:
    return VMRecord(vm_type=_vm_type(*row[:3]), **dict(zip(_RECORDED, row[3:], strict=True)))
