"""The director's store without a database: the same behaviour in a process's memory, for simulations."""

from __future__ import annotations

import threading
import uuid
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

from sqlalchemy.exc import IntegrityError

from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import CONSOLE_TAIL_BYTES
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    REPORT_LIFETIME,
    SELECT_LIMIT,
    VM_ID_PREFIX,
    Facts,
    StoreUnavailable,
    TransitionRefused,
    UnknownVM,
    VirtualMachineStore,
    the_only,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, CycleReport, Intent, Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner import Lifecycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState

_REASON_BYTES = 4096
_FACTS = frozenset(Facts.__annotations__)
_INTENT = tuple(one.name for one in fields(Intent))


@dataclass
class MemoryDatabase:
    """What several stores share, as processes share a database. ``away``: it answers nobody.

    ``changes`` counts what was changed, ``outcomes`` all that ever ended. ``forget_after``: what ended so long before
    the latest end is dropped.
    """

    away: bool = False
    changes: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    forget_after: timedelta | None = None
    installation: str = ""
    live: dict[str, VMRecord] = field(default_factory=dict)
    over: dict[str, VMRecord] = field(default_factory=dict)  # in the order of their ends
    ends: deque[str] = field(default_factory=deque)
    history: dict[str, list[Transition]] = field(default_factory=dict)
    consoles: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    reports: dict[tuple[str, str, str], CycleReport] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class MemoryStore(VirtualMachineStore):
    """A VirtualMachineStore over a MemoryDatabase."""

    def __init__(self, database: MemoryDatabase | None = None):
        self._db = database or MemoryDatabase()

    def installation(self) -> str:
        with self._answering() as db:
            db.installation = db.installation or uuid.uuid4().hex
            return db.installation

    def record_intents(self, intents: Sequence[Intent], now: datetime, actor: str = "director") -> None:
        new: dict[str, VMRecord] = {}
        at = _utc(now)
        with self._answering() as db:
            for intent in intents:
                if intent.vm_id in new or intent.vm_id in db.history or intent.pilot_reference in db.references:
                    raise IntegrityError("a VM of that id", None, ValueError(intent.vm_id))
                values = {name: getattr(intent, name) for name in _INTENT}
                new[intent.vm_id] = VMRecord(**values, state=VMState.PLANNED, since=at, created_at=at)
            db.live |= new
            for vm, record in new.items():
                db.references[record.pilot_reference] = vm
                reason = f"task queue {record.task_queue} of {record.vo}"
                db.history[vm] = [Transition(None, VMState.PLANNED, at, reason, actor)]
            db.changes += len(new)

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
        if not Lifecycle.is_allowed(source, target):
            raise TransitionRefused(f"VM {vm_id}: the life cycle has no step from {source.value} to {target.value}")
        at = _utc(now)
        if target is VMState.RUNNING:
            facts.setdefault("running_at", at)
        with self._answering() as db:
            record = db.live.get(vm_id)
            if record is None or record.state is not source:
                return False
            values, console = _values(record, facts)
            outcome = values.get("outcome", record.outcome)
            if target is VMState.ENDED:
                if outcome is None:
                    raise TransitionRefused(f"VM {vm_id}: expected an outcome for a VM that ends, found none")
                values["ended_at"] = at
            self._keep(replace(record, **values, state=target, since=at), console)
            db.history[vm_id].append(Transition(source, target, at, _cut(reason, _REASON_BYTES), actor))
        return True

    def note(self, vm_id: str, **facts: Unpack[Facts]) -> None:
        with self._answering() as db:
            record = db.live.get(vm_id) or db.over.get(vm_id)
            if record is None:
                raise UnknownVM(f"no VM has the id '{vm_id}'")
            values, console = _values(record, facts)
            self._keep(replace(record, **values), console)

    def live(self) -> tuple[VMRecord, ...]:
        with self._answering() as db:
            return tuple(sorted(db.live.values(), key=_age))

    def ended(self, vm_ids: Collection[str]) -> tuple[VMRecord, ...]:
        with self._answering() as db:
            return tuple(db.over[vm] for vm in vm_ids if vm in db.over)

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
        states = frozenset({state} if isinstance(state, VMState) else state)
        with self._answering() as db:
            found = [
                record
                for record in (*db.live.values(), *db.over.values())
                if (not states or record.state in states)
                and site in ("", record.vm_type.site)
                and ce in ("", record.vm_type.ce)
                and vo in ("", record.vo)
                and (since is None or record.created_at >= since)
            ]
        return tuple(sorted(found, key=_age, reverse=True)[:limit])

    def history(self, vm_id: str) -> tuple[Transition, ...]:
        with self._answering() as db:
            return tuple(db.history.get(vm_id, ()))

    def console_tail(self, vm_id: str) -> str:
        with self._answering() as db:
            return db.consoles.get(vm_id, "")

    def recent_ends(self, since: datetime) -> tuple[VMRecord, ...]:
        recent: deque[VMRecord] = deque()
        with self._answering() as db:
            for vm in reversed(db.ends):
                record = db.over[vm]
                if record.ended_at < since:
                    break
                recent.appendleft(record)
        return tuple(recent)

    def counts(self) -> tuple[Count, ...]:
        vms: Counter[tuple[str, str, str, VMState]] = Counter()
        cores: Counter[tuple[str, str, str, VMState]] = Counter()
        for record in self.live():
            key = record.vm_type.site, record.vm_type.ce, record.vo, record.state
            vms[key] += 1
            cores[key] += record.cores
        return tuple(Count(*key, vms[key], cores[key]) for key in sorted(vms))

    def save_reports(self, reports: Sequence[CycleReport]) -> None:
        with self._answering() as db:
            for report in reports:
                db.reports[report.site, report.ce, report.vo] = report
            if reports:
                oldest = max(report.at for report in reports) - REPORT_LIFETIME
                for key in [key for key, report in db.reports.items() if report.at < oldest]:
                    del db.reports[key]

    def reports(self) -> tuple[CycleReport, ...]:
        with self._answering() as db:
            return tuple(report for _, report in sorted(db.reports.items()))

    def get(self, vm: str) -> VMRecord:
        with self._answering() as db:
            exact = db.references.get(vm, vm)
            if exact in db.history:
                return db.live.get(exact) or db.over[exact]
            known = (*db.live.values(), *db.over.values()) if VM_ID_PREFIX.fullmatch(vm) else ()
            return the_only(vm, [record for record in known if record.vm_id.startswith(vm)])

    def _keep(self, record: VMRecord, console: str | None) -> None:
        db, vm = self._db, record.vm_id
        db.changes += 1
        if console is not None:
            db.consoles[vm] = console
        if record.state is not VMState.ENDED:
            db.live[vm] = record
            return
        if db.live.pop(vm, None) is not None:
            db.ends.append(vm)
            db.outcomes[record.outcome] += 1
        db.over[vm] = record
        while db.forget_after and db.over[db.ends[0]].ended_at < record.ended_at - db.forget_after:
            forgotten = db.over.pop(db.ends.popleft())
            db.history.pop(forgotten.vm_id, None)
            db.consoles.pop(forgotten.vm_id, None)
            db.references.pop(forgotten.pilot_reference, None)

    @contextmanager
    def _answering(self) -> Iterator[MemoryDatabase]:
        with self._db.lock:
            if self._db.away:
                raise StoreUnavailable("the simulated database does not answer")
            yield self._db


