"""Draining: by order, for a VM's age, and because it is not what is booted today."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, ago, endpoint, key, seen, server, snapshot, vm

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

BUSY = {"state": VMState.RUNNING, "jobs": 1, "pilot": PilotState.RUNNING}
DAY = 24 * 60


def plan(*vms, policy=POLICY, **other):
    return plan_cycle(seen(*vms, **other), policy, NOW)


def drained(*vms, policy=POLICY):
    return [move.vm for move in plan(*vms, policy=policy).moves if move.target is VMState.DRAINING]


# By order


def test_a_vm_with_a_job_drains_by_order_and_goes_back_when_the_order_is_lifted():
    (move,) = plan(vm(drain="adm drains GRIF: power cut", **BUSY)).moves
    assert (move.target, move.reason) == (VMState.DRAINING, "adm drains GRIF: power cut")
    assert plan(vm(drain="adm drains GRIF: power cut", **BUSY | {"state": VMState.DRAINING})).moves == ()
    (back,) = plan(vm(**BUSY | {"state": VMState.DRAINING})).moves
    assert back.target is VMState.RUNNING


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING])
def test_a_vm_without_a_job_is_ended_by_the_order(state):
    (delete,) = plan(vm(state=state, drain="adm drains GRIF: power cut")).deletes
    assert (delete.outcome, delete.code, delete.reason) == (Outcome.KILLED, 100, "adm drains GRIF: power cut")


def test_an_intent_without_a_server_waits_until_it_is_known_whether_there_is_one():
    planned = vm(state=VMState.PLANNED, drain="x", server_id="")
    assert plan_cycle(snapshot(vms=[planned]), POLICY, NOW).deletes == ()


def test_while_dirac_does_not_answer_a_vm_may_have_a_job_and_is_only_drained():
    unsure = vm(state=VMState.RUNNING, spoke=True, drain="x", pilot=PilotState.NOT_ASKED)
    found = plan(unsure)
    assert ([move.target for move in found.moves], found.deletes) == ([VMState.DRAINING], ())
    assert plan(replace(unsure, state=VMState.BOOTING, spoke=False)).deletes == ()


def test_a_vm_whose_pilot_is_at_work_is_looked_at_once_more_after_it_began_to_drain():
    searching = {"drain": "x", "pilot": PilotState.RUNNING, "spoke": True, "jobs_known": True}
    (move,) = plan(vm(state=VMState.RUNNING, **searching)).moves
    assert move.target is VMState.DRAINING
    assert plan(vm(state=VMState.DRAINING, minutes=0, **searching)).deletes == ()
    (delete,) = plan(vm(state=VMState.DRAINING, minutes=0.5, **searching)).deletes
    assert delete.outcome is Outcome.KILLED


def test_a_booting_vm_that_has_a_job_already_drains_at_once():
    (move,) = plan(vm(drain="x", **BUSY | {"state": VMState.BOOTING})).moves
    assert move.target is VMState.DRAINING


def test_a_vm_whose_pilot_is_finished_is_left_to_switch_itself_off():
    done = vm(drain="x", **BUSY | {"pilot": PilotState.FINISHED, "pilot_finished_at": ago(5)})
    assert (plan(done).moves, plan(done).deletes) == ((), ())


# For its age


def test_an_old_vm_drains_so_long_before_its_end_as_it_may_drain():
    assert drained(vm(minutes=6 * DAY - 1, **BUSY)) == []
    assert drained(vm(minutes=6 * DAY + 1, **BUSY)) == ["vm1"]


def test_a_vm_drains_never_before_half_of_its_life():
    short = replace(POLICY, max_lifetime=timedelta(hours=10), drain_timeout=timedelta(hours=9))
    assert drained(vm(minutes=299, **BUSY), policy=short) == []
    assert drained(vm(minutes=301, **BUSY), policy=short) == ["vm1"]


def test_a_vm_that_drains_for_its_age_does_not_go_back():
    assert plan(vm(**BUSY | {"state": VMState.DRAINING, "created_at": ago(6.5 * DAY)})).moves == ()


# Because what is booted today is another


def old(name, minutes, **other):
    return vm(name, minutes=minutes, drifted="image i1, now i2", **{**BUSY, **other})


def test_of_the_vms_with_an_old_image_the_oldest_drain_first_and_one_tenth_at_a_time():
    vms = [old(f"vm{number:02}", 100 + number) for number in range(20)] + [vm(f"new{n}", **BUSY) for n in range(10)]
    assert drained(*vms) == ["vm17", "vm18", "vm19"]
    (move, *_) = plan(*vms).moves
    assert "image i1, now i2" in move.reason


def test_while_so_many_drain_no_more_are_drained_and_they_do_not_go_back():
    vms = [old(f"vm{number}", 100 + number) for number in range(10)]
    vms[0] = replace(vms[0], state=VMState.DRAINING)
    assert plan(*vms).moves == ()


def test_where_there_are_few_one_drains_at_a_time():
    assert drained(old("a", 100), old("b", 200)) == ["b"]


def test_vms_that_drain_by_order_or_for_their_age_leave_the_budget_alone():
    draining = {"state": VMState.DRAINING}
    ordered = old("a", 100, drain="x", **draining)
    aged = old("c", 100, created_at=ago(6.5 * DAY), **draining)
    assert drained(ordered, aged, old("b", 100)) == ["b"]


def test_each_endpoint_has_a_budget_of_its_own():
    here, there = old("a", 100), old("b", 100, vm_type=key(NAPOLI))
    both = snapshot(
        endpoint(GRIF, servers=(server(here),)), endpoint(NAPOLI, servers=(server(there),)), vms=[here, there]
    )
    assert [move.vm for move in plan_cycle(both, POLICY, NOW).moves] == ["a", "b"]


def test_a_vm_that_boots_or_ends_is_not_drained_for_its_image():
    booting = old("a", 5, state=VMState.BOOTING, jobs=0, pilot=PilotState.UNKNOWN)
    assert plan(booting).moves == ()
    stopped = plan(old("b", 100, pilot=PilotState.FINISHED), state=ServerState.STOPPED)
    assert (stopped.moves, [type(delete) for delete in stopped.deletes]) == ((), [Delete])


def test_where_the_list_is_not_whole_nothing_drains():
    unlisted = old("a", 100)
    assert plan_cycle(snapshot(endpoint(servers=None), vms=[unlisted]), POLICY, NOW).moves == ()
