"""Which VMs to start for the jobs that wait, and for each job that gets none the limit that stopped it.

VOs take turns, the one with the fewest cores in use first; within a VO its task queues take turns. One turn is one VM:
of the VM types that have room, the one that wastes the fewest cores, then the endpoint with the most free cores.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import STARTING
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import (
    EVERY_VO,
    NO_WORK_IN_A_ROW,
    Scope,
    backoff_left,
    scopes,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Create,
    Endpoint,
    EndpointKey,
    Limit,
    Outcome,
    Policy,
    RecentEnd,
    Snapshot,
    TaskQueue,
    Unmet,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)


@dataclass(frozen=True)
class Stop:
    """A limit that leaves no room for one more VM, in numbers."""

    limit: Limit
    detail: str


class Ledger:
    """What is in use everywhere, intents and this plan's own creates included; it answers what still has room.

    ``supply`` are the ids of the VMs that are on their way to their first job.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        vms: Iterable[VirtualMachine],
        supply: Container[str],
        unhealthy: Mapping[Scope, RecentEnd],
        policy: Policy,
        now: datetime,
    ):
        self.endpoints = {endpoint.key: endpoint for endpoint in endpoints}
        self.unhealthy, self.policy, self.now = unhealthy, policy, now
        self.vms: Counter[EndpointKey | VMTypeKey] = Counter()
        self.cores: Counter[EndpointKey | VMTypeKey] = Counter()
        self.vo_cores: Counter[str] = Counter()
        self.starting: Counter[EndpointKey] = Counter()
        self.unproven: Counter[Scope] = Counter()
        self.creates: Counter[EndpointKey] = Counter()
        # What was asked of a cloud and its own count may not hold yet.
        self.pending_vms: Counter[EndpointKey] = Counter()
        self.pending_cores: Counter[EndpointKey] = Counter()
        self.pending_ram_mib: Counter[EndpointKey] = Counter()
        listed = {server.vm for endpoint in self.endpoints.values() for server in endpoint.servers or ()}
        for vm in vms:
            if vm.state is VMState.ENDED and vm.id not in listed:
                continue
            asked = vm.state in (VMState.PLANNED, VMState.REQUESTED) and vm.id not in listed
            self._count(vm.vm_type, vm.vo, vm.cores, vm.ram_mib, vm.state in STARTING, vm.id in supply, asked)

    def _count(
        self, key: VMTypeKey, vo: str, cores: int, ram_mib: int, starting: bool, unproven: bool, asked: bool
    ) -> None:
        self.vo_cores[vo] += cores
        places: tuple[EndpointKey | VMTypeKey, ...] = (key, key.endpoint)
        for place in places:
            self.vms[place] += 1
            self.cores[place] += cores
        self.starting[key.endpoint] += starting
        for scope in scopes(key, vo):
            self.unproven[scope] += unproven
        if asked:
            self.pending_vms[key.endpoint] += 1
            self.pending_cores[key.endpoint] += cores
            self.pending_ram_mib[key.endpoint] += ram_mib

    def create(self, vm_type: VMType, vo: str) -> None:
        self._count(vm_type.key, vo, vm_type.cores, vm_type.ram_mib, starting=True, unproven=True, asked=True)
        self.creates[vm_type.key.endpoint] += 1

    def stop(self, vm_type: VMType, vo: str) -> Stop | None:
        """The first limit that leaves no room for one more VM of this type for the VO, or None."""
        return next(self._stops(self.endpoints[vm_type.key.endpoint], vm_type, vo), None)

    def _stops(self, endpoint: Endpoint, vm_type: VMType, vo: str) -> Iterator[Stop]:
        where, key, policy = endpoint.key, vm_type.key, self.policy
        if endpoint.unusable or endpoint.servers is None:
            reason = endpoint.unusable or "its list of servers failed or broke off"
            yield Stop(Limit.ENDPOINT_UNUSABLE, f"{where}: {reason}")
        if vm_type.unusable:
            yield Stop(Limit.VM_TYPE_UNUSABLE, f"{key}: {vm_type.unusable}")
        for scope in scopes(key, vo):
            yield from self._backoff(scope)
        cores, ram = vm_type.cores, vm_type.ram_mib
        yield from _full(Limit.ENDPOINT_MAX_VMS, where, endpoint.bounds.max_vms, self.vms[where], 1)
        yield from _full(Limit.ENDPOINT_MAX_CORES, where, endpoint.bounds.max_cores, self.cores[where], cores)
        yield from _full(Limit.VM_TYPE_MAX_VMS, key, vm_type.bounds.max_vms, self.vms[key], 1)
        yield from _full(Limit.VM_TYPE_MAX_CORES, key, vm_type.bounds.max_cores, self.cores[key], cores)
        if (cloud := endpoint.cloud) is not None:
            instances = cloud.used_instances + self.pending_vms[where]
            yield from _full(Limit.CLOUD_INSTANCES, where, cloud.max_instances, instances, 1)
            used = cloud.used_cores + self.pending_cores[where]
            yield from _full(Limit.CLOUD_CORES, where, cloud.max_cores, used, cores)
            used = cloud.used_ram_mib + self.pending_ram_mib[where]
            yield from _full(Limit.CLOUD_RAM, where, cloud.max_ram_mib, used, ram)
        yield from _full(Limit.MAX_BOOTING, where, policy.max_booting, self.starting[where], 1)
        yield from _full(Limit.MAX_CREATES_PER_CYCLE, where, policy.max_creates_per_cycle, self.creates[where], 1)

    def _backoff(self, scope: Scope) -> Iterator[Stop]:
        end = self.unhealthy.get(scope)
        if end is None:
            return
        key, vo = scope
        who = key if vo == EVERY_VO else f"{key} for {vo}"
        last = f"{NO_WORK_IN_A_ROW} VMs" if end.outcome is Outcome.NO_WORK else "VM"
        why = f"the last {last} ended {end.outcome.value}"
        left = math.ceil(backoff_left(end, self.policy, self.now))
        if left:
            yield Stop(Limit.BACKOFF, f"{who}: back-off for {left} s more, {why}")
        elif self.unproven[scope]:
            yield Stop(Limit.BACKOFF, f"{who}: one probe is on its way, {why}")

    def free_cores(self, endpoint: Endpoint) -> float:
        """Cores that limit and quota leave; infinite without either."""
        free = math.inf if endpoint.bounds.max_cores is None else endpoint.bounds.max_cores - self.cores[endpoint.key]
        cloud = endpoint.cloud
        if cloud is None or cloud.max_cores is None:
            return free
        return min(free, cloud.max_cores - cloud.used_cores - self.pending_cores[endpoint.key])

    def rank(self, vm_type: VMType, queue: TaskQueue, jobs: int) -> tuple[bool, int, float, VMTypeKey]:
        """What orders the VM types for that many jobs of a queue; the smallest is the best."""
        endpoint = self.endpoints[vm_type.key.endpoint]
        used = min(jobs, vm_type.jobs_at_once(queue.processors)) * queue.processors
        unusable = bool(endpoint.unusable) or endpoint.servers is None
        return unusable, vm_type.cores - used, -self.free_cores(endpoint), vm_type.key


