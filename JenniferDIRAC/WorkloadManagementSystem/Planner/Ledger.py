"""What is in use everywhere, intents and this plan's own creates included; it answers what still has room."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import words
from JenniferDIRAC.WorkloadManagementSystem.Planner.Census import Census, Count
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import (
    EVERY_VO,
    NO_WORK_IN_A_ROW,
    Scope,
    backoff_left,
    scopes,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import draining, pausing, standing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    Endpoint,
    EndpointKey,
    LeverKind,
    Outcome,
    RecentEnd,
    Snapshot,
    VirtualMachine,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.NoRoom import Pause
from JenniferDIRAC.WorkloadManagementSystem.Planner.Places import (
    DOMAIN_LIMITS,
    ENDPOINT_LIMITS,
    VM_TYPE_LIMITS,
    VO_LIMITS,
    Place,
    Stop,
    full,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Quota import Quota
from JenniferDIRAC.WorkloadManagementSystem.Planner.Shares import Shares
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting

#: So many unready VMs are no reason to stop, whatever share of an endpoint's VMs they are.
FEW_UNREADY = 3
_NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Health:
    """What the recent past says: what backs off, where there was no room, thousandths of boots that succeed, and which
    VMs try what their VM type never told a VM before."""

    unhealthy: Mapping[Scope, RecentEnd] = field(default_factory=dict)
    no_room: Mapping[VMTypeKey, Pause] = field(default_factory=dict)
    success: Mapping[VMTypeKey, int] = field(default_factory=dict)
    canaries: Mapping[Scope, VirtualMachine] = field(default_factory=dict)


class Room:
    """One endpoint's state while the plan grows.

    ``version`` grows with each change that may matter there. ``free_cores`` are those that limit and quota leave,
    infinite without either. ``brake`` is "" or why nothing is started because too many VMs do not come up.
    """

    __slots__ = (
        "endpoint",
        "place",
        "quota",
        "shares",
        "brake",
        "starting",
        "starting_cores",
        "creates",
        "version",
        "free_cores",
        "_full",
    )

    def __init__(self, endpoint: Endpoint, place: Place, quota: Quota, shares: Shares, brake: str):
        self.endpoint, self.place, self.quota, self.shares, self.brake = endpoint, place, quota, shares, brake
        self.starting = self.starting_cores = self.creates = self.version = 0
        self.free_cores = math.inf
        self._full: dict[tuple[int, int], Stop | None] = {}

    def changed(self) -> None:
        """Something was started there, or at an endpoint that shares its quota."""
        self.version += 1
        maximum = self.endpoint.bounds.max_cores
        own = math.inf if maximum is None else maximum - self.place.cores
        self.free_cores = min(own, self.quota.free_cores)
        self._full.clear()

    def full(self, cores: int, ram_mib: int, policy: Policy) -> Stop | None:
        """What stops one more VM of that size here, whatever its type and VO."""
        size = cores, ram_mib
        if size not in self._full:
            self._full[size] = self._look(cores, ram_mib, policy)
        return self._full[size]

    def _look(self, cores: int, ram_mib: int, policy: Policy) -> Stop | None:
        where, most, director = self.endpoint.key, self.endpoint.max_starting_cores, "CloudDirector"
        option = f"CEs/{where.ce}/{Limit.MAX_STARTING_CORES.value}"
        return (
            self.place.full(cores)
            or self.place.slow()
            or self.quota.full(where, cores, ram_mib)
            or full(Limit.MAX_BOOTING, where, policy.max_booting, self.starting, 1, f"{director}/MaxBooting")
            or full(Limit.MAX_STARTING_CORES, where, most, self.starting_cores, cores, option)
            or full(
                Limit.MAX_CREATES_PER_CYCLE,
                where,
                policy.max_creates_per_cycle,
                self.creates,
                1,
                f"{director}/MaxCreatesPerCycle",
            )
        )


class Offer:
    """One VM type for one VO (in lower case). ``stopped`` is the first limit that stopped it; none is ever lifted
    within a plan. ``standing`` sorts the offers, whatever the jobs: endpoints of a higher priority first, then those
    where the VO has a share, then the VM types that boot well."""

    __slots__ = ("vm_type", "vo", "room", "places", "standing", "order", "stopped", "_seen", "_ledger")

    def __init__(self, vm_type: VMType, vo: str, room: Room, places: tuple[Place, ...], order: int, ledger: Ledger):
        self.vm_type, self.vo, self.room, self.places, self.order = vm_type, vo, room, places, order
        success = ledger.success(vm_type.key)
        self.standing = (-room.endpoint.priority, not room.shares.has_share(vo), -success)
        self._ledger, self._seen = ledger, -1
        self.stopped = ledger.standstill(vm_type, vo, room)

    def stop(self) -> Stop | None:
        """The first limit that leaves no room for one more VM, or None."""
        if self.stopped is None:
            version = self.room.version + self._ledger.versions[self.vo]
            if version != self._seen:
                self._seen = version
                self.stopped = self._ledger.full(self)
        return self.stopped


class Ledger:
    """Counts per place, and what each offer's limits say."""

    def __init__(
        self,
        snapshot: Snapshot,
        taken: Census,
        health: Health,
        policy: Policy,
        now: datetime,
        sent: Mapping[EndpointKey, int],
    ):
        self.health, self.policy, self.now = health, policy, now
        self.pause = pausing(snapshot.levers, now)
        self.drains = [lever for lever in standing(snapshot.levers, now) if lever.kind is LeverKind.DRAIN]
        self._untried = snapshot.untried
        self._trying: dict[Scope, VirtualMachine | None] = dict(health.canaries)
        self._sick = {key for key, _ in health.unhealthy}
        self.versions: Counter[str] = Counter()
        self.unproven: Counter[Scope] = Counter()
        self.rooms: dict[EndpointKey, Room] = {}
        self._counts, self._sent = taken.counts, sent
        self._vo_bounds = {vo.lower(): bounds for vo, bounds in snapshot.vo_bounds.items()}
        self._domains: defaultdict[str, list[Room]] = defaultdict(list)
        self._domain_places: dict[str, Place] = {}
        self._at_endpoint: defaultdict[EndpointKey, list[Mapping[str, Count]]] = defaultdict(list)
        asked = self._count(snapshot.endpoints)
        vos = frozenset(vo.lower() for vo in snapshot.vos)
        self._open(snapshot, taken, asked, vos)
        self._vo_places = {vo: self._vo_everywhere(vo, bounds) for vo, bounds in self._vo_bounds.items()}
        self._places: dict[tuple, Place] = {}

    def _count(self, endpoints: Iterable[Endpoint]) -> dict[str | EndpointKey, tuple[int, int, int]]:
        """What was asked of each quota domain; the counts by endpoint, and what is unproven, are noted by the way."""
        domain_of = {endpoint.key: endpoint.domain or endpoint.key for endpoint in endpoints}
        asked: dict[str | EndpointKey, tuple[int, int, int]] = {}
        for key, counts in self._counts.items():
            where = key.endpoint
            self._at_endpoint[where].append(counts)
            for vo, count in counts.items():
                if count.unproven:
                    for scope in scopes(key, vo):
                        self.unproven[scope] += count.unproven
                if count.asked and where in domain_of:
                    vms, cores, ram = asked.get(domain_of[where], (0, 0, 0))
                    more = vms + count.asked, cores + count.asked_cores, ram + count.asked_ram_mib
                    asked[domain_of[where]] = more
        return asked

    def _open(
        self,
        snapshot: Snapshot,
        taken: Census,
        asked: Mapping[str | EndpointKey, tuple[int, int, int]],
        vos: Container[str],
    ) -> None:
        domains: defaultdict[str | EndpointKey, list[Endpoint]] = defaultdict(list)
        for endpoint in snapshot.endpoints:
            domains[endpoint.domain or endpoint.key].append(endpoint)
        for domain, endpoints in domains.items():
            quota = Quota((endpoint.cloud for endpoint in endpoints), asked.get(domain, (0, 0, 0)))
            for endpoint in endpoints:
                key = endpoint.key
                place = Place(key, f"CEs/{key.ce}", endpoint.bounds, ENDPOINT_LIMITS)
                use: Counter[str] = Counter()
                for counts in self._at_endpoint[key]:
                    use.update({vo: count.cores for vo, count in counts.items()})
                shares = Shares(endpoint, use, vos, self.policy.lend_after, self.now)
                room = Room(endpoint, place, quota, shares, self._brake(key, taken))
                self.rooms[key] = room
                self._domains[domain].append(room)
                for unknown in endpoint.unknown:
                    place.add(1, unknown.cores, 0)
        for key, counts in self._counts.items():
            room = self.rooms.get(key.endpoint)
            if room is None:
                continue
            for count in counts.values():
                room.place.add(count.vms, count.cores, count.starting)
                room.starting += count.starting
                room.starting_cores += count.starting_cores
        for key, room in self.rooms.items():
            room.creates = self._sent.get(key, 0)
            room.changed()
        for domain, bounds in snapshot.domains.items():
            place = Place(f"quota domain {domain}", f"CloudDirector/QuotaDomains/{domain}", bounds, DOMAIN_LIMITS)
            for room in self._domains.get(domain, ()):
                place.add(room.place.vms, room.place.cores, room.place.starting)
            self._domain_places[domain] = place

    def _brake(self, key: EndpointKey, taken: Census) -> str:
        slow, live, policy = taken.slow[key], taken.live[key], self.policy
        if slow <= FEW_UNREADY or 100 * slow <= policy.max_unready_percent * live:
            return ""
        return (
            f"{key}: {slow} of {live} VMs have not come up within {lasting(policy.slow_start)}, more than "
            f"{policy.max_unready_percent} %"
        )

    def _vo_everywhere(self, vo: str, bounds: Bounds) -> Place:
        place = Place(f"{vo} everywhere", f"Operations/{vo}/Cloud", bounds, VO_LIMITS)
        for counts in self._counts.values():
            if vo in counts:
                place.add(counts[vo].vms, counts[vo].cores, counts[vo].starting)
        for room in self.rooms.values():
            _add_unknown(place, room.endpoint, vo)
        return place

    def success(self, key: VMTypeKey) -> int:
        """Thousandths of the VM type's boots that succeed."""
        return self.health.success.get(key, JOB)

    def searching(self, endpoint: EndpointKey, vo: str) -> int:
        """VMs of the VO there that are on their way or wait for their first job."""
        return sum(counts[vo].searching for counts in self._at_endpoint[endpoint] if vo in counts)

    def offer(self, vm_type: VMType, vo: str, order: int) -> Offer:
        room = self.rooms[vm_type.key.endpoint]
        return Offer(vm_type, vo, room, tuple(self._places_of(vm_type, vo, room)), order, self)

    def _places_of(self, vm_type: VMType, vo: str, room: Room) -> Iterator[Place]:
        """The places besides the endpoint whose limits hold for it."""
        key, endpoint = vm_type.key, room.endpoint
        if vm_type.bounds != _NO_BOUNDS:
            yield self._place(key, "", vm_type.bounds)
        for name, bounds in endpoint.vo_bounds.items():
            if name.lower() == vo:
                yield self._place(endpoint.key, vo, bounds)
        if vo in self._vo_places:
            yield self._vo_places[vo]
        if endpoint.domain in self._domain_places:
            yield self._domain_places[endpoint.domain]

    def _place(self, key: EndpointKey | VMTypeKey, vo: str, bounds: Bounds) -> Place:
        place = self._places.get((key, vo))
        if place is not None:
            return place
        if isinstance(key, VMTypeKey):
            place = Place(key, f"CEs/{key.ce}/Queues/{key.queue}", bounds, VM_TYPE_LIMITS)
            counts = list(self._counts.get(key, {}).values())
        else:
            place = Place(f"{key} for {vo}", f"CEs/{key.ce}/VOLimits/{vo}", bounds, VO_LIMITS)
            counts = [counts[vo] for counts in self._at_endpoint[key] if vo in counts]
            _add_unknown(place, self.rooms[key].endpoint, vo)
        for count in counts:
            place.add(count.vms, count.cores, count.starting)
        self._places[key, vo] = place
        return place

    def create(self, offer: Offer) -> None:
        """One more VM of that offer is started."""
        vm_type, vo, room = offer.vm_type, offer.vo, offer.room
        for place in (room.place, *offer.places):
            place.add(1, vm_type.cores, 1)
        room.starting += 1
        room.starting_cores += vm_type.cores
        room.creates += 1
        room.quota.ask(vm_type.cores, vm_type.ram_mib)
        room.shares.started(vo, vm_type.cores)
        for scope in scopes(vm_type.key, vo):
            self.unproven[scope] += 1
        if (vm_type.key, vo) in self._untried:
            self._trying[vm_type.key, vo] = None
        for other in self._domains[room.endpoint.domain or room.endpoint.key]:
            other.changed()
        self.versions[vo] += vo in self._vo_places

    def standstill(self, vm_type: VMType, vo: str, room: Room) -> Stop | None:
        """What stops it whatever this plan does."""
        endpoint, key, now = room.endpoint, vm_type.key, self.now
        if self.pause is not None:
            return Stop(Limit.PAUSED, f"creation is {told(self.pause, now)}", _left(self.pause.until, now))
        lever = draining(self.drains, key, vo, now) if self.drains else None
        if lever is not None:
            return Stop(Limit.DRAINED, f"{key} for {vo}: {told(lever, now)}", _left(lever.until, now))
        if endpoint.unusable or endpoint.servers is None:
            reason = endpoint.unusable or "its list of servers failed or broke off"
            return Stop(Limit.ENDPOINT_UNUSABLE, f"{endpoint.key}: {reason}")
        if vm_type.unusable:
            return Stop(Limit.VM_TYPE_UNUSABLE, f"{key}: {vm_type.unusable}")
        for scope in scopes(key, vo) if key in self._sick else ():
            end = self.health.unhealthy.get(scope)
            left = math.ceil(backoff_left(end, self.policy, now)) if end else 0
            if left:
                text = f"{_who(scope)}: back-off for {left} s more, {_why(end)}"
                return Stop(Limit.BACKOFF, text, timedelta(seconds=left), "CloudDirector/Backoff")
        pause = self.health.no_room.get(key)
        if pause is not None:
            times = "" if pause.rounds == 1 else f" {pause.rounds} times in a row"
            text = f"{key}: the cloud had no room{times}, tried again in {math.ceil(pause.left.total_seconds())} s"
            return Stop(Limit.NO_ROOM, text, pause.left, "CloudDirector/NoRoomPause")
        return Stop(Limit.UNREADY, room.brake, option="CloudDirector/MaxUnreadyPercent") if room.brake else None

    def full(self, offer: Offer) -> Stop | None:
        """What stops one more VM now."""
        vm_type, room = offer.vm_type, offer.room
        key, cores = vm_type.key, vm_type.cores
        if (tried := (key, offer.vo)) in self._trying:
            return Stop(Limit.CANARY, f"{_who(tried)}: {words(self._untried[tried], self._trying[tried])}")
        for scope in scopes(key, offer.vo) if key in self._sick else ():
            end = self.health.unhealthy.get(scope)
            if end is not None and self.unproven[scope]:
                return Stop(Limit.BACKOFF, f"{_who(scope)}: one probe is on its way, {_why(end)}")
        if (stop := room.full(cores, vm_type.ram_mib, self.policy)) is not None:
            return stop
        for place in offer.places:
            if (stop := place.full(cores) or place.slow()) is not None:
                return stop
        return room.shares.stop(offer.vo)


def _add_unknown(place: Place, endpoint: Endpoint, vo: str) -> None:
    """Those of the VO's servers there that no record knows; of what VM type they are nobody knows."""
    for unknown in endpoint.unknown:
        if unknown.vo.lower() == vo:
            place.add(1, unknown.cores, 0)


def _who(scope: Scope) -> str:
    key, vo = scope
    return str(key) if vo == EVERY_VO else f"{key} for {vo}"


def _why(end: RecentEnd) -> str:
    last = f"{NO_WORK_IN_A_ROW} VMs" if end.outcome is Outcome.NO_WORK else "VM"
    return f"the last {last} ended {end.outcome.value}"


def _left(until: datetime | None, now: datetime) -> timedelta | None:
    return None if until is None else until - now
