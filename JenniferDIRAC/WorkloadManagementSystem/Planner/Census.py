"""What is in use where: one look at each VM record, for all that the planner asks of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import is_supply
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import is_done
from JenniferDIRAC.WorkloadManagementSystem.Planner.Fleet import Fleet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    VirtualMachine,
    VMState,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch


@dataclass(slots=True)
class Count:
    """VMs of one VM type and VO.

    ``unproven`` are on their way to their first job, ``searching`` so too or without one yet, ``asked`` those that the
    cloud's own count may not hold yet.
    """

    vms: int = 0
    cores: int = 0
    starting: int = 0
    starting_cores: int = 0
    unproven: int = 0
    searching: int = 0
    asked: int = 0
    asked_cores: int = 0
    asked_ram_mib: int = 0


@dataclass(slots=True)
class Census:
    """The counts by VM type and VO (in lower case), and per endpoint how many of its live VMs are slow to start.

    ``supply`` are the VMs on their way to their first job, ``ending`` those whose end is decided or over.
    """

    counts: dict[VMTypeKey, dict[str, Count]] = field(default_factory=dict)
    supply: list[VirtualMachine] = field(default_factory=list)
    ending: list[VirtualMachine] = field(default_factory=list)
    live: Counter[EndpointKey] = field(default_factory=Counter)
    slow: Counter[EndpointKey] = field(default_factory=Counter)


def census(
    fleets: Mapping[VMTypeKey, Fleet],
    endpoints: Mapping[EndpointKey, Endpoint],
    watches: Mapping[EndpointKey, Watch],
) -> Census:
    """Counts the VMs. One that has ended counts as long as its server is listed."""
    taken = Census()
    listed: dict[EndpointKey, frozenset[str]] = {}
    for key, fleet in fleets.items():
        where = key.endpoint
        counts: defaultdict[str, Count] = defaultdict(Count)
        # Most VMs, most of the time: nothing but their size matters.
        for (vo, cores), number in Counter([(vm.vo, vm.cores) for vm in fleet.at_work]).items():
            count = counts[vo.lower()]
            count.vms += number
            count.cores += number * cores
        taken.live[where] += len(fleet.at_work)
        if fleet.others and where not in listed:
            endpoint = endpoints.get(where)
            listed[where] = frozenset([server.vm for server in (endpoint and endpoint.servers) or ()])
        for vm in fleet.others:
            _count(vm, counts[vm.vo.lower()], listed[where], watches.get(where), taken)
        taken.counts[key] = counts
    return taken


def _count(vm: VirtualMachine, count: Count, listed: frozenset[str], watch: Watch | None, taken: Census) -> None:
    state, cores = vm.state, vm.cores
    if state is VMState.DELETING or state is VMState.ENDED:
        taken.ending.append(vm)
        if state is VMState.DELETING or vm.id in listed:
            count.vms += 1
            count.cores += cores
        return
    count.vms += 1
    count.cores += cores
    taken.live[vm.endpoint] += 1
    requested = state is VMState.PLANNED or state is VMState.REQUESTED
    starting = requested or state is VMState.BOOTING
    if starting:
        count.starting += 1
        count.starting_cores += cores
        if watch is not None and watch.longer(vm.created_at, watch.policy.slow_start):
            taken.slow[vm.endpoint] += 1
    if requested and vm.id not in listed:
        count.asked += 1
        count.asked_cores += cores
        count.asked_ram_mib += vm.ram_mib
    if watch is not None and is_supply(vm, watch):
        count.unproven += 1
        taken.supply.append(vm)
    elif state is VMState.RUNNING and vm.jobs == 0 and is_done(vm):
        # It said its end and its server is still up: what it proved, and since when, is known when it is gone.
        count.unproven += 1
    count.searching += starting or (state is VMState.RUNNING and vm.jobs == 0 and not is_done(vm))
