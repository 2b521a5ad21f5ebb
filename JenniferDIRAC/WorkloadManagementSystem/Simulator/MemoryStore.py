"""The director's store without a database: the same behaviour in a process's memory, for simulations."""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim
from JenniferDIRAC.WorkloadManagementSystem.DB.Reports import REPORT_LIFETIME
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import CONSOLE_TAIL_BYTES
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    SELECT_LIMIT,
    VM_ID_PREFIX,
    Facts,
    Step,
    TransitionRefused,
    UnknownVM,
    VirtualMachineStore,
    the_only,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, CycleReport, Intent, Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import (
    MemoryConfigs,
    MemoryDatabase,
    MemoryLeases,
    MemoryLevers,
    MemoryPlans,
)

_REASON_BYTES = 4096
_FACTS = frozenset(Facts.__annotations__)
_INTENT = tuple(one.name for one in fields(Intent))


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
        at = _utc(now)
        with self._db.answering() as db:
            for intent in intents:
                if intent.vm_id in new or intent.vm_id in db.history or intent.pilot_reference in db.references:
                    raise IntegrityError("a VM of that id", None, ValueError(intent.vm_id))
                values = {name: getattr(intent, name) for name in _INTENT}
                new[intent.vm_id] = VMRecord(**values, state=VMState.PLANNED, since=at, created_at=at)
            db.hold_on(claim, {intent.vm_type.endpoint for intent in intents})
            for vm, record in new.items():
                db.keep(record)
                db.references[record.pilot_reference] = vm
                reason = f"task queue {record.task_queue} of {record.vo}"
                db.history[vm] = [Transition(None, VMState.PLANNED, at, reason, actor)]

    def _move_batch(self, steps: Sequence[Step]) -> list[bool]:
        with self._db.answering() as db:
            moved = [_moved(db.live.get(step.vm), step) for step in steps]
            for step, new in zip(steps, moved, strict=True):
                if new is not None:
                    db.keep(*new)
                    reason = _cut(step.reason, _REASON_BYTES)
                    db.history[step.vm].append(Transition(step.source, step.target, _utc(step.at), reason, step.actor))
        return [new is not None for new in moved]

    def _note_batch(self, news: Iterable[tuple[str, Facts]]) -> None:
        with self._db.answering() as db:
            noted = []
            for vm, facts in news:
                record = db.live.get(vm) or db.over.get(vm)
                if record is None:
                    raise UnknownVM(f"no VM has the id '{vm}'")
                values, console = _values(record, facts)
                noted.append((replace(record, **values), console))
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
    at = _utc(step.at)
    facts = Facts(running_at=at) | step.facts if step.target is VMState.RUNNING else step.facts
    values, console = _values(record, facts)
    if step.target is VMState.ENDED:
        values["ended_at"] = at
        if values.get("outcome", record.outcome) is None:
            raise TransitionRefused(f"VM {step.vm}: expected an outcome for a VM that ends, found none")
    return replace(record, **values, state=step.target, since=at), console


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
        elif name == "heartbeat_at":  # the last, not the first
            values[name] = _utc(value)
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
