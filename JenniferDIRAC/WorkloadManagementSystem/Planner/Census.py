"""What is in use where: one look at each VM record, for all that the planner asks of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import STARTING, is_supply
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import Watch
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    PilotState,
    VirtualMachine,
    VMState,
    VMTypeKey,
)


class Count:
    """VMs of one VM type and VO. ``unproven`` are on their way to their first job, ``searching`` so too or without one
    yet, ``asked`` those that the cloud's own count may not hold yet."""

    __slots__ = (
        "vms",
        "cores",
        "starting",
        "starting_cores",
        "unproven",
        "searching",
        "asked",
        "asked_cores",
        "asked_ram_mib",
    )

    def __init__(self) -> None:
        self.vms = self.cores = self.starting = self.starting_cores = self.unproven = self.searching = 0
        self.asked = self.asked_cores = self.asked_ram_mib = 0


@dataclass(slots=True)
class Census:
    """The counts by VM type and VO (in lower case), the VMs that are supply, and per endpoint how many of its live VMs
    are slow to start."""

    counts: dict[VMTypeKey, dict[str, Count]] = field(default_factory=dict)
    supply: list[VirtualMachine] = field(default_factory=list)
    live: Counter[EndpointKey] = field(default_factory=Counter)
    slow: Counter[EndpointKey] = field(default_factory=Counter)


def by_type(vms: Iterable[VirtualMachine]) -> dict[VMTypeKey, list[VirtualMachine]]:
    groups: defaultdict[VMTypeKey, list[VirtualMachine]] = defaultdict(list)
    for vm in vms:
        groups[vm.vm_type].append(vm)
    return groups


def census(
    groups: Mapping[VMTypeKey, Iterable[VirtualMachine]],
    endpoints: Mapping[EndpointKey, Endpoint],
    watches: Mapping[EndpointKey, Watch],
) -> Census:
    """Counts the VMs, which stand by VM type. One that has ended counts as long as its server is listed."""
    taken = Census()
    listed: dict[EndpointKey, frozenset[str]] = {}
    running = VMState.RUNNING
    for key, group in groups.items():
        where = key.endpoint
        counts: defaultdict[str, Count] = defaultdict(Count)
        others = []
        for vm in group:
            if vm.state is running and vm.jobs > 0:  # most VMs, most of the time
                count = counts[vm.vo]
                count.vms += 1
                count.cores += vm.cores
            else:
                others.append(vm)
        taken.live[where] += sum(count.vms for count in counts.values())
        if others:
            if where not in listed:
                endpoint = endpoints.get(where)
                listed[where] = frozenset(server.vm for server in (endpoint and endpoint.servers) or ())
            for vm in others:
                _count_one(vm, counts, listed[where], watches.get(where), taken)
        taken.counts[key] = _in_lower_case(counts)
    return taken


def _count_one(
    vm: VirtualMachine, counts: Mapping[str, Count], listed: frozenset[str], watch: Watch | None, taken: Census
) -> None:
    state = vm.state
    if state is VMState.ENDED and vm.id not in listed:
        return
    count = counts[vm.vo]
    count.vms += 1
    count.cores += vm.cores
    if state in (VMState.DELETING, VMState.ENDED):
        return
    taken.live[vm.endpoint] += 1
    if state in STARTING:
        count.starting += 1
        count.starting_cores += vm.cores
        if watch is not None and watch.longer(vm.created_at, watch.policy.slow_start):
            taken.slow[vm.endpoint] += 1
    if state in (VMState.PLANNED, VMState.REQUESTED) and vm.id not in listed:
        count.asked += 1
        count.asked_cores += vm.cores
        count.asked_ram_mib += vm.ram_mib
    if watch is not None and is_supply(vm, watch):
        count.unproven += 1
        taken.supply.append(vm)
    ended_itself = vm.said is not None or vm.pilot is PilotState.FINISHED
    if state in STARTING or (state is VMState.RUNNING and vm.jobs == 0 and not ended_itself):
        count.searching += 1


def _in_lower_case(counts: dict[str, Count]) -> dict[str, Count]:
    if all(vo == vo.lower() for vo in counts):
        return counts
    folded: dict[str, Count] = {}
    for vo, count in counts.items():
        whole = folded.setdefault(vo.lower(), Count())
        for name in Count.__slots__:
            setattr(whole, name, getattr(whole, name) + getattr(count, name))
    return folded