def _full(limit: Limit, where: object, maximum: int | None, used: int, wanted: int) -> Iterator[Stop]:
    if maximum is None or used + wanted <= maximum:
        return
    room = "reached" if used >= maximum else f"has no room for {wanted} more"
    yield Stop(limit, f"{where}: {limit.value} {maximum} {room} ({used} in use)")


def allocate(
    snapshot: Snapshot, queues: Iterable[TaskQueue], left: Mapping[int, int], ledger: Ledger
) -> tuple[tuple[Create, ...], tuple[Unmet, ...]]:
    """Creates in the order of sending, and what stays unmet by task queue; ``left`` holds the jobs per queue id."""
    creates: list[Create] = []
    unmet: list[Unmet] = []
    jobs = dict(left)
    turns: dict[str, deque[TaskQueue]] = {}
    options: dict[int, list[VMType]] = {}
    for queue in queues:
        if not jobs[queue.id]:
            continue
        options[queue.id] = [vm_type for vm_type in _vm_types(snapshot) if _fits(vm_type, queue)]
        refusal = _refusal(snapshot, queue, options[queue.id])
        if refusal is not None:
            unmet.append(_unmet(queue, jobs[queue.id], refusal))
        else:
            turns.setdefault(queue.vo, deque()).append(queue)
    while turns:
        for vo in sorted(turns, key=lambda vo: (ledger.vo_cores[vo], vo)):
            queue = turns[vo].popleft()
            ranked = sorted(options[queue.id], key=lambda vm_type: ledger.rank(vm_type, queue, jobs[queue.id]))
            chosen, stops = _first_with_room(ranked, vo, ledger)
            if chosen is None:
                unmet.append(_unmet(queue, jobs[queue.id], _joined(stops), ranked[0].key))
            else:
                ledger.create(chosen, vo)
                creates.append(Create(chosen.key, vo, chosen.cores, chosen.ram_mib, queue.id))
                jobs[queue.id] -= min(jobs[queue.id], chosen.jobs_at_once(queue.processors))
                if jobs[queue.id]:
                    turns[vo].append(queue)
            if not turns[vo]:
                del turns[vo]
    return tuple(creates), tuple(sorted(unmet, key=lambda item: item.task_queue))


