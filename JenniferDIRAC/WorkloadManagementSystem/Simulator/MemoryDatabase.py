"""What simulated directors share: records, leases, levers and plans in this process's memory."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim, LeaseLost, Overtaken
from JenniferDIRAC.WorkloadManagementSystem.DB.Levers import UnknownLever
from JenniferDIRAC.WorkloadManagementSystem.DB.Plans import KEPT_FOR, KEPT_PLANS
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import CycleReport, LeverRecord, Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Lever, Outcome, VMState


@dataclass
class MemoryDatabase:
    """What several stores share, as processes share a database. ``away``: it answers nobody.

    ``changes`` counts what was changed, ``outcomes`` all that ever ended. ``forget_after``: what ended so long before
    the latest end is dropped. ``disturb`` is called before and after each operation: what it raises before, keeps it
    from being done; what it raises after, keeps the caller from knowing that it was.
    """

    away: bool = False
    disturb: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    changes: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    forget_after: timedelta | None = None
    installation: str = ""
    intents: int = 0  # batches
    live: dict[str, VMRecord] = field(default_factory=dict)
    over: dict[str, VMRecord] = field(default_factory=dict)
    ends: list[tuple[datetime, str]] = field(default_factory=list)  # in their order
    touched: dict[str, datetime] = field(default_factory=dict)  # in the order of the last change
    history: dict[str, list[Transition]] = field(default_factory=dict)
    consoles: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    reports: dict[tuple[str, str, str], CycleReport] = field(default_factory=dict)
    leases: dict[EndpointKey, tuple[str, datetime]] = field(default_factory=dict)
    levers: list[LeverRecord] = field(default_factory=list)
    plans: list[KeptPlan] = field(default_factory=list)
    configs: dict[EndpointKey, EndpointConfig] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def answering(self) -> Iterator[MemoryDatabase]:
        """:raises StoreUnavailable: it does not"""
        with self.lock:
            if self.away:
                raise StoreUnavailable("the simulated database does not answer")
            self.disturb()
            yield self
            self.disturb()

    def keep(self, record: VMRecord, console: str | None = None) -> None:
        """The record as it is from now on."""
        vm = record.vm_id
        self.changes += 1
        self.touched.pop(vm, None)
        self.touched[vm] = self.clock()
        if console is not None:
            self.consoles[vm] = console
        if record.state is not VMState.ENDED:
            self.live[vm] = record
            return
        if self.live.pop(vm, None) is not None:
            insort(self.ends, (record.ended_at, vm))
            self.outcomes[record.outcome] += 1
        self.over[vm] = record
        while self.forget_after and self.ends[0][0] < record.ended_at - self.forget_after:
            forgotten = self.over.pop(self.ends.pop(0)[1])
            self.references.pop(forgotten.pilot_reference, None)
            for of_vm in (self.history, self.consoles, self.touched):
                of_vm.pop(forgotten.vm_id, None)

    def lose(self, vm: str) -> None:
        """Its record is gone, as when an older copy of the database is put back."""
        self.references.pop(self.live.pop(vm).pilot_reference)
        for of_vm in (self.history, self.consoles, self.touched):
            of_vm.pop(vm, None)

    def hold_on(self, claim: Claim | None, endpoints: Collection[EndpointKey]) -> None:
        """:raises Overtaken: the claim holds no longer"""
        if claim is not None:
            if claim.intents != self.intents:
                raise Overtaken
            standing = self.standing()
            if lost := {key for key in endpoints if standing.get(key) != claim.holder}:
                raise LeaseLost(lost)
        self.intents += 1

    def renew(self, holder: str, ttl: timedelta) -> None:
        """What a director's own thread does between its cycles."""
        until = self.clock() + ttl
        self.leases |= {key: (holder, until) for key, (held_by, _) in self.leases.items() if held_by == holder}

    def standing(self) -> dict[EndpointKey, str]:
        """Who has which endpoint now."""
        now = self.clock()
        return {key: holder for key, (holder, until) in self.leases.items() if until > now}


class MemoryLeases:
    """As ``Leases``."""

    def __init__(self, database: MemoryDatabase):
        self._db = database

    def take(self, endpoints: Iterable[EndpointKey], holder: str, ttl: timedelta) -> frozenset[EndpointKey]:
        with self._db.answering() as db:
            standing, until = db.standing(), db.clock() + ttl
            mine = frozenset(key for key in endpoints if standing.get(key, holder) == holder)
            db.leases |= dict.fromkeys(mine, (holder, until))
            return mine

    def release(self, holder: str) -> None:
        with self._db.answering() as db:
            for key in [key for key, (held_by, _) in db.leases.items() if held_by == holder]:
                del db.leases[key]

    def standing(self) -> dict[EndpointKey, str]:
        with self._db.answering() as db:
            return db.standing()

    def claim(self, holder: str) -> Claim:
        with self._db.answering() as db:
            return Claim(holder, db.intents)


class MemoryLevers:
    """As ``Levers``."""

    def __init__(self, database: MemoryDatabase):
        self._db = database

    def pull(self, lever: Lever, now: datetime) -> Lever:
        with self._db.answering() as db:
            pulled = replace(lever, id=len(db.levers) + 1, since=now)
            db.levers.append(LeverRecord(pulled))
            return pulled

    def release(self, id: int, who: str, why: str, now: datetime) -> Lever:
        with self._db.answering() as db:
            record = db.levers[id - 1] if 0 < id <= len(db.levers) else None
            if record is None or record.released_at is not None:
                raise UnknownLever(id, record)
            db.levers[id - 1] = LeverRecord(record.lever, now, who, why)
            return record.lever

    def standing(self, now: datetime) -> tuple[Lever, ...]:
        with self._db.answering() as db:
            pulled = [record.lever for record in db.levers if record.released_at is None]
        return tuple(lever for lever in pulled if lever.until is None or lever.until > now)

    def all(self, limit: int = 100) -> tuple[LeverRecord, ...]:
        with self._db.answering() as db:
            return tuple(reversed(db.levers))[:limit]


class MemoryPlans:
    """As ``Plans``."""

    def __init__(self, database: MemoryDatabase):
        self._db = database

    def save(self, plan: KeptPlan) -> None:
        with self._db.answering() as db:
            own = [place for place, kept in enumerate(db.plans) if kept.director == plan.director]
            if own and replace(db.plans[own[-1]], at=plan.at, unusable=plan.unusable) == plan:
                del db.plans[own[-1]]
            db.plans.append(plan)
            db.plans.sort(key=lambda kept: kept.at)
            db.plans = [kept for kept in db.plans[-KEPT_PLANS:] if kept.at >= plan.at - KEPT_FOR]

    def last(self, limit: int = 1) -> tuple[KeptPlan, ...]:
        with self._db.answering() as db:
            return tuple(reversed(db.plans))[:limit]


class MemoryConfigs:
    """As ``EndpointConfigs``."""

    def __init__(self, database: MemoryDatabase):
        self._db = database

    def keep(self, configs: Iterable[EndpointConfig]) -> None:
        with self._db.answering() as db:
            db.configs |= {key_of(config): config for config in configs}

    def kept(self) -> dict[EndpointKey, EndpointConfig]:
        with self._db.answering() as db:
            return dict(db.configs)

    def forget(self, endpoints: Iterable[EndpointKey]) -> None:
        with self._db.answering() as db:
            for key in endpoints:
                db.configs.pop(key, None)


class NoSessions:
    """The VMs of a simulation know no gateway."""

    def gateway_since(self) -> None:
        return None

    def guest(self, vm_id: str) -> None:
        return None
