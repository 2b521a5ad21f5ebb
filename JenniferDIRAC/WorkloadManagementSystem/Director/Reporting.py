"""One line per endpoint, VO and cycle: what was wanted, what was done, and what stopped the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import CycleReport
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint, EndpointKey, Plan, Snapshot, Unmet, VMState


def cycle_reports(
    snapshot: Snapshot,
    plan: Plan,
    vos: Iterable[str],
    refusals: Mapping[tuple[EndpointKey, str], str],
    broken: Mapping[EndpointKey, str],
    now: datetime,
) -> tuple[CycleReport, ...]:
    """A report for every VO that an endpoint may serve, and one for demand that no endpoint can serve at all.

    ``refusals`` are those of ``Executor.carry_out``; ``broken`` names endpoints whose configuration was refused.
    """
    vos = tuple(vos)
    reports = [
        _report(endpoint, vo, snapshot, plan, refusals.get((endpoint.key, vo), ""), now)
        for endpoint in snapshot.endpoints
        for vo in vos
        if any(not vm_type.vos or vo in vm_type.vos for vm_type in endpoint.vm_types)
    ]
    for key, problem in broken.items():
        reports += [
            CycleReport(key.site, key.ce, vo, now, f"{key} {vo}: stopped by {problem}", problem=problem) for vo in vos
        ]
    return tuple(reports)


def _report(endpoint: Endpoint, vo: str, snapshot: Snapshot, plan: Plan, refusal: str, now: datetime) -> CycleReport:
    types = {vm_type.key for vm_type in endpoint.vm_types}
    queues = {tq.id: tq for tq in snapshot.task_queues if tq.vo == vo and tq.matches & types}
    mine = {vm.id: vm for vm in snapshot.vms if vm.endpoint == endpoint.key and vm.vo == vo}
    wanted = sum(tq.jobs * tq.processors for tq in queues.values())
    states = Counter(vm.state for vm in mine.values())
    started = (
        sum(1 for new in plan.creates if new.vm_type.endpoint == endpoint.key and new.vo == vo) if not refusal else 0
    )
    deleted = sum(1 for delete in plan.deletes if delete.vm in mine)
    unmet = tuple(one for one in plan.unmet if one.task_queue in queues)
    problem = snapshot.refused_vos.get(vo, "") or refusal

    vms = ", ".join(f"{states[state]} {state.value}" for state in VMState if states[state]) or "none"
    line = f"{endpoint.key} {vo}: {wanted} cores wanted; VMs {vms}; started {started}, deleted {deleted}"
    if problem:
        line += f"; stopped by {problem}"
    elif unmet:
        line += f"; {sum(one.cores for one in unmet)} cores not started: {_reasons(unmet)}"
    return CycleReport(endpoint.key.site, endpoint.key.ce, vo, now, line, wanted, started, dict(states), unmet, problem)


def _reasons(unmet: Iterable[Unmet]) -> str:
    return "; ".join(dict.fromkeys(f"{one.limit.value} ({one.detail})" for one in unmet))
