"""Why nothing, or no more, is started at an endpoint; and the shortest answer of all, for everything at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import SHARE, pausing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, EndpointKey, Lever, LeverKind, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance, why_hindered
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import listed, number, sentence


@dataclass(frozen=True)
class PlaceFacts:
    """One endpoint. ``bounds`` are in force, levers included; ``unusable`` "" or why, None when DIRAC did not answer.

    ``seen`` is why the last plan could not use it, "" if it could; ``started`` the VM types of which it started VMs,
    None when there is no plan. ``problem`` is what is wrong with its configuration, ``refused`` why a VO got nothing in
    the last cycle, ``vm_types`` those that were asked about, ``holder`` the director that looks after it.
    """

    key: EndpointKey
    vm_types: tuple[VMTypeKey, ...] = ()
    unusable: str | None = ""
    seen: str = ""
    started: tuple[VMTypeKey, ...] | None = ()
    problem: str = ""
    holder: str = ""
    bounds: Bounds = Bounds()
    vo_bounds: Mapping[str, Bounds] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    counts: tuple[Count, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    stops: tuple[Hindrance, ...] = ()
    levers: tuple[Lever, ...] = ()


def why_place(facts: PlaceFacts, now: datetime) -> tuple[str, ...]:
    """The sentences, from what stops everything to single VM types."""
    return (
        *_usable(facts),
        *_held(facts),
        *lever_lines(facts.levers, now),
        *_use(facts),
        *_stops(facts, now),
    )


def _usable(facts: PlaceFacts) -> Iterator[str]:
    if facts.problem:
        yield sentence(f"{facts.key} is disabled by its configuration: {facts.problem}")
    elif facts.unusable or facts.seen:
        reasons = dict.fromkeys(reason for reason in (facts.unusable, facts.seen) if reason)
        yield sentence(f"{facts.key} is not usable: {'; '.join(reasons)}")
    elif facts.unusable is None:
        yield f"Whether {facts.key} is usable is not known now."
    else:
        yield f"{facts.key} is usable: its site and its CE are Active."


def _held(facts: PlaceFacts) -> Iterator[str]:
    if facts.holder:
        yield f"The director {facts.holder} looks after it."
    else:
        yield "No director looks after it: none holds its lease."


def lever_lines(levers: Iterable[Lever], now: datetime) -> Iterator[str]:
    """Each lever with what it is about."""
    for lever in levers:
        yield sentence(f"Lever {lever.id}: {about(lever)} {told(lever, now)}".replace("  ", " "))


def about(lever: Lever) -> str:
    """What a lever concerns, such as "MaxVMs 5 of each endpoint of CLOUD.GRIF.fr for belle"."""
    place = "/".join(part for part in (lever.site, lever.ce, lever.queue) if part)
    vo = f" for {lever.vo}" if lever.vo else ""
    if lever.kind is LeverKind.HOLD:
        return f"VM {lever.vm}"
    if lever.kind is LeverKind.OVERRIDE:
        value = "without limit" if lever.value is None else f"{lever.value:g}"
        if not place and lever.vo and lever.option != SHARE:
            return f"{lever.option} {value}{vo} everywhere"
        # The site has no limit of its own: each of its endpoints may use that much.
        whose = place if lever.ce else f"each endpoint of {place}" if place else "each endpoint"
        return f"{lever.option} {value} of {whose}{vo}"
    if lever.kind is LeverKind.PAUSE:
        return "all creation"
    return f"{place or 'everything'}{vo}"


def _use(facts: PlaceFacts) -> Iterator[str]:
    vms, cores = sum(one.vms for one in facts.counts), sum(one.cores for one in facts.counts)
    use = f"{_of(vms, 'VM', facts.bounds.max_vms)}, {_of(cores, 'core', facts.bounds.max_cores)}"
    yield f"In use: {use}{_soft(facts.bounds)}."
    for vo in sorted({one.vo for one in facts.counts} | set(facts.vo_bounds) | set(facts.shares)):
        mine = [one for one in facts.counts if one.vo == vo]
        bounds = facts.vo_bounds.get(vo, Bounds())
        use = f"{_of(sum(one.vms for one in mine), 'VM', bounds.max_vms)}, "
        use += _of(sum(one.cores for one in mine), "core", bounds.max_cores) + _soft(bounds)
        share = ""
        if facts.shares:
            weight, total = facts.shares.get(vo, 0), sum(facts.shares.values())
            share = f"; its share is {100 * weight / total:.0f} %" if total else "; nobody has a share"
        yield f"{vo}: {use}{share}."


def _of(used: int, thing: str, most: int | None) -> str:
    return number(used, thing) if most is None else f"{used} of {number(most, thing)}"


def _soft(bounds: Bounds) -> str:
    soft = [
        f"{limit} {thing}s"
        for limit, thing in ((bounds.soft_max_vms, "VM"), (bounds.soft_max_cores, "core"))
        if limit is not None
    ]
    return f" (one at a time beyond {listed(soft)})" if soft else ""


def _stops(facts: PlaceFacts, now: datetime) -> Iterator[str]:
    told_below = {(stop.vo.lower(), stop.detail) for stop in facts.stops}
    for vo, why in sorted(facts.refused.items()):
        if (vo.lower(), why) not in told_below:
            yield sentence(f"{vo} gets nothing: {why}")
    for stop in facts.stops:
        yield sentence(f"{stop.vm_type} for {stop.vo}: {why_hindered(stop, facts.levers, now, named=True)}")
    stopped = {stop.vm_type for stop in facts.stops}
    if facts.started is None or facts.problem or facts.unusable or facts.seen:
        return
    free = [key for key in facts.vm_types if key not in stopped]
    if started := [str(key) for key in free if key in facts.started]:
        yield f"In the last plan nothing stopped {listed(started)}."
    if unwanted := [str(key) for key in free if key not in facts.started]:
        yield f"Nothing was wanted of {listed(unwanted)} in the last plan."


@dataclass(frozen=True)
class QueueLine:
    """A task queue in the answer for everything; ``jobs`` None: nothing but what stops it is known."""

    id: int
    vo: str
    jobs: int | None
    coming: int = 0
    started: int = 0
    unmet: tuple[tuple[Unmet, Hindrance], ...] = ()


def why_everything(
    queues: Iterable[QueueLine],
    unusable: Mapping[EndpointKey, str],
    levers: tuple[Lever, ...],
    planned: bool,
    now: datetime,
) -> tuple[str, ...]:
    """One sentence on each thing, from what needs no more words to what needs most."""
    queues = list(queues)
    if planned and not queues:
        waiting = ["Nothing waits: no task queue has jobs for any VM type."]
    else:
        waiting = sorted((_queue_line(one, levers, now) for one in queues), key=len)
    if pause := pausing(levers, now):
        waiting.insert(0, sentence(f"No VM is started anywhere: {told(pause, now)}"))
    others = [lever for lever in levers if lever.kind is not LeverKind.PAUSE]
    return (
        *waiting,
        *(sentence(f"{key} is not usable: {reason}") for key, reason in sorted(unusable.items())),
        *lever_lines(others, now),
    )


def _queue_line(queue: QueueLine, levers: Iterable[Lever], now: datetime) -> str:
    text = f"Task queue {queue.id} of {queue.vo}"
    text += "" if queue.jobs is None else f": {number(queue.jobs, 'job')}"
    text += f", {number(queue.coming, 'VM')} coming" if queue.coming else ""
    text += f", {number(queue.started, 'VM')} just started" if queue.started else ""
    for unmet, hindrance in queue.unmet:
        text += f"; {number(unmet.cores, 'core')} {'gets' if unmet.cores == 1 else 'get'} nothing, "
        text += f"{unmet.limit.value}: {why_hindered(hindrance, levers, now)}"
        if unmet.detail != hindrance.detail:
            text += f"; 'dirac-admin-cloud why tq:{queue.id}' tells of the other VM types"
    return sentence(text)
