"""How many VMs may be ended in one cycle: what one wrong clock, or one wrong cycle, can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from itertools import chain

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete, Move
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import OVER, WORKING
from JenniferDIRAC.WorkloadManagementSystem.Planner.Fleet import Fleet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, PilotState, VirtualMachine
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy


def shows_life(vm: VirtualMachine) -> bool:
    return vm.state in WORKING or (vm.state not in OVER and vm.pilot is PilotState.RUNNING)


def braked(
    decisions: Mapping[str, Move | Delete], by_clock: Set[str], fleets: Iterable[Fleet], policy: Policy
) -> dict[str, Move | Delete]:
    """Every step but some deletes of an endpoint; new deletes go first, then the oldest VM.

    Of its VMs that show life ``max_kill_percent`` (at least one) are ended by the clock (``by_clock``, by id); of all
    deletes there are ``max_deletes_per_cycle``. Were the repeated ones first, a few servers that the cloud cannot
    delete would keep all others alive.
    """
    fleets = tuple(fleets)
    kept = dict(decisions)
    alive = Counter(vm.endpoint for vm in chain(*fleets) if shows_life(vm)) if by_clock else Counter()
    killed: Counter[EndpointKey] = Counter()
    deleted: Counter[EndpointKey] = Counter()
    doomed = [vm for fleet in fleets for vm in fleet.others if isinstance(decisions.get(vm.id), Delete)]
    for vm in sorted(doomed, key=lambda vm: (vm.state in OVER, vm.created_at, vm.id)):
        where = vm.endpoint
        kill = vm.id in by_clock and shows_life(vm)
        too_many = kill and killed[where] >= max(1, alive[where] * policy.max_kill_percent // 100)
        if too_many or deleted[where] >= policy.max_deletes_per_cycle:
            del kept[vm.id]
        else:
            killed[where] += kill
            deleted[where] += 1
    return kept
