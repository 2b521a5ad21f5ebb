"""The planner's invariants, on small worlds that reach the edges."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import each_once, is_supply, jobs_left
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import TRANSITIONS
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    CloudUse,
    Delete,
    Endpoint,
    EndpointKey,
    EndReport,
    Move,
    Outcome,
    PilotState,
    Policy,
    RecentEnd,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import LISTED_STATES, is_suspect, watches

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ENDPOINTS = (EndpointKey("CLOUD.GRIF.fr", "grif"), EndpointKey("VCYCLE.Napoli.it", "napoli"))
KEYS = tuple(VMTypeKey(where.site, where.ce, queue) for where in ENDPOINTS for queue in ("a", "b"))
VOS = ("belle", "t2k.org", "hyperk.org")
ALIVE = (ServerState.BUILDING, ServerState.ACTIVE, ServerState.UNKNOWN)
LIVE_STATES = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING)

# Worlds are roomy more often than not, so that plans do something; the tight ones reach the limits.
caps = st.sampled_from((None, None, None, None, 0, 1, 2, 3, 8))
past = st.sampled_from((0, 0.5, 3, 9, 11, 14, 16, 600, 60 * 24 * 8)).map(lambda m: NOW - timedelta(minutes=m))
policies = st.builds(
    Policy,
    max_booting=st.sampled_from((2, 6, 20)),
    max_creates_per_cycle=st.sampled_from((0, 2, 10, 10)),
    max_deletes_per_cycle=st.sampled_from((0, 1, 20, 20)),
    missed_listings=st.integers(1, 3),
)
sizes = st.sampled_from((1, 2, 4, 8))
one_core = st.just(1)


@st.composite
def vm_types(draw, key, cores):
    """One VM type, with or without limits of its own; those of one size run one job at a time and offer all cores."""
    size = draw(cores)
    vos = draw(st.sampled_from((frozenset(), frozenset(), frozenset(VOS), frozenset(VOS[:1]))))
    fills = cores is sizes and draw(st.booleans())
    slots = draw(st.sampled_from((0, 0, 1, size))) if cores is sizes else 0
    bounds = Bounds(draw(caps), draw(caps.map(_doubled)))
    return VMType(key, size, 1000 * size, vos, bounds, fills, slots=slots)


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
        jobs=draw(st.integers(0, 1)),
        said=draw(
            st.none() | st.sampled_from((EndReport(200, "ok"), EndReport(300, "idle"), EndReport(600, "broken")))
        ),
        outcome=draw(st.sampled_from(Outcome)) if ended else None,
        outcome_reason="stored" if ended else "",
        task_queue=draw(st.none() | st.integers(0, 3)),
        heartbeat_at=draw(st.none() | past),
        drain=draw(st.sampled_from(("", "", "", "adm drains it"))),
        held=draw(st.sampled_from(("", "", "", "adm holds it"))),
        drifted=draw(st.sampled_from(("", "", "image i1, now i2"))),
    )


@st.composite
def endpoints(draw, where, vms, cores):
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
        bounds=Bounds(draw(caps.map(_doubled)), draw(caps.map(_doubled).map(_doubled))),
        unusable=draw(st.sampled_from(("",) * 5 + ("banned",))),
        servers=draw(st.sampled_from((tuple(listed),) * 5 + (None,))),
        cloud=draw(st.none() | quota),
        suspect_since=draw(st.sampled_from((None,) * 4 + (NOW, NOW - timedelta(hours=1)))),
        watching_since=draw(st.none() | past),
    )


@st.composite
def queues(draw, number, processors):
    return TaskQueue(
        id=number,
        vo=draw(st.sampled_from((*VOS[:2], *VOS))),
        jobs=draw(st.integers(0, 9)),
        processors=draw(processors),
        matches=draw(st.just(frozenset(KEYS)) | st.frozensets(st.sampled_from(KEYS), min_size=1)),
    )


@st.composite
def snapshots(draw, cores=sizes, processors=sizes):
    """A world of up to four queues, six records and two endpoints with two VM types each."""
    vms = tuple(draw(machines(number)) for number in range(draw(st.integers(0, 6))))
    ends = st.builds(RecentEnd, st.sampled_from(KEYS), st.sampled_from(VOS), st.sampled_from(Outcome), past)
    return Snapshot(
        endpoints=tuple(draw(endpoints(where, vms, cores)) for where in ENDPOINTS),
        task_queues=tuple(draw(queues(number, processors)) for number in range(draw(st.integers(1, 4)))),
        vms=vms,
        recent_ends=tuple(draw(st.lists(ends, max_size=2))),
        vos=frozenset(VOS[:2]),
        refused_vos=draw(st.sampled_from(({}, {"hyperk.org": "no pilot credential"}))),
        watching_since=draw(st.none() | past),
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
        )
        for number, create in enumerate(plan.creates)
    ]
    deleted = {delete.server_id for delete in plan.deletes}
    ended = {move.vm for move in plan.moves if move.target is VMState.ENDED}
    ends = tuple(RecentEnd(vm.vm_type, vm.vo, vm.outcome, NOW) for vm in vms if vm.id in ended)
    return replace(
        snapshot,
        vms=(*made, *vms),
        recent_ends=snapshot.recent_ends + ends,
        endpoints=tuple(_after_acting(endpoint, made, deleted) for endpoint in snapshot.endpoints),
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


def _after_acting(endpoint, made, deleted):
    if endpoint.servers is None:
        return endpoint
    new = [vm for vm in made if vm.endpoint == endpoint.key]
    servers = tuple(server for server in endpoint.servers if server.id not in deleted)
    servers += tuple(ServerView(vm.server_id, vm.id, ServerState.BUILDING) for vm in new)
    cloud = endpoint.cloud and replace(
        endpoint.cloud,
        used_instances=endpoint.cloud.used_instances + len(new),
        used_cores=endpoint.cloud.used_cores + sum(vm.cores for vm in new),
        used_ram_mib=endpoint.cloud.used_ram_mib + sum(vm.ram_mib for vm in new),
    )
    return replace(endpoint, servers=servers, cloud=cloud)


def types_of(snapshot):
    return {vm_type.key: vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types}


def met(snapshot, plan):
    """Cores of each queue that get a VM, on its way or created."""
    left = {unmet.task_queue: unmet.cores for unmet in plan.unmet}
    return {queue.id: queue.jobs * queue.processors - left.get(queue.id, 0) for queue in snapshot.task_queues}


@given(snapshots(), policies)
def test_no_hard_limit_is_exceeded_counting_intents(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    listed = {server.vm for endpoint in snapshot.endpoints for server in endpoint.servers or ()}
    after = [vm for vm in executed(snapshot, plan).vms if vm.state is not VMState.ENDED or vm.id in listed]
    for endpoint in snapshot.endpoints:
        creates = [create for create in plan.creates if create.vm_type.endpoint == endpoint.key]
        here = [vm for vm in after if vm.endpoint == endpoint.key]
        if not creates:
            continue
        event("created")
        booting = [vm for vm in here if vm.state in (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING)]
        _assert_within(endpoint.bounds.max_vms, len(here))
        _assert_within(endpoint.bounds.max_cores, sum(vm.cores for vm in here))
        _assert_within(policy.max_booting, len(booting))
        _assert_within(policy.max_creates_per_cycle, len(creates))
        for vm_type in endpoint.vm_types:
            if any(create.vm_type == vm_type.key for create in creates):
                of_type = [vm for vm in here if vm.vm_type == vm_type.key]
                _assert_within(vm_type.bounds.max_vms, len(of_type))
                _assert_within(vm_type.bounds.max_cores, sum(vm.cores for vm in of_type))
        if endpoint.cloud is not None:
            listed = {server.vm for server in endpoint.servers}
            asked = [vm for vm in here if vm.state in (VMState.PLANNED, VMState.REQUESTED) and vm.id not in listed]
            cloud = endpoint.cloud
            _assert_within(cloud.max_instances, cloud.used_instances + len(asked))
            _assert_within(cloud.max_cores, cloud.used_cores + sum(vm.cores for vm in asked))
            _assert_within(cloud.max_ram_mib, cloud.used_ram_mib + sum(vm.ram_mib for vm in asked))


def _assert_within(maximum, used):
    assert maximum is None or used <= maximum


@given(snapshots(), policies)
def test_a_failed_listing_changes_nothing_at_its_endpoint(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    failed = {endpoint.key for endpoint in snapshot.endpoints if endpoint.servers is None}
    place = {vm.id: vm.endpoint for vm in snapshot.vms}
    assert not [step for step in plan.moves + plan.deletes if place[step.vm] in failed]
    assert not [create for create in plan.creates if create.vm_type.endpoint in failed]


@given(snapshots(), policies)
def test_no_server_is_believed_gone_before_enough_listings_missed_it(snapshot, policy):
    missed = {vm.id: vm.missed for vm in snapshot.vms}
    for move in plan_cycle(snapshot, policy, NOW).moves:
        if move.target is VMState.ENDED:
            event("ended")
            assert missed[move.vm] >= policy.missed_listings


@given(snapshots(), policies)
def test_an_empty_list_alone_deletes_and_ends_nothing(snapshot, policy):
    first_miss = tuple(replace(vm, missed=1) for vm in snapshot.vms)
    empty = tuple(replace(endpoint, servers=()) for endpoint in snapshot.endpoints)
    policy = replace(policy, missed_listings=max(2, policy.missed_listings))
    plan = plan_cycle(replace(snapshot, vms=first_miss, endpoints=empty), policy, NOW)
    assert (plan.moves, plan.deletes) == ((), ())


@given(snapshots(), policies, st.integers(2, 5))
def test_two_empty_listings_in_a_row_end_and_delete_nothing_where_several_vms_run(snapshot, policy, several):
    policy = replace(policy, missed_listings=2)
    running = tuple(
        VirtualMachine(f"r{n}-{where.ce}", key, "belle", 1, VMState.RUNNING, NOW, NOW, server_id=f"sr{n}-{where.ce}")
        for where in ENDPOINTS
        for n, key in enumerate([next(key for key in KEYS if key.endpoint == where)] * several)
    )
    suspect_since = dict.fromkeys(ENDPOINTS)
    for cycle in (1, 2):
        now = NOW + timedelta(seconds=30 * cycle)
        vms = tuple(replace(vm, missed=cycle) for vm in (*snapshot.vms, *running))
        for where in ENDPOINTS:
            believed = {vm.id for vm in vms if vm.endpoint == where and vm.server_id and vm.state in LISTED_STATES}
            assert is_suspect(believed, set())
            suspect_since[where] = suspect_since[where] or now
        empty = tuple(replace(e, servers=(), suspect_since=suspect_since[e.key]) for e in snapshot.endpoints)
        plan = plan_cycle(replace(snapshot, vms=vms, endpoints=empty), policy, now)
        assert (plan.creates, plan.moves, plan.deletes) == ((), (), ())


@given(snapshots(), policies)
def test_no_cycle_deletes_more_than_the_cap_at_an_endpoint(snapshot, policy):
    deletes = Counter(delete.endpoint for delete in plan_cycle(snapshot, policy, NOW).deletes)
    assert max(deletes.values(), default=0) <= policy.max_deletes_per_cycle


@given(snapshots(), policies, st.randoms(use_true_random=False))
def test_the_same_snapshot_gives_the_same_plan_in_whatever_order_it_stands(snapshot, policy, random):
    def shuffled(items):
        return tuple(random.sample(items, len(items)))

    mixed = replace(
        snapshot,
        vms=shuffled(snapshot.vms),
        task_queues=shuffled(snapshot.task_queues),
        recent_ends=shuffled(snapshot.recent_ends),
        endpoints=shuffled(
            tuple(
                replace(e, vm_types=shuffled(e.vm_types), servers=e.servers and shuffled(e.servers))
                for e in snapshot.endpoints
            )
        ),
    )
    assert plan_cycle(snapshot, policy, NOW) == plan_cycle(snapshot, policy, NOW) == plan_cycle(mixed, policy, NOW)


@settings(max_examples=300)
@given(snapshots(), policies)
def test_an_executed_plan_gives_an_empty_plan(snapshot, policy):
    """A late server that the plan clears away makes room, which is news: here there is none."""
    ended = {vm.id for vm in snapshot.vms if vm.state is VMState.ENDED}
    snapshot = replace(
        snapshot,
        endpoints=tuple(
            replace(e, servers=e.servers and tuple(server for server in e.servers if server.vm not in ended))
            for e in snapshot.endpoints
        ),
    )
    caps = {"max_creates_per_cycle": 1000, "max_deletes_per_cycle": 1000, "max_kill_percent": 100}
    policy = replace(policy, **caps, missed_listings=max(2, policy.missed_listings))
    plan = plan_cycle(snapshot, policy, NOW)
    event(f"creates {min(len(plan.creates), 3)}")
    absent = {delete.vm for delete in plan.deletes}
    world = executed(snapshot, plan)
    world = replace(world, vms=tuple(replace(vm, missed=1) if vm.id in absent else vm for vm in world.vms))
    again = plan_cycle(world, policy, NOW)
    assert (again.creates, again.moves, again.deletes) == ((), (), ())
    assert met(world, again) == met(snapshot, plan)


@given(snapshots(), policies)
def test_every_core_of_demand_is_met_or_has_a_named_limit(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    world = executed(snapshot, plan)
    made = {vm.id for vm in world.vms} - {vm.id for vm in snapshot.vms}
    watch = watches(snapshot, policy, NOW)
    supply = [vm for vm in world.vms if vm.id not in made and is_supply(vm, watch[vm.endpoint])]
    types = types_of(snapshot)
    left = jobs_left(each_once(snapshot.task_queues), supply, types)
    unmet = {item.task_queue: item for item in plan.unmet}
    assert len(unmet) == len(plan.unmet)
    for queue in each_once(snapshot.task_queues):
        taken = [types[c.vm_type].jobs_at_once(queue.processors) for c in plan.creates if c.task_queue == queue.id]
        rest = max(0, left[queue.id] - sum(taken))
        assert (unmet[queue.id].cores if queue.id in unmet else 0) == rest * queue.processors
        assert not taken or sum(taken[:-1]) < left[queue.id]
        if rest:
            event(unmet[queue.id].limit.value)
            assert unmet[queue.id].detail


@given(snapshots(), policies)
def test_a_vm_is_created_only_where_vo_size_and_match_allow_it(snapshot, policy):
    queue_of, types = {queue.id: queue for queue in snapshot.task_queues}, types_of(snapshot)
    for create in plan_cycle(snapshot, policy, NOW).creates:
        queue, vm_type = queue_of[create.task_queue], types[create.vm_type]
        assert create.vo == queue.vo and queue.vo in snapshot.vos and queue.vo not in snapshot.refused_vos
        assert not vm_type.vos or create.vo in vm_type.vos
        assert create.vm_type in queue.matches and queue.processors <= create.cores == vm_type.cores


@given(snapshots(), policies, st.data())
def test_more_jobs_in_a_queue_never_lessen_what_it_gets(snapshot, policy, data):
    more = data.draw(st.integers(0, len(snapshot.task_queues) - 1))
    grown = list(snapshot.task_queues)
    grown[more] = replace(grown[more], jobs=grown[more].jobs + data.draw(st.integers(1, 8)))
    larger = replace(snapshot, task_queues=tuple(grown))
    before = met(snapshot, plan_cycle(snapshot, policy, NOW))
    after = met(larger, plan_cycle(larger, policy, NOW))
    assert after[grown[more].id] >= before[grown[more].id]


@settings(max_examples=300)
@given(snapshots(one_core, one_core), policies, st.data())
def test_more_demand_never_yields_fewer_vms(snapshot, policy, data):
    """In whole, for VMs of one size; with several sizes a bigger VM may take the place of many small ones."""
    grown = tuple(replace(queue, jobs=queue.jobs + data.draw(st.integers(0, 3))) for queue in snapshot.task_queues)
    larger = plan_cycle(replace(snapshot, task_queues=grown), policy, NOW)
    assert len(larger.creates) >= len(plan_cycle(snapshot, policy, NOW).creates)


@given(snapshots(), policies, st.integers(1, 10**6))
def test_time_going_backwards_kills_nothing_that_is_alive(snapshot, policy, minutes):
    alive = {vm.id for vm in snapshot.vms if vm.state in LIVE_STATES and not vm.drain} & _listed(snapshot, ALIVE)
    plan = plan_cycle(snapshot, policy, NOW - timedelta(days=9, minutes=minutes))
    assert not [delete for delete in plan.deletes if delete.vm in alive]
    assert not [move for move in plan.moves if move.vm in alive and move.target is VMState.ENDED]


@given(snapshots(), policies, st.integers(0, 6 * 24 * 60))
def test_a_pause_of_the_director_kills_nothing_that_is_alive(snapshot, policy, minutes):
    pause = timedelta(minutes=minutes)
    working = {
        vm.id
        for vm in snapshot.vms
        if vm.state in LIVE_STATES and vm.pilot is not PilotState.FINISHED and NOW - vm.created_at < timedelta(days=1)
        if not vm.drain
    }
    plan = plan_cycle(replace(snapshot, watching_since=NOW + pause), policy, NOW + pause)
    deleted = {delete.vm for delete in plan.deletes} | {m.vm for m in plan.moves if m.target is VMState.ENDED}
    assert not deleted & working & _listed(snapshot, ALIVE)


def _listed(snapshot, states):
    return {server.vm for endpoint in snapshot.endpoints for server in endpoint.servers or () if server.state in states}


@given(snapshots(), policies, st.sampled_from(({"servers": None}, {"unusable": "banned"}, {"cloud": None})))
def test_a_broken_endpoint_never_changes_the_lives_at_another(snapshot, policy, trouble):
    here, other = snapshot.endpoints
    broken = replace(snapshot, endpoints=(replace(here, **trouble), other))
    lives = [vm.id for vm in snapshot.vms if vm.endpoint == other.key]

    def steps(world):
        plan = plan_cycle(world, policy, NOW)
        return [step for step in plan.moves + plan.deletes if step.vm in lives]

    assert steps(broken) == steps(snapshot)


@given(snapshots(), policies)
def test_only_servers_of_a_record_are_touched_each_once_and_in_its_endpoint(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    records = {vm.id: vm for vm in snapshot.vms}
    servers = {(e.key, server.id): server.vm for e in snapshot.endpoints for server in e.servers or ()}
    for delete in plan.deletes:
        assert servers[delete.endpoint, delete.server_id] == delete.vm
        assert records[delete.vm].endpoint == delete.endpoint
    touched = Counter(step.vm for step in plan.moves + plan.deletes)
    assert set(touched) <= set(records) and set(touched.values()) <= {1}


@given(snapshots(), policies)
def test_every_step_stands_in_the_table_and_has_a_reason(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    state = {vm.id: vm.state for vm in snapshot.vms}
    for move in plan.moves:
        assert (move.source, move.target) in TRANSITIONS and move.source is state[move.vm] and move.reason
        assert (move.outcome is not None) == (move.target is VMState.ENDED)
    for delete in plan.deletes:
        again = delete.source in (VMState.DELETING, VMState.ENDED)
        assert again or (delete.source, VMState.DELETING) in TRANSITIONS
        assert delete.source is state[delete.vm] and delete.reason
