"""One line per endpoint, VO and cycle: what was wanted, what was done, and what stopped the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import CycleReport
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit, Plan, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import concerns, standing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    Lever,
    LeverKind,
    TaskQueue,
    VirtualMachine,
    VMState,
)

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class _Cycle:
    """What a cycle saw and did, to be told in lines; ``out_of_use`` as of ``cycle_reports``."""

    sight: Sight
    plan: Plan
    carried: Carried
    out_of_use: Mapping[EndpointKey, str]
    now: datetime

    @cached_property
    def _vms(self) -> dict[tuple[EndpointKey, str], list[VirtualMachine]]:
        return _grouped(self.sight.snapshot.vms, lambda vm: (vm.endpoint, vm.vo.lower()))

    @cached_property
    def _queues(self) -> dict[str, list[TaskQueue]]:
        return _grouped(self.sight.snapshot.task_queues, lambda queue: queue.vo.lower())

    @cached_property
    def _stops(self) -> dict[tuple[EndpointKey, str], list[Stopped]]:
        return _grouped(self.plan.stops, lambda stop: (stop.vm_type.endpoint, stop.vo.lower()))

    def report(self, endpoint: Endpoint, vo: str) -> CycleReport:
        """Of a VO at an endpoint that may serve it."""
        snapshot, key = self.sight.snapshot, endpoint.key
        place = key, vo.lower()
        types = {vm_type.key for vm_type in endpoint.vm_types if vm_type.serves(vo)}
        queues = {queue.id: queue for queue in self._queues.get(vo.lower(), ()) if queue.matches & types}
        mine = {vm.id: vm for vm in self._vms.get(place, ())}
        wanted = sum(queue.jobs * queue.processors for queue in queues.values())
        states = Counter(vm.state for vm in mine.values())
        started = self.carried.started(key, vo)
        deleted = sum(1 for delete in self.plan.deletes if delete.vm in mine)
        unmet = tuple(one for one in self.plan.unmet if one.task_queue in queues)
        problem = (
            self.out_of_use.get(key, "")
            or snapshot.refused_vos.get(vo, "")
            or self.carried.refused(key, vo)
            or self.sight.demand_problem
        )

        counts = ", ".join(f"{states[state]} {state.value}" for state in VMState if states[state]) or "none"
        line = f"{key} {vo}: {wanted} cores wanted; VMs {counts}; started {started}, deleted {deleted}"
        if problem:
            line += f"; stopped by {problem}"
        # Of all the limits that a task queue met everywhere, this endpoint's own are told here.
        here = [stop for stop in self._stops.get(place, ()) if stop.vm_type in types]
        if unmet and not problem:
            line += f"; {sum(one.cores for one in unmet)} cores not started: {_reasons(here or unmet)}"
        told_of = {one.limit for one in here or unmet} if unmet else set()
        line += "".join(f"; {words}" for words in _levers(snapshot.levers, key, vo, told_of, self.now))
        return CycleReport(key.site, key.ce, vo, self.now, line, wanted, started, dict(states), unmet, problem)


def cycle_reports(
    sight: Sight,
    plan: Plan,
    vos: Iterable[str],
    carried: Carried,
    out_of_use: Mapping[EndpointKey, str],
    now: datetime,
) -> tuple[CycleReport, ...]:
    """A report for every VO that an endpoint may serve, and one per VO for demand that no endpoint can serve at all.

    ``out_of_use`` names endpoints whose configuration was refused, or that left the CS.
    """
    vos, endpoints = tuple(vos), sight.snapshot.endpoints
    cycle = _Cycle(sight, plan, carried, out_of_use, now)
    reports = [
        cycle.report(endpoint, vo)
        for endpoint in endpoints
        for vo in vos
        if any(vm_type.serves(vo) for vm_type in endpoint.vm_types)
    ]
    looked_after = {endpoint.key for endpoint in endpoints}
    for key, problem in out_of_use.items():
        if key not in looked_after:
            reports += [
                CycleReport(key.site, key.ce, vo, now, f"{key} {vo}: stopped by {problem}", problem=problem)
                for vo in vos
            ]
    known = {unmet for report in reports for unmet in report.unmet}
    for vo in vos:
        untold = tuple(unmet for unmet in plan.unmet if unmet.vo.lower() == vo.lower() and unmet not in known)
        if untold:
            cores = sum(unmet.cores for unmet in untold)
            line = f"{vo}: {cores} cores wanted that no endpoint can serve: {_reasons(untold)}"
            reports.append(CycleReport("", "", vo, now, line, cores, unmet=untold))
    return tuple(replace(report, unmet=_summed(report.unmet)) for report in reports)


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _summed(unmet: Iterable[Unmet]) -> tuple[Unmet, ...]:
    """One for each reason, with the cores of all task queues: hundreds may wait for the same."""
    summed: dict[tuple, Unmet] = {}
    for one in unmet:
        why = one.vo, one.limit, one.detail, one.vm_type
        summed[why] = replace(summed[why], cores=summed[why].cores + one.cores) if why in summed else one
    return tuple(summed.values())


def _levers(
    levers: Iterable[Lever], key: EndpointKey, vo: str, told_of: Container[Limit], now: datetime
) -> Iterator[str]:
    """The levers that concern the VO there, but for those that a limit has told of."""
    for lever in standing(levers, now):
        if not concerns(lever, key) or lever.vo.lower() not in ("", vo.lower()):
            continue
        match lever.kind:
            case LeverKind.PAUSE if Limit.PAUSED not in told_of:
                yield told(lever, now)
            case LeverKind.DRAIN if Limit.DRAINED not in told_of:
                yield f"{lever.queue} {told(lever, now)}".lstrip()
            case LeverKind.OVERRIDE:
                value = "no limit" if lever.value is None else f"{lever.value:g}"
                yield f"{lever.queue} {lever.option} {value} {told(lever, now)}".lstrip()


def _reasons(unmet: Iterable[Unmet | Stopped]) -> str:
    return "; ".join(dict.fromkeys(f"{one.limit.value} ({one.detail})" for one in unmet))
