"""Small values for the planner's tests: one site with a 1-core and an 8-core VM type, and a 10 o'clock."""

from datetime import UTC, datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    Endpoint,
    EndpointKey,
    Lever,
    LeverKind,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
POLICY = Policy()
GRIF = EndpointKey("CLOUD.GRIF.fr", "grif")
NAPOLI = EndpointKey("VCYCLE.Napoli.it", "napoli")


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def key(endpoint: EndpointKey = GRIF, queue: str = "small") -> VMTypeKey:
    return VMTypeKey(endpoint.site, endpoint.ce, queue)


def vm_type(endpoint: EndpointKey = GRIF, queue: str = "small", cores: int = 1, **other) -> VMType:
    return VMType(key(endpoint, queue), cores=cores, ram_mib=2048 * cores, **_with_bounds(other))


def endpoint(where: EndpointKey = GRIF, *vm_types: VMType, **other) -> Endpoint:
    return Endpoint(where, vm_types=vm_types or (vm_type(where),), **_with_bounds({"servers": (), **other}))


def _with_bounds(words: dict) -> dict:
    """``max_vms`` and the like as the Bounds that they are."""
    bounds = {name: words.pop(name) for name in Bounds.__dataclass_fields__ if name in words}
    return words | ({"bounds": Bounds(**bounds)} if bounds else {})


def task_queue(id: int = 1, jobs: int = 1, vo: str = "belle", matches=None, **other) -> TaskQueue:
    return TaskQueue(id, vo, jobs, matches=frozenset(matches if matches is not None else {key()}), **other)


def vm(id: str = "vm1", state: VMState = VMState.BOOTING, minutes: float = 1, **other) -> VirtualMachine:
    """A VM that is in its state for that many minutes, and was created then too; DIRAC always knew its pilot."""
    values = {"vm_type": key(), "vo": "belle", "cores": 1, "created_at": ago(minutes), "since": ago(minutes)}
    values |= {"pilot_entered_at": datetime.min.replace(tzinfo=UTC), "jobs_known": True}
    values |= {"running_at": ago(minutes)} if state in (VMState.RUNNING, VMState.DRAINING) else {}
    return VirtualMachine(id=id, state=state, **{**values, "server_id": f"s-{id}", **other})


def server(machine: VirtualMachine, state: ServerState = ServerState.ACTIVE, **other) -> ServerView:
    return ServerView(machine.server_id or f"s-{machine.id}", machine.id, state, **other)


def snapshot(*endpoints: Endpoint, queues=(), vms=(), **other) -> Snapshot:
    known = {"vos": frozenset({"belle", "t2k.org", "hyperk.org"}), "gateway_since": ago(10**6)}
    return Snapshot(endpoints or (endpoint(),), tuple(queues), tuple(vms), **{**known, **other})


def seen(*machines: VirtualMachine, state: ServerState = ServerState.ACTIVE, queues=(), **other) -> Snapshot:
    """A snapshot in which every one of these VMs has a server in that state at GRIF."""
    servers = tuple(server(machine, state) for machine in machines)
    return snapshot(endpoint(servers=servers, **other), queues=queues, vms=machines)


def lever(kind: LeverKind = LeverKind.DRAIN, id: int = 1, **other) -> Lever:
    return Lever(**{"id": id, "kind": kind, "who": "anna", "why": "disk migration", "since": ago(5), **other})
