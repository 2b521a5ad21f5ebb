"""Operators of a simulated installation, who pull and release levers at random, and what must hold meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from JenniferDIRAC.ConfigurationSystem.PlannerTerms import type_key
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import covers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.OurDirector import Crash, OurDirector

PULL, RELEASE = 0.005, 0.01  # per cycle, the second of each lever
_SHORT, _LONG = 600, 6 * 3600  # seconds that a lever with an end may stand
_MOST_VMS = 12


class Operators:
    """Those of one installation; their levers stand between its cycles, and are pulled at no other time."""

    def __init__(self, director: OurDirector, random: Random, now: Callable[[], datetime]):
        self._director, self._random, self._now = director, random, now
        self._types = [type_key(vm_type) for config in director.endpoints for vm_type in config.vm_types]
        self.standing: tuple[Lever, ...] = ()

    def act(self) -> int:
        """Perhaps pull a lever, and release some; how many were pulled."""
        pulled = 0
        try:
            if self._random.random() < PULL:
                self._director.store.levers.pull(self._lever(), self._now())
                pulled = 1
            for lever in self.standing:
                if self._random.random() < RELEASE:
                    self._release(lever)
        except (StoreUnavailable, Crash):
            pass  # the command failed; what it did all the same stands in the database
        self._look()
        return pulled

    def release_all(self) -> None:
        self._look()
        for lever in self.standing:
            self._release(lever)
        self._look()

    def _release(self, lever: Lever) -> None:
        self._director.store.levers.release(lever.id, "adm", "over", self._now())

    def _look(self) -> None:
        """Seen past the database's troubles."""
        pulled = (record.lever for record in self._director.database.levers if record.released_at is None)
        self.standing = tuple(one for one in pulled if one.until is None or one.until > self._now())

    def _lever(self) -> Lever:
        kind = self._random.choice(tuple(LeverKind))
        limited = kind is LeverKind.PAUSE or self._random.random() < 0.5
        until = self._now() + timedelta(seconds=self._random.uniform(_SHORT, _LONG)) if limited else None
        where: dict[str, object] = {}
        key, vo = self._random.choice(self._types), self._random.choice(self._director.config.vos)
        if kind is LeverKind.DRAIN:
            places: list[dict[str, object]] = [
                {"site": key.site},
                {"site": key.site, "ce": key.ce},
                {"site": key.site, "ce": key.ce, "queue": key.queue},
                {"vo": vo},
                {"site": key.site, "ce": key.ce, "vo": vo},
            ]
            where = self._random.choice(places)
        elif kind is LeverKind.OVERRIDE:
            where = {"site": key.site, "ce": key.ce, "option": "MaxVMs", "value": self._random.randint(0, _MOST_VMS)}
        elif kind is LeverKind.HOLD:
            where = {"vm": self._random.choice([*self._director.database.live, "0" * 32])}
        return Lever(0, kind, "adm", "chaos", self._now(), until, **where)

    # What must hold

    def wrong_to_make(self, vm_type: VMTypeKey, vo: str, there: int) -> Iterator[str]:
        """Why this VM should not have been made.

        :param there: how many VMs its endpoint has with it
        """
        overrides = []
        for lever in self.standing:
            if lever.kind is LeverKind.PAUSE:
                yield "made while all is paused"
            if lever.kind is LeverKind.DRAIN and covers(lever, vm_type, vo, ""):
                yield "made where all is drained"
            if lever.kind is LeverKind.OVERRIDE and covers(lever, vm_type, vo, ""):
                overrides.append(lever.value)
        if overrides and there > overrides[-1]:  # the newest holds
            yield "made beyond an operator's limit"

    def wrong_to_delete(self, vm: str) -> str:
        """Why this VM's server should not have been deleted, or ""."""
        record = self._director.database.live.get(vm) or self._director.database.over.get(vm)
        held = [lever for lever in self.standing if lever.kind is LeverKind.HOLD and lever.vm == vm]
        if not held or record is None:
            return ""
        # What was decided or had ended before somebody held it is not taken back.
        decided = record.state in (VMState.DELETING, VMState.ENDED) and record.since <= min(one.since for one in held)
        return "" if decided else "deleted while held"

    def drains(self, vm_type: VMTypeKey, vo: str, vm: str) -> bool:
        return any(lever.kind is LeverKind.DRAIN and covers(lever, vm_type, vo, vm) for lever in self.standing)