def _first_with_room(vm_types: list[VMType], vo: str, ledger: Ledger) -> tuple[VMType | None, list[Stop]]:
    stops = []
    for vm_type in vm_types:
        stop = ledger.stop(vm_type, vo)
        if stop is None:
            return vm_type, []
        stops.append(stop)
    return None, stops


def _vm_types(snapshot: Snapshot) -> Iterator[VMType]:
    for endpoint in snapshot.endpoints:
        yield from endpoint.vm_types


def _fits(vm_type: VMType, queue: TaskQueue) -> bool:
    # As DIRAC compares VO names: without regard to case.
    served = not vm_type.vos or queue.vo.lower() in {vo.lower() for vo in vm_type.vos}
    return served and vm_type.key in queue.matches and vm_type.jobs_at_once(queue.processors) > 0


def _refusal(snapshot: Snapshot, queue: TaskQueue, options: list[VMType]) -> Stop | None:
    """Why this queue can get nothing at any endpoint, whatever room there is."""
    if queue.vo in snapshot.refused_vos:
        return Stop(Limit.VO_NOT_SERVED, f"{queue.vo}: {snapshot.refused_vos[queue.vo]}")
    if queue.vo not in snapshot.vos:
        return Stop(Limit.VO_NOT_SERVED, f"{queue.vo}: this director does not serve the VO")
    if options:
        return None
    known = sum(1 for vm_type in _vm_types(snapshot) if vm_type.key in queue.matches)
    return Stop(
        Limit.NO_MATCHING_VM_TYPE,
        f"no VM type takes {queue.processors}-core jobs of {queue.vo} from task queue {queue.id} "
        f"(the Matcher names {known} of the VM types; none is for this VO and large enough)",
    )


def _joined(stops: list[Stop]) -> Stop:
    """The limit of the best candidate, with every other candidate's in the text."""
    return Stop(stops[0].limit, "; ".join(dict.fromkeys(stop.detail for stop in stops)))


def _unmet(queue: TaskQueue, jobs: int, stop: Stop, vm_type: VMTypeKey | None = None) -> Unmet:
    return Unmet(queue.id, queue.vo, jobs * queue.processors, stop.limit, stop.detail, vm_type)
