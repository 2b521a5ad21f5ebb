"""What the kept plans say of a task queue or a place, and since when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Answer, Limit, Unmet, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import lasting, sentence

#: A plan that much older than now is none to answer with: its director is gone.
OLD = timedelta(minutes=10)

#: That a limit stops a task queue, or a VM type for a VO.
_Said = tuple[int, Limit] | tuple[VMTypeKey, str, Limit]


class LastPlans:
    """The kept plans, newest first, of all directors; ``current`` are the last ones of those that are at work."""

    def __init__(self, plans: Iterable[KeptPlan], now: datetime):
        self.plans: Sequence[KeptPlan] = sorted(plans, key=lambda plan: plan.at, reverse=True)
        self.now = now
        last: dict[str, KeptPlan] = {}
        for plan in self.plans:
            last.setdefault(plan.director, plan)
        self.current = tuple(plan for plan in last.values() if now - plan.at <= OLD)

    def trouble(self) -> tuple[str, ...]:
        """Sentences on why the plans tell little: none, none of late, or one made without knowing demand."""
        if not self.plans:
            return ("No plan is kept: is the CloudDirector running?",)
        if not self.current:
            age = lasting(self.now - self.plans[0].at)
            return (f"The last plan is {age} old: is the CloudDirector running? What follows is of that plan.",)
        problems = {plan.problem: None for plan in self.current if plan.problem}
        return tuple(sentence(f"In the last plan, {problem}") for problem in problems)

    @property
    def used(self) -> tuple[KeptPlan, ...]:
        """The plans to answer with: the current ones, else the very last."""
        return self.current or tuple(self.plans[:1])

    def answer(self, task_queue: int) -> Answer | None:
        """What the newest plan that knows this task queue says of it."""
        return next((one for plan in self.used for one in plan.answers if one.task_queue == task_queue), None)

    def answers(self) -> dict[int, Answer]:
        """By task queue."""
        return {one.task_queue: one for plan in reversed(self.used) for one in plan.answers}

    def unmet(self, task_queue: int | None = None) -> tuple[tuple[Unmet, Hindrance], ...]:
        """What gets nothing, of one task queue or of all, with what stops it."""
        found: dict[tuple[int, Limit], tuple[Unmet, Hindrance]] = {}
        for plan in self.used:
            lefts = {(stop.vm_type, stop.vo, stop.limit): stop.left for stop in plan.stops}
            for one in plan.unmet:
                if task_queue in (None, one.task_queue):
                    since = self._since(plan, (one.task_queue, one.limit))
                    left = lefts.get((one.vm_type, one.vo, one.limit))
                    hindrance = Hindrance(one.limit, one.detail, one.vo, plan.at, one.vm_type, left, since)
                    found.setdefault((one.task_queue, one.limit), (one, hindrance))
        return tuple(found.values())

    def stops(self, test: Callable[[VMTypeKey, str], bool]) -> tuple[Hindrance, ...]:
        """What keeps VM types from being started, for those VM types and VOs that the test takes."""
        found: dict[tuple[VMTypeKey, str], Hindrance] = {}
        for plan in self.used:
            for one in plan.stops:
                if test(one.vm_type, one.vo):
                    since = self._since(plan, (one.vm_type, one.vo, one.limit))
                    hindrance = Hindrance(one.limit, one.detail, one.vo, plan.at, one.vm_type, one.left, since)
                    found.setdefault((one.vm_type, one.vo), hindrance)
        return tuple(hindrance for _, hindrance in sorted(found.items()))

    @cached_property
    def _says(self) -> list[tuple[KeptPlan, frozenset[_Said]]]:
        return [(plan, _all_that_it_says(plan)) for plan in self.plans]

    def _since(self, plan: KeptPlan, said: _Said) -> datetime | None:
        """When that plan's director last made one that does not say so; None when no such plan is kept.

        A plan that is made again is kept once, with its last time: so the first one that says otherwise tells best.
        """
        return next((one.at for one, says in self._says if one.director == plan.director and said not in says), None)


def _all_that_it_says(plan: KeptPlan) -> frozenset[_Said]:
    return frozenset((one.task_queue, one.limit) for one in plan.unmet) | frozenset(
        (one.vm_type, one.vo, one.limit) for one in plan.stops
    )
