"""The director's decision of one cycle, as a pure function."""

from __future__ import annotations

from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Allocation import Ledger, allocate
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import each_once, jobs_left
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import unhealthy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import after, decide_all
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Delete, Move, Plan, Policy, Snapshot


def plan_cycle(snapshot: Snapshot, policy: Policy, now: datetime) -> Plan:
    """What to do about this snapshot; the same snapshot gives the same plan, in whatever order its parts stand.

    The records are judged first, and VMs are started for what they are going to be: carry out the moves and deletes
    before the creates. Creates stand in the order of sending, the rest is sorted by VM and by task queue.
    """
    decisions = decide_all(snapshot, policy, now)
    vms = [after(vm, decisions.get(vm.id), now) for vm in snapshot.vms]
    queues = each_once(snapshot.task_queues)
    vm_types = {vm_type.key: vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}
    ledger = Ledger(snapshot.endpoints, vms, unhealthy(snapshot.recent_ends, vms), policy, now)
    creates, unmet = allocate(snapshot, queues, jobs_left(queues, vms, vm_types), ledger)
    ordered = [decision for _, decision in sorted(decisions.items())]
    return Plan(
        creates=creates,
        moves=tuple(decision for decision in ordered if isinstance(decision, Move)),
        deletes=tuple(decision for decision in ordered if isinstance(decision, Delete)),
        unmet=unmet,
    )
