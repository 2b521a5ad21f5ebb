"""The director's decision of one cycle, as a pure function."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Allocation import Ledger, allocate
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import each_once, is_supply, jobs_left
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import unhealthy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import apply_levers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import after, decide_all, disbelief, watches
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Delete,
    Move,
    Plan,
    Policy,
    Snapshot,
    VMState,
)


def plan_cycle(snapshot: Snapshot, policy: Policy, now: datetime) -> Plan:
    """What to do about this snapshot; the same snapshot gives the same plan, in whatever order its parts stand.

    The records are judged first, and VMs are started for what they are going to be: carry out the moves and deletes
    before the creates. Creates stand in the order of sending, the rest is sorted by VM and by task queue.
    """
    snapshot = apply_levers(snapshot, now)
    decisions = decide_all(snapshot, policy, now)
    vms = [after(vm, decisions.get(vm.id), now) for vm in snapshot.vms]
    queues = each_once(snapshot.task_queues)
    vm_types = {vm_type.key: vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}
    watch = watches(snapshot, policy, now)
    supply = [vm for vm in vms if vm.endpoint in watch and is_supply(vm, watch[vm.endpoint])]
    endpoints = [
        replace(endpoint, unusable=endpoint.unusable or disbelief(endpoint, snapshot.vms, watch[endpoint.key]))
        for endpoint in snapshot.endpoints
    ]
    # The end of what had ended before this cycle stands in the recent ends already, and counts once.
    ended = {vm.id for vm in snapshot.vms if vm.state is VMState.ENDED}
    health = unhealthy(snapshot.recent_ends, (vm for vm in vms if vm.id not in ended))
    ledger = Ledger(endpoints, vms, {vm.id for vm in supply}, health, policy, now)
    creates, unmet = allocate(snapshot, queues, jobs_left(queues, supply, vm_types), ledger)
    ordered = [decision for _, decision in sorted(decisions.items())]
    return Plan(
        creates=creates,
        moves=tuple(decision for decision in ordered if isinstance(decision, Move)),
        deletes=tuple(decision for decision in ordered if isinstance(decision, Delete)),
        unmet=unmet,
    )