def _age(record: VMRecord) -> tuple[datetime, str]:
    return record.created_at, record.vm_id


def _values(record: VMRecord, facts: Facts) -> tuple[dict[str, Any], str | None]:
    """The record's new values for these facts, and the console."""
    if unknown := facts.keys() - _FACTS:
        raise TypeError(f"unknown facts {sorted(unknown)}: expected some of {sorted(_FACTS)}")
    values: dict[str, Any] = {}
    console = None
    for name, value in facts.items():
        if name == "console_tail":
            console = _cut(value, CONSOLE_TAIL_BYTES, keep_end=True)
        elif name.endswith("_at"):
            values[name] = getattr(record, name) or _utc(value)
        elif name.endswith("_reason"):
            values[name] = _cut(value, _REASON_BYTES)
        else:
            values[name] = value
    return values, console


def _cut(text: str, max_bytes: int, keep_end: bool = False) -> str:
    if text.isascii() and len(text) <= max_bytes:
        return text
    kept = slice(-max_bytes, None) if keep_end else slice(max_bytes)
    return text.encode("utf-8", "ignore")[kept].decode("utf-8", "ignore")


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise TypeError(f"expected a time with a time zone, found {at!r}")
    return at if at.tzinfo is UTC else at.astimezone(UTC)
