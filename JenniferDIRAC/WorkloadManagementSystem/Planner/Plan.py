"""The director's decision of one cycle, as a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from JenniferDIRAC.WorkloadManagementSystem.Planner.Allocation import allocate
from JenniferDIRAC.WorkloadManagementSystem.Planner.BootSuccess import boot_success
from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import canaries
from JenniferDIRAC.WorkloadManagementSystem.Planner.Census import census
from JenniferDIRAC.WorkloadManagementSystem.Planner.Collection import collect
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Delete, Move, Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, Group, assign, each_once, grouped
from JenniferDIRAC.WorkloadManagementSystem.Planner.Fleet import fleets
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import ends_of, unhealthy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ledger import Health, Ledger
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import apply_levers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import after, decide_all
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Snapshot, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.NoRoom import pauses
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Probes import probes
from JenniferDIRAC.WorkloadManagementSystem.Planner.Turnover import turn_over
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import disbelief, watches


def plan_cycle(
    snapshot: Snapshot, policy: Policy, now: datetime, sent: Mapping[EndpointKey, int] = MappingProxyType({})
) -> Plan:
    """What to do about this snapshot; the same snapshot gives the same plan, in whatever order its parts stand.

    The records are judged first, and VMs are started for what they are going to be: carry out the moves and deletes
    before the creates. Creates stand in the order of sending, the rest is sorted by VM and by task queue. ``sent`` are
    the creates that each endpoint got in this cycle already.
    """
    snapshot = apply_levers(snapshot, now)
    watch = watches(snapshot, policy, now)
    vms = fleets(snapshot, watch)
    decisions = decide_all(snapshot, vms, watch, policy)
    for fleet in vms.values():
        fleet.others = [after(vm, decisions.get(vm.id), now) for vm in fleet.others]
    taken = census(vms, {endpoint.key: endpoint for endpoint in snapshot.endpoints}, watch)
    # The end of what had ended before this cycle stands in the recent ends already, and counts once.
    new_ends = (vm for vm in taken.ending if vm.state is VMState.DELETING or isinstance(decisions.get(vm.id), Move))
    ends = ends_of(snapshot.recent_ends, new_ends)
    health = Health(
        unhealthy(ends, vms),
        pauses(ends, vms, policy, now),
        boot_success(ends, vms, policy.health_window),
        canaries(snapshot.untried, vms),
    )
    believed = replace(
        snapshot,
        endpoints=tuple(
            replace(endpoint, unusable=endpoint.unusable or disbelief(endpoint, snapshot.vms, watch[endpoint.key]))
            if endpoint.suspect_since
            else endpoint
            for endpoint in snapshot.endpoints
        ),
    )
    ledger = Ledger(believed, taken, health, policy, now, sent)
    wanted = grouped(each_once(snapshot.task_queues))
    vm_types = {vm_type.key: vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}
    assign(wanted, taken.supply, vm_types, health.success)
    turn_over(wanted, vms, vm_types, policy, now)
    allocation = allocate(believed, (*wanted, *probes(snapshot, wanted, ledger)), ledger)
    ordered = [decision for _, decision in sorted(decisions.items())]
    return Plan(
        creates=allocation.creates,
        moves=tuple(decision for decision in ordered if isinstance(decision, Move)),
        deletes=tuple(decision for decision in ordered if isinstance(decision, Delete)),
        unmet=allocation.unmet,
        collects=collect(snapshot, policy, now),
        answers=_answers(wanted),
        stops=allocation.stops,
    )


def _answers(groups: Iterable[Group]) -> tuple[Answer, ...]:
    answers = [
        Answer(
            task_queue=need.queue.id,
            vo=need.queue.vo,
            jobs=need.queue.jobs,
            processors=need.queue.processors,
            coming=tuple(need.coming),
            jobs_coming=need.taken / JOB,
            started=need.started,
            jobs_started=(need.queue.jobs * JOB - need.taken - need.turned_over - need.left) / JOB,
            jobs_from_running=need.turned_over / JOB,
        )
        for group in groups
        for need in group.needs
    ]
    return tuple(sorted(answers, key=lambda answer: answer.task_queue))
