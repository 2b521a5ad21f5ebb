"""Vacuum mode: VMs that look for work nobody knows of."""

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, ago, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, RecentEnd, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

VOS = frozenset({"belle", "t2k.org"})
SMALL = vm_type()


def plan(*vms, queues=(), offers=(SMALL,), vos=VOS, ends=(), **other):
    servers = tuple(server(each, ServerState.ACTIVE) for each in vms)
    world = endpoint(GRIF, *offers, servers=servers, **{"probes": 2, **other})
    return plan_cycle(snapshot(world, queues=queues, vms=vms, vos=vos, recent_ends=ends), POLICY, NOW)


def vos_of(result):
    return sorted(create.vo for create in result.creates)


def test_each_vo_that_is_served_there_keeps_some_vms_looking_for_work():
    result = plan()
    assert vos_of(result) == ["belle"] * 2 + ["t2k.org"] * 2
    assert {create.task_queue for create in result.creates} == {0}
    assert (result.unmet, result.answers) == ((), ())


def test_no_site_gets_them_that_does_not_want_them():
    assert plan(probes=0).creates == ()


def test_a_vo_that_no_vm_type_there_is_for_gets_none():
    assert vos_of(plan(offers=(vm_type(vos=frozenset({"Belle"})),))) == ["belle"] * 2


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.BOOTING, VMState.RUNNING])
def test_vms_on_their_way_or_without_a_job_yet_count(state):
    assert vos_of(plan(vm("a", state, 1), vos=frozenset({"belle"}))) == ["belle"]


def test_one_that_got_a_job_is_followed_by_another():
    busy = vm("a", VMState.RUNNING, 1, jobs=1)
    assert vos_of(plan(busy, vm("b"), vos=frozenset({"belle"}))) == ["belle"]


def test_where_jobs_of_the_vo_wait_the_ordinary_rules_hold():
    assert vos_of(plan(queues=[task_queue()], vos=frozenset({"belle"}))) == ["belle"]
    elsewhere = task_queue(matches={key(NAPOLI)})
    assert vos_of(plan(queues=[elsewhere], vos=frozenset({"belle"}))) == ["belle"] * 2


def test_the_smallest_vm_is_enough_to_look_for_work():
    offers = vm_type(queue="big", cores=8, fills_cores=True), vm_type()
    assert {create.vm_type for create in plan(offers=offers).creates} == {key()}


def test_they_share_the_room_by_shares_with_vos_that_have_jobs():
    result = plan(queues=[task_queue(jobs=9)], max_vms=3)
    assert vos_of(result) == ["belle"] * 2 + ["t2k.org"]


def test_after_probes_that_found_nothing_one_at_a_time_is_tried():
    nothing = [RecentEnd(key(), "belle", Outcome.NO_WORK, ago(minutes)) for minutes in (9, 8, 7)]
    result = plan(vos=frozenset({"belle"}), ends=tuple(nothing))
    assert vos_of(result) == ["belle"]
    assert {stop.limit for stop in result.stops} == {Limit.BACKOFF}
    soon = [RecentEnd(key(), "belle", Outcome.NO_WORK, ago(minutes)) for minutes in (3, 2, 1)]
    assert plan(vos=frozenset({"belle"}), ends=tuple(soon)).creates == ()
