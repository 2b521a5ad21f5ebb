"""A plan carried out in passes: for what a cloud had no room for, what else there is is planned in the same cycle."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim
from JenniferDIRAC.WorkloadManagementSystem.Director.Briefing import Briefing
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Executor import Executor
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Planner.Aftermath import aftermath
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

#: The second finds the next offering, the third one after that; what then still waits, waits for the next cycle.
MAX_PASSES = 3


def carry_out(
    executor: Executor, plan: Plan, sight: Sight, briefing: Briefing, claim: Claim | None = None
) -> tuple[Plan, Carried]:
    """Carry out ``plan``, which was made of ``sight``; the whole plan in the end, and what became of it.

    Late answers are left to the next cycle, and their endpoint with them.

    :raises StoreUnavailable: as ``Executor.carry_out``
    """
    snapshot, first, now = sight.snapshot, plan, briefing.now
    carried = last = executor.carry_out(plan, sight, briefing, claim)
    for _ in range(MAX_PASSES - 1):
        attempts = last.attempts(now)
        if not any(vm.no_room for vm in attempts):
            break
        snapshot = aftermath(snapshot, attempts, last.closed(), now)
        sent = Counter(create.vm_type.endpoint for create in plan.creates)
        again = plan_cycle(snapshot, briefing.policy, now, sent)
        # The records were judged in the first pass.
        more = replace(again, moves=(), deletes=(), collects=())
        plan = replace(
            more,
            creates=plan.creates + more.creates,
            moves=first.moves,
            deletes=first.deletes,
            collects=first.collects,
        )
        # The intents of the last pass are no other director's.
        claim = claim and replace(claim, intents=claim.intents + bool(last.starts))
        last = executor.carry_out(more, sight, briefing, claim)
        carried = carried.and_then(last)
    return plan, carried
