"""The life cycle's invariants, on small worlds: what is held, what the brake spares, what is collected, what drains."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import event, given
from hypothesis import strategies as st
from planner_worlds import ENDPOINTS, NOW, past, policies, snapshots

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    PilotState,
    ServerState,
    ServerView,
    Snapshot,
    UnknownServer,
    VirtualMachine,
    VMState,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

WORKING = (VMState.RUNNING, VMState.DRAINING)
HERE = ENDPOINTS[0]


@given(snapshots(), policies)
def test_a_held_vm_is_neither_deleted_nor_drained(snapshot, policy):
    held = {vm.id for vm in snapshot.vms if vm.held and vm.state is not VMState.DELETING}
    plan = plan_cycle(snapshot, policy, NOW)
    event(f"held {min(len(held), 2)}")
    assert not held & {delete.vm for delete in plan.deletes}
    assert not held & {move.vm for move in plan.moves if move.target is VMState.DRAINING}


@st.composite
def crowds(draw):
    """An endpoint with many VMs that work and of which only the clock has anything to say."""
    key = VMTypeKey(HERE.site, HERE.ce, "a")
    number = draw(st.integers(1, 40))
    return tuple(
        VirtualMachine(
            id=f"vm{n:02}",
            vm_type=key,
            vo="belle",
            cores=1,
            state=draw(st.sampled_from(WORKING)),
            created_at=(created := draw(past)),
            since=created,
            server_id=f"s{n}",
            spoke=True,
            pilot_entered_at=created,
            jobs_known=True,
            pilot=draw(st.sampled_from((PilotState.RUNNING, PilotState.WAITING, PilotState.NOT_ASKED))),
            jobs=draw(st.integers(0, 1)),
            heartbeat_at=draw(st.none() | past),
            drifted=draw(st.sampled_from(("", "image i1, now i2"))),
        )
        for n in range(number)
    )


def world(vms, **of_endpoint):
    """An endpoint where each of these VMs has a server that runs."""
    servers = tuple(ServerView(vm.server_id, vm.id, ServerState.ACTIVE) for vm in vms)
    long_ago = NOW - timedelta(days=400)
    return Snapshot(endpoints=(Endpoint(HERE, servers=servers, **of_endpoint),), vms=vms, gateway_since=long_ago)


@given(crowds(), policies, st.integers(0, 100))
def test_the_clock_ends_no_more_vms_that_show_life_than_the_brake_allows(vms, policy, percent):
    policy = replace(policy, max_kill_percent=percent)
    deletes = plan_cycle(world(vms), policy, NOW).deletes
    event(f"ended {min(len(deletes), 3)}")
    assert len(deletes) <= max(1, len(vms) * percent // 100)


@given(crowds(), policies, st.integers(0, 100))
def test_no_more_vms_drain_for_their_image_than_the_budget_allows(vms, policy, percent):
    policy = replace(policy, drift_percent=percent)
    fresh = tuple(replace(vm, state=VMState.RUNNING, created_at=NOW, since=NOW, heartbeat_at=None) for vm in vms)
    moves = plan_cycle(world(fresh), policy, NOW).moves
    event(f"drained {min(len(moves), 3)}")
    assert len(moves) <= max(1, len(vms) * percent // 100)
    assert bool(moves) == any(vm.drifted for vm in fresh)


@given(crowds(), policies)
def test_what_is_drained_by_order_comes_back_when_the_order_is_lifted(vms, policy):
    at_work = {"state": VMState.RUNNING, "jobs": 1, "drifted": "", "heartbeat_at": None}
    vms = tuple(replace(vm, created_at=NOW, since=NOW, **at_work) for vm in vms)
    ordered = plan_cycle(world(tuple(replace(vm, drain="adm drains it") for vm in vms)), policy, NOW)
    assert {move.vm for move in ordered.moves if move.target is VMState.DRAINING} == {vm.id for vm in vms}
    lifted = plan_cycle(world(tuple(replace(vm, state=VMState.DRAINING) for vm in vms)), policy, NOW)
    assert {move.vm for move in lifted.moves if move.target is VMState.RUNNING} == {vm.id for vm in vms}
    assert lifted.deletes == ordered.deletes == ()


@st.composite
def strays(draw):
    return tuple(
        UnknownServer(
            id=f"s{number}",
            vm=f"vm{number}",
            vo="belle",
            cores=1,
            seen=draw(st.integers(1, 4)),
            created_at=draw(st.none() | past),
            pilot=draw(st.sampled_from(PilotState)),
        )
        for number in range(draw(st.integers(0, 6)))
    )


@given(strays(), policies, st.none() | past, st.sampled_from((None, None, NOW)), st.integers(1, 4))
def test_what_is_collected_was_seen_twice_and_is_old_and_not_at_work(unknown, policy, since, suspect, cap):
    policy = replace(policy, max_collects_per_cycle=cap)
    where = Endpoint(HERE, servers=(), unknown=unknown, suspect_since=suspect, watching_since=since)
    collects = plan_cycle(Snapshot(endpoints=(where,)), policy, NOW).collects
    event(f"collected {min(len(collects), 3)}")
    assert len(collects) <= cap and not (collects and suspect)
    known = {server.id: server for server in unknown}
    for each in collects:
        server = known[each.server_id]
        began = server.created_at or since
        assert server.seen >= max(2, policy.missed_listings) and NOW - began >= policy.gc_min_age
        at_work = server.pilot in (PilotState.RUNNING, PilotState.NOT_ASKED)
        assert not at_work or NOW - server.created_at > policy.max_lifetime


@given(strays(), policies, st.integers(1, 60 * 24))
def test_a_clock_set_back_collects_nothing(unknown, policy, minutes):
    back = NOW - timedelta(days=9, minutes=minutes)
    where = Endpoint(HERE, servers=(), unknown=unknown, watching_since=NOW)
    assert plan_cycle(Snapshot(endpoints=(where,)), policy, back).collects == ()
