"""Small worlds that reach the planner's edges, and what becomes of them when a plan is carried out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete, Move
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    CloudUse,
    Endpoint,
    EndpointKey,
    EndReport,
    Lever,
    LeverKind,
    Outcome,
    PilotState,
    RecentEnd,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    UnknownServer,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ENDPOINTS = (EndpointKey("CLOUD.GRIF.fr", "grif"), EndpointKey("VCYCLE.Napoli.it", "napoli"))
KEYS = tuple(VMTypeKey(where.site, where.ce, queue) for where in ENDPOINTS for queue in ("a", "b"))
VOS = ("belle", "t2k.org", "hyperk.org")  # the last one is another installation's
DOMAIN = "project"
OLD, NEW = "el9@1", "el9@2"  # versions of what a VM is told
ALIVE = (ServerState.BUILDING, ServerState.ACTIVE, ServerState.UNKNOWN)
LIVE_STATES = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING)

# Worlds are roomy more often than not, so that plans do something; the tight ones reach the limits.
caps = st.sampled_from((None,) * 8 + (0, 1, 2, 3, 8))
rare_caps = st.sampled_from((None,) * 9 + (1, 2, 3))
past = st.sampled_from((0, 0.5, 3, 9, 11, 14, 16, 600, 60 * 24 * 8)).map(lambda m: NOW - timedelta(minutes=m))
policies = st.builds(
    Policy,
    max_booting=st.sampled_from((2, 6, 20)),
    max_creates_per_cycle=st.sampled_from((0, 2, 10, 10, 10, 10)),
    max_deletes_per_cycle=st.sampled_from((0, 1, 20, 20)),
    missed_listings=st.integers(1, 3),
)
sizes = st.sampled_from((1, 2, 4, 8))
one_core = st.just(1)


@st.composite
def bounds(draw):
    """Hard limits, or soft ones, or most often neither."""
    if draw(st.sampled_from((False, False, True))):
        return Bounds()
    return Bounds(draw(caps), draw(caps.map(_doubled)), draw(rare_caps), draw(rare_caps.map(_doubled)))


@st.composite
def vm_types(draw, key, cores):
    """One VM type, with or without limits of its own; those of one size run one job at a time and offer all cores."""
    size = draw(cores)
    vos = draw(st.sampled_from((frozenset(), frozenset(), frozenset(VOS), frozenset(VOS[:1]))))
    fills = cores is sizes and draw(st.booleans())
    slots = draw(st.sampled_from((0, 0, 1, size))) if cores is sizes else 0
    return VMType(key, size, 1000 * size, vos, draw(bounds()), fills, slots=slots)


def _doubled(number):
    return None if number is None else 2 * number


@st.composite
def machines(draw, number):
    """One VM record in any state, consistent or not."""
    created = draw(past)
    key = draw(st.sampled_from(KEYS))
    state = draw(st.sampled_from(VMState))
    finished = draw(st.booleans())
    ended = state in (VMState.DELETING, VMState.ENDED)
    return VirtualMachine(
        id=f"vm{number}",
        vm_type=key,
        vo=draw(st.sampled_from(VOS)),
        cores=draw(st.sampled_from((1, 2, 4, 8))),
        ram_mib=1000,
        state=state,
        created_at=created,
        since=max(created, draw(past)),
        server_id="" if state is VMState.PLANNED else f"s{number}",
        missed=draw(st.integers(0, 3)),
        spoke=draw(st.booleans()),
        pilot=PilotState.FINISHED if finished else draw(st.sampled_from(PilotState)),
        pilot_finished_at=draw(st.none() | past) if finished else None,
        jobs=draw(st.sampled_from((0, 1, 1, 5, 60))),
        said=draw(
            st.none() | st.sampled_from((EndReport(200, "ok"), EndReport(300, "idle"), EndReport(600, "broken")))
        ),
        outcome=draw(st.sampled_from(Outcome)) if ended else None,
        outcome_reason="stored" if ended else "",
        task_queue=draw(st.none() | st.integers(1, 4)),
        no_room=draw(st.sampled_from((False, False, True))),
        # who is seen alive for the first time by a heartbeat that is late already makes two steps
        heartbeat_at=draw(st.none() | past) if state in (VMState.RUNNING, VMState.DRAINING) else None,
        drain=draw(st.sampled_from(("", "", "", "adm drains it"))),
        held=draw(st.sampled_from(("", "", "", "adm holds it"))),
        drifted=draw(st.sampled_from(("", "", "image i1, now i2"))),
        pilot_entered_at=draw(st.sampled_from((created, created, NOW, None))),
        jobs_known=draw(st.sampled_from((True, True, False))),
        running_at=draw(st.none() | past) if state in (VMState.RUNNING, VMState.DRAINING) else None,
        version=draw(st.sampled_from((OLD, NEW))),
    )


@st.composite
def endpoints(draw, where, vms, cores, crossing):
    """One endpoint whose list holds some of its VMs' servers and one of nobody's record."""
    listed = []
    for vm in vms:
        state = draw(st.none() | st.sampled_from(ServerState)) if vm.endpoint == where else None
        if state is not None:
            listed.append(ServerView(vm.server_id or f"s-{vm.id}", vm.id, state, "fault text"))
    listed.append(ServerView("nobody", "nobody", draw(st.sampled_from(ServerState))))
    quota = st.builds(
        CloudUse,
        max_instances=caps.map(_doubled),
        max_cores=caps.map(_doubled),
        max_ram_mib=st.sampled_from((None, None, 2500, 9000, 40000)),
        used_instances=st.integers(0, 4),
        used_cores=st.integers(0, 8),
        used_ram_mib=st.integers(0, 4000),
    )
    return Endpoint(
        key=where,
        vm_types=tuple(draw(vm_types(key, cores)) for key in KEYS if key.endpoint == where),
        bounds=Bounds(
            draw(caps.map(_doubled)), draw(caps.map(_doubled).map(_doubled)), draw(rare_caps), draw(rare_caps)
        ),
        unusable=draw(st.sampled_from(("",) * 14 + ("banned",))),
        servers=draw(st.sampled_from((tuple(listed),) * 14 + (None,))),
        cloud=draw(st.none() | quota),
        suspect_since=draw(st.sampled_from((None,) * 9 + (NOW, NOW - timedelta(hours=1)))),
        watching_since=draw(st.none() | past),
        priority=draw(st.sampled_from((0, 0, 0, 5))),
        domain=draw(st.sampled_from(("", DOMAIN))),
        max_starting_cores=draw(rare_caps.map(_doubled).map(_doubled)),
        unknown=draw(unknown_servers(where)),
        others=draw(st.dictionaries(st.sampled_from((*VOS, "T2K.org")), st.integers(0, 20), max_size=2)),
        **(draw(crossings()) if crossing else {}),
    )


@st.composite
def crossings(draw):
    """What concerns a VO at an endpoint, and so crosses the limits of its VM types."""
    weights = st.sampled_from((0, 1, 10, 30.5))
    return {
        "vo_bounds": draw(st.dictionaries(st.sampled_from(("Belle", "t2k.org")), bounds(), max_size=1)),
        "shares": draw(st.just({}) | st.dictionaries(st.sampled_from((*VOS, "T2K.org")), weights, max_size=3)),
        "lendable_since": draw(st.dictionaries(st.sampled_from([vo.lower() for vo in VOS]), past)),
        "probes": draw(st.sampled_from((0, 0, 0, 1, 3))),
    }


@st.composite
def unknown_servers(draw, where):
    number = draw(st.sampled_from((0, 0, 0, 1, 2)))
    return tuple(UnknownServer(f"u{n}-{where.ce}", f"lost{n}", VOS[0], draw(sizes), seen=1) for n in range(number))


@st.composite
def queues(draw, number, processors):
    return TaskQueue(
        id=number,
        vo=draw(st.sampled_from((*VOS[:2], *VOS))),
        jobs=draw(st.integers(0, 9)),
        processors=draw(processors),
        matches=draw(st.just(frozenset(KEYS)) | st.frozensets(st.sampled_from(KEYS), min_size=1)),
        fell_at=draw(st.none() | past),
    )


@st.composite
def levers(draw):
    kind = draw(st.sampled_from((LeverKind.PAUSE, LeverKind.DRAIN, LeverKind.DRAIN)))
    until = draw(st.none() | st.sampled_from((NOW - timedelta(hours=1), NOW + timedelta(hours=1))))
    names = {}
    if kind is LeverKind.DRAIN:
        key = draw(st.sampled_from(KEYS))
        names = draw(st.sampled_from(({"site": key.site}, {"ce": key.ce, "queue": key.queue}, {"vo": "BELLE"})))
    return Lever(draw(st.integers(1, 3)), kind, "anna", "maintenance", NOW - timedelta(hours=2), until, **names)


def untried():
    return st.dictionaries(st.tuples(st.sampled_from(KEYS), st.sampled_from(VOS[:2])), st.just(NEW), max_size=4)


@st.composite
def snapshots(draw, cores=sizes, processors=sizes, crossing=True):
    """A world of up to four queues, six records and two endpoints with two VM types each.

    ``crossing``: with limits and shares of VOs, which cross those of endpoints and VM types.
    """
    vms = tuple(draw(machines(number)) for number in range(draw(st.integers(0, 6))))
    rooms = st.sampled_from((False, False, True))
    ends = st.builds(RecentEnd, st.sampled_from(KEYS), st.sampled_from(VOS), st.sampled_from(Outcome), past, rooms)
    outcomes = st.sampled_from((Outcome.WORKED, Outcome.WORKED, Outcome.FAILED_TO_START, Outcome.NEVER_REPORTED))
    boots = st.builds(RecentEnd, st.just(KEYS[0]), st.just(VOS[0]), outcomes, past)
    return Snapshot(
        endpoints=tuple(draw(endpoints(where, vms, cores, crossing)) for where in ENDPOINTS),
        task_queues=tuple(draw(queues(number + 1, processors)) for number in range(draw(st.integers(1, 4)))),
        vms=vms,
        recent_ends=tuple(draw(st.lists(ends, max_size=2) | st.lists(boots, min_size=4, max_size=8))),
        vos=frozenset(VOS[:2]),
        refused_vos=draw(st.sampled_from(({}, {"hyperk.org": "no pilot credential"}))),
        watching_since=draw(st.none() | past),
        gateway_since=draw(st.none() | past),
        vo_bounds=draw(st.dictionaries(st.sampled_from(VOS), bounds(), max_size=1)) if crossing else {},
        domains=draw(st.just({}) | st.builds(lambda limits: {DOMAIN: limits}, bounds())),
        levers=tuple(draw(st.lists(levers(), max_size=2))) if draw(st.sampled_from((False,) * 7 + (True,))) else (),
        untried=draw(untried()) if draw(st.sampled_from((False, False, False, True))) else {},
    )


def executed(snapshot, plan):
    """The world right after the plan was carried out: accepted creates build, deleted servers are gone."""
    steps = {step.vm: step for step in plan.moves + plan.deletes}
    vms = [_stepped(vm, steps.get(vm.id)) for vm in snapshot.vms]
    made = [
        VirtualMachine(
            id=f"{number:04d}",
            vm_type=create.vm_type,
            vo=create.vo,
            cores=create.cores,
            ram_mib=create.ram_mib,
            state=VMState.REQUESTED,
            created_at=NOW,
            since=NOW,
            server_id=f"new{number}",
            task_queue=create.task_queue,
            version=snapshot.untried.get((create.vm_type, create.vo.lower()), OLD),
        )
        for number, create in enumerate(plan.creates)
    ]
    deleted = {delete.server_id for delete in plan.deletes}
    ended = {move.vm for move in plan.moves if move.target is VMState.ENDED}
    ends = tuple(RecentEnd(vm.vm_type, vm.vo, vm.outcome, NOW, vm.no_room) for vm in vms if vm.id in ended)
    return replace(
        snapshot,
        vms=(*made, *vms),
        recent_ends=snapshot.recent_ends + ends,
        endpoints=tuple(_after_acting(snapshot, endpoint, made, deleted) for endpoint in snapshot.endpoints),
    )


def _stepped(vm, step):
    match step:
        case Move():
            outcome = step.outcome or vm.outcome
            return replace(vm, state=step.target, since=NOW, server_id=step.server_id or vm.server_id, outcome=outcome)
        case Delete():
            if step.source in (VMState.DELETING, VMState.ENDED):
                return replace(vm, missed=0)
            return replace(vm, state=VMState.DELETING, since=NOW, outcome=step.outcome, missed=0)
    return vm


def _after_acting(snapshot, endpoint, made, deleted):
    if endpoint.servers is None:
        return endpoint
    new = [vm for vm in made if vm.endpoint == endpoint.key]
    servers = tuple(server for server in endpoint.servers if server.id not in deleted)
    servers += tuple(ServerView(vm.server_id, vm.id, ServerState.BUILDING) for vm in new)
    same_quota = {e.key for e in snapshot.endpoints if e.domain and e.domain == endpoint.domain} | {endpoint.key}
    counted = [vm for vm in made if vm.endpoint in same_quota]
    cloud = endpoint.cloud and replace(
        endpoint.cloud,
        used_instances=endpoint.cloud.used_instances + len(counted),
        used_cores=endpoint.cloud.used_cores + sum(vm.cores for vm in counted),
        used_ram_mib=endpoint.cloud.used_ram_mib + sum(vm.ram_mib for vm in counted),
    )
    return replace(endpoint, servers=servers, cloud=cloud)


def types_of(snapshot):
    return {vm_type.key: vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}


def met(snapshot, plan):
    """Cores of each queue that get a VM, on its way or created."""
    left = {unmet.task_queue: unmet.cores for unmet in plan.unmet}
    return {queue.id: queue.jobs * queue.processors - left.get(queue.id, 0) for queue in snapshot.task_queues}
