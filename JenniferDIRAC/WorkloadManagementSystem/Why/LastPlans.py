"""What the kept plans say of a task queue or a place, and since when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Limit, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import sentence

#: A plan that much older than now is none to answer with: its director is gone.
OLD = timedelta(minutes=10)

#: That a limit stops a task queue, or a VM type for a VO.
_Said = tuple[int, Limit] | tuple[VMTypeKey, str, Limit]


class LastPlans:
    """The kept plans, newest first, of all directors; ``current`` are the last ones of those that are at work.

    ``holders`` are the directors that look after an endpoint now.
    """

    def __init__(self, plans: Iterable[KeptPlan], now: datetime, holders: Mapping[EndpointKey, str] | None = None):
        self.plans: Sequence[KeptPlan] = sorted(plans, key=lambda plan: plan.at, reverse=True)
        self.now = now
        self._holders = holders or {}
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

    def answers(self) -> dict[int, Answer]:
        """What is known of each task queue; what several directors do for one adds up."""
        merged: dict[int, Answer] = {}
        for plan in self.used:
            for one in plan.answers:
                if (newer := merged.get(one.task_queue)) is None:
                    merged[one.task_queue] = one
                    continue
                merged[one.task_queue] = replace(
                    newer,
                    coming=tuple(dict.fromkeys((*newer.coming, *one.coming))),
                    jobs_coming=max(newer.jobs_coming, one.jobs_coming),
                    jobs_from_running=max(newer.jobs_from_running, one.jobs_from_running),
                    started=Counter(newer.started) + Counter(one.started),
                )
        return merged

    def unmet(self) -> dict[int, tuple[tuple[Unmet, Hindrance], ...]]:
        """What gets nothing, by task queue, with what stops it.

        Each director plans for its own endpoints only: a queue that one of them serves is served, and of several that
        leave something over the one that leaves least tells why.
        """
        said: dict[int, list[tuple[KeptPlan, list[Unmet]]]] = {}
        for plan in self.used:
            mine: dict[int, list[Unmet]] = {one.task_queue: [] for one in plan.answers}
            for one in plan.unmet:
                mine.setdefault(one.task_queue, []).append(one)
            for queue, unmet in mine.items():
                said.setdefault(queue, []).append((plan, unmet))
        found = {}
        for queue, takes in said.items():
            plan, unmet = min(takes, key=lambda take: (sum(one.cores for one in take[1]), self._elsewhere(*take)))
            if unmet:
                found[queue] = tuple((one, self._hindrance(plan, one)) for one in unmet)
        return found

    def _elsewhere(self, plan: KeptPlan, unmet: Iterable[Unmet]) -> int:
        """How many of these are about endpoints that another director looks after."""
        return sum(1 for one in unmet if one.vm_type and not self._is_its(plan, one.vm_type.endpoint))

    def _is_its(self, plan: KeptPlan, endpoint: EndpointKey) -> bool:
        """Whether that plan is to be asked about the endpoint: nobody else who is at work looks after it."""
        holder = self._holders.get(endpoint, plan.director)
        return holder == plan.director or all(one.director != holder for one in self.used)

    def _hindrance(self, plan: KeptPlan, one: Unmet) -> Hindrance:
        """What stops the best VM type for it, where that is known; else what stops all of them."""
        stop = next(
            (
                stop
                for stop in plan.stops
                if (stop.vm_type, stop.limit) == (one.vm_type, one.limit) and stop.vo.lower() == one.vo.lower()
            ),
            None,
        )
        detail, left, option = (stop.detail, stop.left, stop.option) if stop else (one.detail, None, "")
        since, at_least = self._since(plan, (one.task_queue, one.limit))
        return Hindrance(one.limit, detail, one.vo, plan.at, since, at_least, one.vm_type, left, option)

    def refused(self) -> dict[str, str]:
        """Why a VO is not served, by the VO, or at one endpoint, by "site/ce VO"."""
        return {who: why for plan in reversed(self.used) for who, why in plan.refused.items()}

    def unusable(self, endpoint: EndpointKey) -> str:
        """Why nothing could be started there, whether or not anything was wanted; "" where it was usable."""
        return next((plan.unusable.get(str(endpoint), "") for plan in self.used if self._is_its(plan, endpoint)), "")

    def started(self, endpoint: EndpointKey) -> frozenset[VMTypeKey]:
        """The VM types there of which VMs were started."""
        return frozenset(one.vm_type for plan in self.used for one in plan.creates if one.vm_type.endpoint == endpoint)

    def stops(self, test: Callable[[VMTypeKey, str], bool]) -> tuple[Hindrance, ...]:
        """What keeps VM types from being started, for those VM types and VOs that the test takes."""
        found: dict[tuple[VMTypeKey, str], Hindrance] = {}
        for plan in self.used:
            for one in plan.stops:
                if self._is_its(plan, one.vm_type.endpoint) and test(one.vm_type, one.vo):
                    since = self._since(plan, (one.vm_type, one.vo, one.limit))
                    hindrance = Hindrance(
                        one.limit, one.detail, one.vo, plan.at, *since, one.vm_type, one.left, one.option
                    )
                    found.setdefault((one.vm_type, one.vo), hindrance)
        return tuple(hindrance for _, hindrance in sorted(found.items()))

    @cached_property
    def _says(self) -> list[tuple[KeptPlan, frozenset[_Said]]]:
        return [(plan, _all_that_it_says(plan)) for plan in self.plans]

    def _since(self, plan: KeptPlan, said: _Said) -> tuple[datetime, bool]:
        """When that plan's director last made one that does not say so; else the oldest that does, and True.

        A plan that is made again is kept once, with its last time: so the first one that says otherwise tells best.
        """
        mine = [(one.at, says) for one, says in self._says if one.director == plan.director]
        otherwise = next((at for at, says in mine if said not in says), None)
        return (mine[-1][0], True) if otherwise is None else (otherwise, False)


def _all_that_it_says(plan: KeptPlan) -> frozenset[_Said]:
    return frozenset((one.task_queue, one.limit) for one in plan.unmet) | frozenset(
        (one.vm_type, one.vo, one.limit) for one in plan.stops
    )
