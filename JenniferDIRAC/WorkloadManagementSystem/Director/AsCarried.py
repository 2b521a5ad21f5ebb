"""A plan as it was carried out: what was not started is no answer to a task queue, and has a reason of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Create, Limit, Plan, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint, EndpointKey, VMTypeKey


def as_carried(plan: Plan, carried: Carried, endpoints: Iterable[Endpoint]) -> Plan:
    """The plan with those VMs only that were started, as far as is known, and for the others the reason as a limit."""
    vm_types = {vm_type.key: vm_type for endpoint in endpoints for vm_type in endpoint.vm_types}
    intents = [start.intent for start in carried.starts if carried.refusal(start.intent.vm_id) is None]
    # What an earlier pass of the cycle started is coming in the answers of the last one.
    coming = {vm for answer in plan.answers for vm in answer.coming}
    fresh = Counter((one.vm_type, one.task_queue) for one in intents if one.vm_id not in coming)
    answers, unmet, stops = [], [], []
    for answer in plan.answers:
        jobs = {
            vm_type: max(1, vm_types[vm_type].jobs_at_once(answer.processors)) if vm_type in vm_types else 1
            for vm_type in answer.started
        }
        started = {vm_type: min(vms, fresh[vm_type, answer.task_queue]) for vm_type, vms in answer.started.items()}
        planned_jobs = sum(vms * jobs[vm_type] for vm_type, vms in answer.started.items())
        for vm_type, vms in answer.started.items():
            if not (lost := vms - started[vm_type]):
                continue
            limit, why = _reason(carried, vm_type, answer)
            lost_jobs = answer.jobs_started * lost * jobs[vm_type] / planned_jobs
            cores = max(1, round(lost_jobs)) * answer.processors
            unmet.append(Unmet(answer.task_queue, answer.vo, cores, limit, why, vm_type))
            stops.append(Stopped(vm_type, answer.vo, limit, why))
        kept_jobs = sum(vms * jobs[vm_type] for vm_type, vms in started.items())
        share = kept_jobs / planned_jobs if planned_jobs else 1.0
        started = {vm_type: vms for vm_type, vms in started.items() if vms}
        answers.append(replace(answer, started=started, jobs_started=answer.jobs_started * share))
    return replace(
        plan,
        creates=_sent(plan.creates, Counter((one.vm_type, one.task_queue) for one in intents)),
        answers=tuple(answers),
        unmet=tuple(sorted((*plan.unmet, *unmet), key=lambda one: one.task_queue)),
        # Several task queues may have lost VMs of one type; a limit that came after it tells less.
        stops=tuple(dict.fromkeys((*stops, *plan.stops))),
    )


def kept_plan(
    plan: Plan, sight: Sight, carried: Carried, now: datetime, director: str, others: Container[EndpointKey]
) -> KeptPlan:
    """The plan, as it was carried out, for whoever asks why; of ``others`` another director tells."""
    return KeptPlan(
        at=now,
        director=director,
        answers=plan.answers,
        unmet=plan.unmet,
        stops=plan.stops,
        creates=plan.creates,
        refused=sight.snapshot.refused_vos | {f"{key} {vo}": why for (key, vo), why in carried.refusals.items()},
        problem=sight.demand_problem,
        unusable={
            str(endpoint.key): endpoint.unusable
            for endpoint in sight.snapshot.endpoints
            if endpoint.unusable and endpoint.key not in others
        },
    )


def _sent(creates: Iterable[Create], started: Counter[tuple[VMTypeKey, int]]) -> tuple[Create, ...]:
    wanted: Counter[tuple[VMTypeKey, int]] = Counter()
    sent = []
    for create in creates:
        what = create.vm_type, create.task_queue
        wanted[what] += 1
        if wanted[what] <= started[what]:
            sent.append(create)
    return tuple(sent)


def _reason(carried: Carried, vm_type: VMTypeKey, answer: Answer) -> tuple[Limit, str]:
    """The cloud's word, else why nothing was sent to it."""
    for start in carried.starts:
        intent = start.intent
        if (intent.vm_type, intent.task_queue) == (vm_type, answer.task_queue):
            if (refusal := carried.refusal(intent.vm_id)) is not None:
                return Limit.NO_ROOM if refusal.no_room else Limit.ENDPOINT_UNUSABLE, str(refusal.error)
    return Limit.ENDPOINT_UNUSABLE, carried.refused(vm_type.endpoint, answer.vo) or "it was not sent"
