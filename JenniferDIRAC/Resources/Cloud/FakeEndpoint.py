"""A cloud in memory, with a menu of faults: for tests, simulations and demonstrations.

It keeps the contract of ``CloudEndpoint`` and checks requests as a real cloud does. Time comes from an injected clock,
so a server becomes ACTIVE when the clock says so and nothing here waits.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    Catalogue,
    CloudEndpoint,
    Flavor,
    Image,
    Leftover,
    Limits,
    Network,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    Server,
    ServerNotFound,
    ServerRequest,
    ServerStatus,
    Throttled,
    Unreachable,
)


class Call(StrEnum):
    """The calls of the contract, as faults name them."""

    LIST = "list_servers"
    CREATE = "create_server"
    FIND = "find_server"
    DELETE = "delete_server"
    LIMITS = "limits"
    CATALOGUE = "catalogue"
    CONSOLE = "console_log"
    LEFTOVERS = "leftovers"
    DELETE_LEFTOVER = "delete_leftover"


class Fault(Enum):
    """What can go wrong."""

    # at any call
    UNAUTHORISED = "the credential is refused"
    THROTTLE = "the cloud asks to slow down (seconds: Retry-After)"
    UNREACHABLE = "no answer"
    SLOW = "the answer takes long (seconds)"
    # at a create
    REFUSE = "the quota is full"
    REJECT = "the request is wrong"
    NO_OFFERING = "no capacity, said at once"
    NO_CAPACITY = "accepted, then the server goes to ERROR"
    AMBIGUOUS_MADE = "a 503, and the server exists all the same"
    AMBIGUOUS_NOT_MADE = "a 503, and no server"
    NEVER_ACTIVE = "the server builds for ever"
    DIES_AT_ONCE = "the server stops as soon as it is up"
    VANISH = "the server is active once, and gone one boot time later"
    # at a listing
    LOSE_LIST = "the listing breaks off"
    EMPTY_LIST = "an empty list, though servers exist"
    SHORT_LIST = "half of the list"
    # at a delete
    DELETE_IGNORED = "the delete is accepted and nothing happens"
    LEAVE_PORT = "the server goes, and its port stays"


_ANYWHERE = frozenset({Fault.UNAUTHORISED, Fault.THROTTLE, Fault.UNREACHABLE, Fault.SLOW})
#: Which faults each call can have.
MENU: Mapping[Call, frozenset[Fault]] = {
    **dict.fromkeys(Call, _ANYWHERE),
    Call.CREATE: _ANYWHERE
    | {
        Fault.REFUSE,
        Fault.REJECT,
        Fault.NO_OFFERING,
        Fault.NO_CAPACITY,
        Fault.AMBIGUOUS_MADE,
        Fault.AMBIGUOUS_NOT_MADE,
        Fault.NEVER_ACTIVE,
        Fault.DIES_AT_ONCE,
        Fault.VANISH,
    },
    Call.LIST: _ANYWHERE | {Fault.LOSE_LIST, Fault.EMPTY_LIST, Fault.SHORT_LIST},
    Call.DELETE: _ANYWHERE | {Fault.DELETE_IGNORED, Fault.LEAVE_PORT},
}


@dataclass(frozen=True)
class Injected:
    """A fault to come; ``seconds`` is the Retry-After of THROTTLE or the delay of SLOW."""

    fault: Fault
    seconds: float | None = None


class Faults:
    """Faults queued for the next calls of a kind; without one, drawn at a rate between 0 and 1 per call and fault.

    :param random: returns numbers from 0 to below 1; give a seeded one, and a history can be repeated
    """

    def __init__(
        self,
        rates: Mapping[tuple[Call, Fault], float] | None = None,
        random: Callable[[], float] | None = None,
    ):
        if rates and random is None:
            raise ValueError("Fault rates need a source of random numbers, for instance random.Random(1).random")
        for call, fault in rates or ():
            _check(call, fault)
        self._rates, self._random = dict(rates or {}), random
        self._queued: defaultdict[Call, deque[Injected | None]] = defaultdict(deque)

    def next(self, call: Call | str, fault: Fault | None, times: int = 1, seconds: float | None = None) -> None:
        """The next ``times`` calls of this kind get the fault, after those queued before; None is a call without."""
        call = Call(call)
        if fault is not None:
            _check(call, fault)
        self._queued[call].extend([None if fault is None else Injected(fault, seconds)] * times)

    def take(self, call: Call) -> Injected | None:
        """The fault of this very call, if any."""
        if self._queued[call]:
            return self._queued[call].popleft()
        for (wanted, fault), rate in self._rates.items():
            if wanted is call and self._random is not None and self._random() < rate:
                return Injected(fault)
        return None


def _check(call: Call, fault: Fault) -> None:
    if fault not in MENU[call]:
        possible = ", ".join(sorted(each.name for each in MENU[call]))
        raise ValueError(f"{call.value} cannot have the fault {fault.name}; it can have {possible}")


_NO_HOST = "No valid host was found."


@dataclass
class _Machine:
    server: Server
    active_at: datetime
    fate: Fault | None = None
    gone_at: datetime | None = None
    stopped: bool = False
    console: str = ""

    def seen(self, now: datetime) -> Server | None:
        """The server as it would be listed now."""
        if self.gone_at is not None and now >= self.gone_at:
            return None
        status = self._status(now)
        if status is not self.server.status:
            broken = status is ServerStatus.ERROR
            self.server = replace(self.server, status=status, fault=_NO_HOST if broken else "", lacks_room=broken)
        return self.server

    def _status(self, now: datetime) -> ServerStatus:
        if self.stopped:
            return ServerStatus.STOPPED
        if now < self.active_at or self.fate is Fault.NEVER_ACTIVE:
            return ServerStatus.BUILDING
        match self.fate:
            case Fault.NO_CAPACITY:
                return ServerStatus.ERROR
            case Fault.DIES_AT_ONCE:
                return ServerStatus.STOPPED
        return ServerStatus.ACTIVE


class FakeEndpoint(CloudEndpoint):
    """One project of a cloud that exists in this process only.

    ``calls`` counts the calls by ``Call``; ``requests`` keeps every create request that arrived, ``ports`` what deleted
    servers left behind.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        boot_time: timedelta | Callable[[], timedelta] = timedelta(seconds=30),
        flavors: tuple[Flavor, ...] = (Flavor("f1", "small", cores=1, ram_mib=2048, disk_gib=10),),
        images: tuple[Image, ...] = (Image("i1", "el9"),),
        networks: tuple[Network, ...] = (),
        zones: tuple[str, ...] = (),
        limits: Limits | None = None,
        faults: Faults | None = None,
    ):
        """
        :param boot_time: from the request to ACTIVE, for all servers or drawn for each
        :param limits: only its ``max_*`` are used; use is counted from the servers
        """
        self.clock, self.sleep, self.boot_time = clock, sleep, boot_time
        self.flavors, self.images, self.networks, self.zones = flavors, images, networks, zones
        self.quota = limits or Limits()
        self.faults = faults or Faults()
        self.calls: Counter[Call] = Counter()
        self.requests: list[ServerRequest] = []
        self.ports: list[Leftover] = []
        self._machines: dict[str, _Machine] = {}
        self._named: defaultdict[str, list[str]] = defaultdict(list)  # ids of machines by name, the oldest first
        self._mortal: set[str] = set()  # ids of machines that go by themselves
        self._instances = self._cores = self._ram_mib = 0  # in use
        self._made = 0

    # The contract

    def list_servers(self) -> tuple[Server, ...]:
        fault = self._enter(Call.LIST)
        servers = self._servers()
        match fault:
            case Fault.LOSE_LIST:
                raise Unreachable(f"the list of servers broke off after {len(servers) // 2} of them")
            case Fault.EMPTY_LIST:
                return ()
            case Fault.SHORT_LIST:
                return servers[: len(servers) // 2]
        return servers

    def create_server(self, request: ServerRequest) -> Server:
        fault = self._enter(Call.CREATE)
        self.requests.append(request)
        self._validate(request)
        match fault:
            case Fault.REFUSE:
                raise QuotaExceeded("the project's quota is full")
            case Fault.REJECT:
                raise Rejected(f"the cloud refuses image {request.image.name} with flavor {request.flavor.name}")
            case Fault.NO_OFFERING:
                raise NoCapacity(f"the cloud has no room for flavor {request.flavor.name} just now")
            case Fault.AMBIGUOUS_NOT_MADE:
                raise AmbiguousOutcome(f"503 to the create request of {request.identity.name}")
        self._check_quota(request.flavor)
        server = self._make(request, fault)
        if fault is Fault.AMBIGUOUS_MADE:
            raise AmbiguousOutcome(f"503 to the create request of {request.identity.name}")
        return server

    def find_server(self, name: str) -> Server | None:
        self._enter(Call.FIND)
        self._bury()
        return self._machines[self._named[name][0]].seen(self.clock()) if name in self._named else None

    def delete_server(self, server_id: str) -> None:
        fault = self._enter(Call.DELETE)
        if fault is Fault.DELETE_IGNORED or server_id not in self._machines:
            return
        self._remove(server_id)
        self.was_deleted(server_id)
        if fault is Fault.LEAVE_PORT:
            self.ports.append(Leftover("port", f"port-of-{server_id}", server_id))

    def leftovers(self, server_ids: Collection[str]) -> tuple[Leftover, ...]:
        self._enter(Call.LEFTOVERS)
        return tuple(port for port in self.ports if port.server_id in server_ids)

    def delete_leftover(self, leftover: Leftover) -> None:
        self._enter(Call.DELETE_LEFTOVER)
        self.ports = [port for port in self.ports if port != leftover]

    def limits(self) -> Limits:
        self._enter(Call.LIMITS)
        return self._use()

    def catalogue(self) -> Catalogue:
        self._enter(Call.CATALOGUE)
        return Catalogue(self.flavors, self.images, self.networks, zones=self.zones)

    def console_log(self, server_id: str, max_bytes: int = 65536) -> str:
        self._enter(Call.CONSOLE)
        tail = self._machine(server_id).console.encode()[-max_bytes:] if max_bytes > 0 else b""
        return tail.decode(errors="replace")

    # What a test or a simulation does to the cloud behind the director's back

    def stop(self, server_id: str, console: str = "") -> None:
        """The server switches itself off, its last words being ``console``."""
        machine = self._machine(server_id)
        machine.stopped = True
        machine.console += console

    def vanish(self, server_id: str) -> None:
        """The server is gone, as when somebody else deleted it."""
        self._machine(server_id)
        self._remove(server_id)

    def write_console(self, server_id: str, text: str) -> None:
        self._machine(server_id).console += text

    def add_foreign(self, name: str, cores: int = 1, metadata: Mapping[str, str] | None = None) -> Server:
        """An ACTIVE server of somebody else in the same project; it counts in the quota."""
        server = self._add(name, dict(metadata or {}), cores, ram_mib=2048, active_at=self.clock())
        return replace(server, status=ServerStatus.ACTIVE)

    # What a simulation does about it: for subclasses

    def was_made(self, request: ServerRequest, server: Server, active_at: datetime, fate: Fault | None) -> None:
        """A create made this server, also where the caller is not told."""

    def was_deleted(self, server_id: str) -> None:
        """A delete ended this server."""

    def _enter(self, call: Call) -> Fault | None:
        """Count the call and let the faults happen that any call can have; the rest is the caller's."""
        self.calls[call] += 1
        injected = self.faults.take(call)
        if injected is None:
            return None
        match injected.fault:
            case Fault.UNAUTHORISED:
                raise AuthenticationFailed("401: the cloud refuses the credential")
            case Fault.THROTTLE:
                raise Throttled("429: too many requests", injected.seconds)
            case Fault.UNREACHABLE:
                raise Unreachable("connection refused")
            case Fault.SLOW:
                self.sleep(30 if injected.seconds is None else injected.seconds)
                return None
        return injected.fault

    def _validate(self, request: ServerRequest) -> None:
        if request.image not in self.images:
            raise Rejected(f"there is no image {request.image.name} ({request.image.id})")
        if request.flavor not in self.flavors:
            raise Rejected(f"there is no flavor {request.flavor.name} ({request.flavor.id})")
        if len(request.user_data) > self.max_user_data_bytes:
            raise Rejected(
                f"user-data has {len(request.user_data)} bytes, at most {self.max_user_data_bytes} are taken"
            )

    def _check_quota(self, flavor: Flavor) -> None:
        use = self._use()
        for what, used, wanted, maximum in (
            ("instances", use.used_instances, 1, use.max_instances),
            ("cores", use.used_cores, flavor.cores, use.max_cores),
            ("MiB of RAM", use.used_ram_mib, flavor.ram_mib, use.max_ram_mib),
        ):
            if maximum is not None and used + wanted > maximum:
                raise QuotaExceeded(f"quota of {maximum} {what}: {used} in use, {wanted} more wanted")

    def _make(self, request: ServerRequest, fate: Fault | None) -> Server:
        identity, flavor = request.identity, request.flavor
        active_at = self.clock() + (self.boot_time() if callable(self.boot_time) else self.boot_time)
        server = self._add(identity.name, identity.metadata, flavor.cores, flavor.ram_mib, active_at, fate)
        self.was_made(request, server, active_at, fate)
        return server

    def _add(
        self,
        name: str,
        metadata: Mapping[str, str],
        cores: int,
        ram_mib: int,
        active_at: datetime,
        fate: Fault | None = None,
    ) -> Server:
        self._made += 1
        server = Server(
            id=f"server-{self._made:04d}",
            name=name,
            status=ServerStatus.BUILDING,
            metadata=metadata,
            cores=cores,
            ram_mib=ram_mib,
            created_at=self.clock(),
        )
        gone_at = None
        if fate is Fault.VANISH:
            gone_at = active_at + (active_at - self.clock())
            self._mortal.add(server.id)
        self._machines[server.id] = _Machine(server, active_at, fate, gone_at)
        self._named[name].append(server.id)
        self._instances, self._cores, self._ram_mib = self._instances + 1, self._cores + cores, self._ram_mib + ram_mib
        return server

    def _remove(self, server_id: str) -> None:
        gone = self._machines.pop(server_id).server
        self._mortal.discard(server_id)
        self._named[gone.name].remove(server_id)
        if not self._named[gone.name]:
            del self._named[gone.name]
        self._instances, self._cores = self._instances - 1, self._cores - gone.cores
        self._ram_mib -= gone.ram_mib

    def _bury(self) -> None:
        """Remove what has vanished by now."""
        now = self.clock()
        for server_id in [one for one in self._mortal if self._machines[one].seen(now) is None]:
            self._remove(server_id)

    def _servers(self) -> tuple[Server, ...]:
        self._bury()
        now = self.clock()
        seen = (machine.seen(now) for machine in self._machines.values())
        return tuple(server for server in seen if server is not None)

    def _machine(self, server_id: str) -> _Machine:
        machine = self._machines.get(server_id)
        if machine is None or machine.seen(self.clock()) is None:
            raise ServerNotFound(f"there is no server {server_id}")
        return machine

    def _use(self) -> Limits:
        self._bury()
        return replace(self.quota, used_instances=self._instances, used_cores=self._cores, used_ram_mib=self._ram_mib)
