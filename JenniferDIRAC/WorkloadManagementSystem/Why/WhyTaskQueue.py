"""Why a task queue's jobs wait: what is wanted, what is coming, what was started, what stopped the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import pausing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance, since, why_hindered
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Obstacle, Requirement, Wanted
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import counted, listed, number, sentence

_VM_TYPES_SHOWN = 20


@dataclass(frozen=True)
class ComingVM:
    """A VM on its way. ``boot`` is how long VMs of its type take to their first word, None when that is not known."""

    vm: str
    vm_type: VMTypeKey
    state: VMState
    created_at: datetime
    boot: timedelta | None = None


@dataclass(frozen=True)
class Fit:
    """A VM type against the jobs: what our rules say, and what the Matcher says (None: it gave no answer)."""

    vm_type: VMTypeKey
    obstacles: tuple[Obstacle, ...]
    matcher: bool | None = None
    unasked: str = ""

    @property
    def fits(self) -> bool:
        """Whether a VM of this type may take the jobs; the Matcher is not asked about VOs, and counts for the rest."""
        if any(one.requirement is Requirement.VO for one in self.obstacles):
            return False
        return not self.obstacles if self.matcher is None else self.matcher


@dataclass(frozen=True)
class QueueFacts:
    """What is known of one task queue. ``wanted`` None: DIRAC does not have it, or (``jobs`` too) did not answer.

    ``planned``: whether any plan was kept, so that one which does not name the queue tells something.
    """

    id: int
    wanted: Wanted | None = None
    jobs: int | None = None
    planned: bool = False
    answer: Answer | None = None
    unmet: tuple[tuple[Unmet, Hindrance], ...] = ()
    stops: tuple[Hindrance, ...] = ()
    coming: tuple[ComingVM, ...] = ()
    fits: tuple[Fit, ...] = ()
    levers: tuple[Lever, ...] = ()


def why_task_queue(facts: QueueFacts, now: datetime) -> tuple[str, ...]:
    """The sentences, the most telling first."""
    if facts.wanted is None and facts.jobs is not None:
        return (f"There is no task queue {facts.id}, or it is empty: its jobs were taken, or it never was.",)
    return (
        *_wanted(facts),
        *_paused(facts.levers, now),
        *_coming(facts, now),
        *_turned_over(facts.answer),
        *_started(facts),
        *_stopped(facts, now),
        *_vm_types(facts.fits),
    )


def _wanted(facts: QueueFacts) -> Iterator[str]:
    wanted, answer = facts.wanted, facts.answer
    if wanted is not None and facts.jobs is not None:
        yield f"Task queue {facts.id} of {wanted.vo}: {_jobs(facts.jobs, wanted.processors)}{_conditions(wanted)}."
    elif answer is not None:
        yield (
            f"Task queue {facts.id} of {answer.vo}, as the last plan saw it: {_jobs(answer.jobs, answer.processors)}."
        )


def _jobs(jobs: int, processors: int) -> str:
    verb = "waits" if jobs == 1 else "wait"
    size = "1 processor" if processors == 1 else f"{processors} processors"
    each = "of" if jobs == 1 else "each of"
    total = "" if jobs == 1 else f", {jobs * processors} cores in all"
    return f"{number(jobs, 'job')} {verb}, {each} {size}{total}"


def _conditions(wanted: Wanted) -> str:
    named = (
        ("at", wanted.sites),
        ("not at", wanted.banned_sites),
        ("on the CE", wanted.ces),
        ("on the platform", wanted.platforms),
        ("with the tag", {tag for tag in wanted.tags if not tag.lower().endswith("processors")} - {"MultiProcessor"}),
    )
    words = [f"{word} {listed(sorted(values))}" for word, values in named if values]
    return f" ({'; '.join(words)})" if words else ""


def _paused(levers: Iterable[Lever], now: datetime) -> Iterator[str]:
    if pause := pausing(levers, now):
        yield sentence(f"No VM is started anywhere: {told(pause, now)}")


def _coming(facts: QueueFacts, now: datetime) -> Iterator[str]:
    if not facts.coming:
        return
    states = Counter(vm.state.value for vm in facts.coming)
    places = sorted({str(vm.vm_type) for vm in facts.coming})
    one = len(facts.coming) == 1
    text = f"{number(len(facts.coming), 'VM')} {'is' if one else 'are'} on {'its' if one else 'their'} way for it"
    text += f" at {listed(places)} ({counted(states)})"
    yield f"{text}; {first_word(facts.coming, now)}."
    answer = facts.answer
    if answer is not None and answer.coming and round(answer.jobs_coming, 1) < len(answer.coming):
        yield (
            f"The plan counts on them for {answer.jobs_coming:.1f} of its jobs: not every VM of that kind has come up "
            "lately."
        )


def first_word(coming: Iterable[ComingVM], now: datetime) -> str:
    """When the first of these VMs is expected to speak, as part of a sentence."""
    left = [vm.created_at + vm.boot - now for vm in coming if vm.boot is not None]
    if not left:
        return "how long such a VM takes to its first word is not known yet"
    soonest = min(left)
    if soonest > timedelta(0):
        return f"the first word is expected in about {lasting(soonest)}"
    return f"the first word was expected {lasting(-soonest)} ago"


def _turned_over(answer: Answer | None) -> Iterator[str]:
    if answer is not None and answer.jobs_from_running > 0:
        jobs = max(1, round(answer.jobs_from_running))
        yield (
            f"About {jobs} of its jobs {'is' if jobs == 1 else 'are'} left to VMs at work: by their pace so far they "
            f"take {'it' if jobs == 1 else 'as many'} within the boot times that the director's TurnoverBoots allows."
        )


def _started(facts: QueueFacts) -> Iterator[str]:
    if facts.answer is not None and facts.answer.started:
        started = facts.answer.started
        kinds = listed(f"{vms} of {vm_type}" for vm_type, vms in sorted(started.items()))
        yield f"The last plan started {number(sum(started.values()), 'VM')} for it: {kinds}."


def _stopped(facts: QueueFacts, now: datetime) -> Iterator[str]:
    for unmet, hindrance in facts.unmet:
        cores = f"{number(unmet.cores, 'core')} of it {'gets' if unmet.cores == 1 else 'get'} nothing"
        # Where several VM types are stopped, each tells its own reason below.
        if len(facts.stops) > 1:
            yield f"{cores}, {since(hindrance, now)}: {unmet.limit.value}."
        else:
            yield sentence(f"{cores}: {why_hindered(hindrance, facts.levers, now)}")
    if len(facts.stops) > 1:
        for stop in facts.stops:
            yield sentence(f"{stop.vm_type}: {why_hindered(stop, facts.levers, now, named=True)}")
    if not facts.unmet and facts.planned:
        if facts.answer is None and facts.jobs:
            if not facts.fits:
                yield "The last plan does not know this task queue: it is new, or no VM type matches it."
            elif any(fit.fits for fit in facts.fits):
                yield "The last plan does not know this task queue yet."
        elif facts.answer is not None and not (facts.coming or facts.answer.started or facts.answer.jobs_from_running):
            yield "The last plan found nothing left to do for it: VMs that run already are to take its jobs."
        elif facts.answer is not None:
            yield "Nothing stops the rest: what is coming is enough for all its jobs."


def _vm_types(fits: tuple[Fit, ...]) -> Iterator[str]:
    if not fits:
        return
    matching = [fit for fit in fits if fit.fits]
    shown = listed(str(fit.vm_type) for fit in matching[:_VM_TYPES_SHOWN])
    more = f" and {len(matching) - _VM_TYPES_SHOWN} more" if len(matching) > _VM_TYPES_SHOWN else ""
    if matching:
        verb = "matches" if len(matching) == 1 else "match"
        yield f"Of {number(len(fits), 'VM type')}, {len(matching)} {verb}: {shown}{more}."
    else:
        yield f"None of the {number(len(fits), 'VM type')} matches." if len(fits) > 1 else "The VM type does not match."
    for fit in fits:
        yield from _fit(fit)


def _fit(fit: Fit) -> Iterator[str]:
    reasons = "; ".join(one.text for one in fit.obstacles)
    matched = [one for one in fit.obstacles if one.requirement is not Requirement.VO]
    if fit.matcher is None and fit.unasked:
        rest = f"by its rules as they are known here: {reasons}" if reasons else "by its rules it should match"
        yield sentence(f"{fit.vm_type}: the Matcher gave no answer ({fit.unasked}); {rest}")
    elif fit.matcher and matched:
        yield sentence(
            f"{fit.vm_type}: the Matcher does take these jobs, which counts, although by its rules as they are known "
            f"here it should not: {reasons}"
        )
    elif fit.matcher is False and not matched:
        yield (
            f"{fit.vm_type}: every requirement that is known here is met, and the Matcher refuses all the same, which "
            "counts: see RunningLimit and MatchingDelay of the site in /Operations/…/JobScheduling."
        )
    elif reasons:
        yield sentence(f"{fit.vm_type}: {reasons}")
