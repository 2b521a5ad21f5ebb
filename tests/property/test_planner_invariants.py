"""The planner's invariants, on small worlds that reach the edges."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st
from planner_worlds import (
    ALIVE,
    ENDPOINTS,
    KEYS,
    LIVE_STATES,
    NOW,
    executed,
    met,
    policies,
    snapshots,
)

from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import TRANSITIONS
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, VirtualMachine, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import LISTED_STATES, is_suspect

troubles = st.sampled_from(({"servers": None}, {"unusable": "banned"}, {"cloud": None}))


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


@given(snapshots(), policies, st.integers(1, 10**6))
def test_time_going_backwards_kills_nothing_that_is_alive(snapshot, policy, minutes):
    snapshot = replace(snapshot, levers=())  # an operator's drain ends what has no job, whatever the time
    alive = {vm.id for vm in snapshot.vms if vm.state in LIVE_STATES and not vm.drain} & _listed(snapshot, ALIVE)
    plan = plan_cycle(snapshot, policy, NOW - timedelta(days=9, minutes=minutes))
    assert not [delete for delete in plan.deletes if delete.vm in alive]
    assert not [move for move in plan.moves if move.vm in alive and move.target is VMState.ENDED]


@given(snapshots(), policies, st.integers(0, 6 * 24 * 60))
def test_a_pause_of_the_director_kills_nothing_that_is_alive(snapshot, policy, minutes):
    snapshot = replace(snapshot, levers=())
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


@given(snapshots(), policies, troubles)
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


@given(snapshots(crossing=False), policies, troubles)
def test_a_broken_endpoint_never_changes_what_another_gets_for_jobs_that_only_it_can_run(snapshot, policy, trouble):
    here, other = (replace(endpoint, domain="") for endpoint in snapshot.endpoints)
    queues = tuple(
        replace(queue, vo="belle", matches=frozenset(key for key in KEYS if key.endpoint == ENDPOINTS[queue.id % 2]))
        for queue in snapshot.task_queues
    )
    whole = replace(snapshot, endpoints=(here, other), task_queues=queues)
    broken = replace(whole, endpoints=(replace(here, **trouble), other))

    def creates(world):
        plan = plan_cycle(world, policy, NOW)
        return [create for create in plan.creates if create.vm_type.endpoint == other.key]

    event(f"creates {min(2, len(creates(whole)))}")
    assert creates(broken) == creates(whole)
