"""The director's store without a database: the same behaviour in a process's memory, for simulations."""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from JenniferDIRAC.WorkloadManagementSystem.DB.Changes import (
    Facts,
    FirstTime,
    NoOutcome,
    Step,
    UnknownId,
    values_of_facts,
    values_of_step,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim
from JenniferDIRAC.WorkloadManagementSystem.DB.Reports import REPORT_LIFETIME
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import VM, CutText, History, UTCDateTime
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    SELECT_LIMIT,
    VM_ID_PREFIX,
    VirtualMachineStore,
    the_only,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, CycleReport, Intent, Transition, Trial, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import (
    MemoryConfigs,
    MemoryDatabase,
    MemoryLeases,
    MemoryLevers,
    MemoryPlans,
)

_INTENT = tuple(one.name for one in fields(Intent))
#: By column: what the database would give back of a value.
_KEPT = {
    column.name: column.type.kept for column in VM.__table__.columns if isinstance(column.type, (CutText, UTCDateTime))
}
_kept_reason = History.__table__.c.reason.type.kept
_kept_time = UTCDateTime().kept


class MemoryStore(VirtualMachineStore):
    """A VirtualMachineStore over a MemoryDatabase."""

    def __init__(self, database: MemoryDatabase | None = None):
        self._db = database or MemoryDatabase()
        self.leases, self.levers = MemoryLeases(self._db), MemoryLevers(self._db)
        self.plans, self.configs = MemoryPlans(self._db), MemoryConfigs(self._db)

    def installation(self) -> str:
        with self._db.answering() as db:
            db.installation = db.installation or uuid.uuid4().hex
            return db.installation

    def record_intents(
        self, intents: Sequence[Intent], now: datetime, actor: str = "director", claim: Claim | None = None
    ) -> None:
        if not intents:
            return
        new: dict[str, VMRecord] = {}
        at = _kept_time(now)
        with self._db.answering() as db:
            for intent in intents:
                if intent.vm_id in new or intent.vm_id in db.history or intent.pilot_reference in db.references:
                    raise IntegrityError("a VM of that id", None, ValueError(intent.vm_id))
                values = {name: getattr(intent, name) for name in _INTENT}
                new[intent.vm_id] = VMRecord(**values, state=VMState.PLANNED, since=at, created_at=at)
            db.hold_on(claim, {intent.vm_type.endpoint for intent in intents})
            for intent in intents:
                db.keep(new[intent.vm_id])
                db.references[intent.pilot_reference] = intent.vm_id
                db.history[intent.vm_id] = [Transition(None, VMState.PLANNED, at, intent.reason, actor)]

    def _move_batch(self, steps: Sequence[Step]) -> list[bool]:
        with self._db.answering() as db:
            moved = [_moved(db.live.get(step.vm), step) for step in steps]
            for step, new in zip(steps, moved, strict=True):
                if new is not None:
                    db.keep(*new)
                    at, reason = _kept_time(step.at), _kept_reason(step.reason)
                    db.history[step.vm].append(Transition(step.source, step.target, at, reason, step.actor))
        return [new is not None for new in moved]

    def _note_batch(self, news: Iterable[tuple[str, Facts]]) -> None:
        with self._db.answering() as db:
            noted = []
            for vm, facts in news:
                record = db.live.get(vm) or db.over.get(vm)
                if record is None:
                    raise UnknownId(vm)
                noted.append(_changed(record, values_of_facts(facts, _first_of(record))))
            for new in noted:
                db.keep(*new)

    def clock(self) -> datetime:
        with self._db.answering() as db:
            return db.clock()

    def touched(self, since: datetime) -> tuple[VMRecord, ...]:
        found = []
        with self._db.answering() as db:
            for vm in reversed(db.touched):
                if db.touched[vm] < since:
                    break
                found.append(db.live.get(vm) or db.over[vm])
        return tuple(found)

    def live(self) -> tuple[VMRecord, ...]:
        with self._db.answering() as db:
            return tuple(sorted(db.live.values(), key=_age))

    def ended(self, vm_ids: Collection[str]) -> tuple[VMRecord, ...]:
        with self._db.answering() as db:
            return tuple(db.over[vm] for vm in vm_ids if vm in db.over)

    def known(self, vm_ids: Collection[str]) -> frozenset[str]:
        with self._db.answering() as db:
            return frozenset(vm for vm in vm_ids if vm in db.live or vm in db.over)

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
        with self._db.answering() as db:
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
        with self._db.answering() as db:
            return tuple(db.history.get(vm_id, ()))

    def console_tail(self, vm_id: str) -> str:
        with self._db.answering() as db:
            return db.consoles.get(vm_id, "")

    def recent_ends(self, since: datetime) -> tuple[VMRecord, ...]:
        with self._db.answering() as db:
            first = bisect_left(db.ends, (since, ""))
            return tuple(db.over[vm] for _, vm in db.ends[first:])

    def untried(self, trials: Collection[Trial]) -> frozenset[Trial]:
        lived: dict[tuple[VMTypeKey, str], set[str]] = {}
        with self._db.answering() as db:
            for record in (*db.live.values(), *db.over.values()) if trials else ():
                if record.lived:
                    lived.setdefault((record.vm_type, record.vo), set()).add(record.version)
        versions = ((trial, lived.get((trial.vm_type, trial.vo), ())) for trial in trials)
        return frozenset(trial for trial, known in versions if known and trial.version not in known)

    def counts(self) -> tuple[Count, ...]:
        vms: Counter[tuple[str, str, str, VMState]] = Counter()
        cores: Counter[tuple[str, str, str, VMState]] = Counter()
        for record in self.live():
            key = record.vm_type.site, record.vm_type.ce, record.vo, record.state
            vms[key] += 1
            cores[key] += record.cores
        return tuple(Count(*key, vms[key], cores[key]) for key in sorted(vms))

    def save_reports(self, reports: Sequence[CycleReport]) -> None:
        with self._db.answering() as db:
            for report in reports:
                db.reports[report.site, report.ce, report.vo] = report
            if reports:
                oldest = max(report.at for report in reports) - REPORT_LIFETIME
                for key in [key for key, report in db.reports.items() if report.at < oldest]:
                    del db.reports[key]

    def reports(self) -> tuple[CycleReport, ...]:
        with self._db.answering() as db:
            return tuple(report for _, report in sorted(db.reports.items()))

    def get(self, vm: str) -> VMRecord:
        with self._db.answering() as db:
            exact = db.references.get(vm, vm)
            if exact in db.history:
                return db.live.get(exact) or db.over[exact]
            known = (*db.live.values(), *db.over.values()) if VM_ID_PREFIX.fullmatch(vm) else ()
            return the_only(vm, [record for record in known if record.vm_id.startswith(vm)])


def _moved(record: VMRecord | None, step: Step) -> tuple[VMRecord, str | None] | None:
    """The record and its console after this step; None if it is not to be made."""
    if record is None or record.state is not step.source:
        return None
    new, console = _changed(record, values_of_step(step, _first_of(record)))
    if new.state is VMState.ENDED and new.outcome is None:
        raise NoOutcome(step.vm)
    return new, console


def _changed(record: VMRecord, values: Mapping[str, Any]) -> tuple[VMRecord, str | None]:
    """The record with these values, and its console if it is one of them."""
    kept = {name: _KEPT[name](value) if name in _KEPT else value for name, value in values.items()}
    console = kept.pop("console_tail", None)
    return replace(record, **kept), console


def _first_of(record: VMRecord) -> FirstTime:
    return lambda name, at: getattr(record, name) or at


def _age(record: VMRecord) -> tuple[datetime, str]:
    return record.created_at, record.vm_id
