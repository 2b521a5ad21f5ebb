"""Time-outs of a VM that runs, and what an operator holds back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import NAPOLI, NOW, POLICY, ago, endpoint, key, seen, server, snapshot, vm

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport, Outcome, PilotState, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

WORKING = [VMState.RUNNING, VMState.DRAINING]
DAY = 24 * 60
BUSY = {"jobs": 1, "pilot": PilotState.RUNNING}


def step(machine, state=ServerState.ACTIVE, *, now=NOW, **of_snapshot):
    """The one step of a VM whose server is in that state (None: not listed)."""
    servers = () if state is None else (server(machine, state),)
    plan = plan_cycle(snapshot(endpoint(servers=servers), vms=[machine], **of_snapshot), POLICY, now)
    return next(iter(plan.moves + plan.deletes), None)


def ends_as(decision, outcome, code):
    return isinstance(decision, Delete) and (decision.outcome, decision.code) == (outcome, code)


# Idle


@pytest.mark.parametrize("state", WORKING)
def test_a_pilot_that_never_gets_a_job_is_ended_after_the_idle_timeout(state):
    idle = vm(state=state, minutes=14, spoke=True, pilot=PilotState.RUNNING, drifted="image")
    assert not isinstance(step(idle), Delete)
    decision = step(replace(idle, since=ago(16)))
    assert ends_as(decision, Outcome.NO_WORK, 300) and "got no job" in decision.reason


def test_a_vm_that_once_had_a_job_is_not_idle():
    assert step(vm(state=VMState.RUNNING, minutes=600, **BUSY)) is None


# A pilot that DIRAC does not know, or did not know in time


SILENT = {
    "nothing heard": vm(state=VMState.BOOTING, minutes=600),
    "without a pilot": vm(state=VMState.RUNNING, minutes=600, spoke=True),
    "idle": vm(state=VMState.RUNNING, minutes=600, pilot=PilotState.RUNNING),
}


@pytest.mark.parametrize("why", SILENT)
def test_the_silence_of_a_pilot_counts_from_when_dirac_knows_it(why):
    silent = SILENT[why]
    assert isinstance(step(silent), Delete)
    assert step(replace(silent, pilot_entered_at=ago(9))) is None
    assert step(replace(silent, pilot_entered_at=None, jobs_known=False)) is None


def test_a_pilot_that_may_have_matched_a_job_unnoticed_is_not_idle():
    assert step(replace(SILENT["idle"], jobs_known=False)) is None


def test_an_ordered_drain_leaves_a_vm_that_may_have_a_job_its_time():
    drained = vm(state=VMState.DRAINING, pilot=PilotState.RUNNING, drain="a site drain")
    assert isinstance(step(drained), Delete)
    assert step(replace(drained, jobs_known=False)) is None


# Heartbeat


@pytest.mark.parametrize("state", WORKING)
def test_a_vm_whose_heartbeats_stop_is_lost_whatever_it_ran(state):
    quiet = vm(state=state, minutes=600, heartbeat_at=ago(74), drifted="image", **BUSY)
    assert not isinstance(step(quiet), Delete)
    decision = step(replace(quiet, heartbeat_at=ago(76)))
    assert ends_as(decision, Outcome.HEARTBEAT_LOST, 700) and "2026-11-20 08:44 UTC" in decision.reason


def test_one_that_has_no_job_to_lose_is_lost_sooner():
    quiet = vm(state=VMState.RUNNING, minutes=600, heartbeat_at=ago(14), **{**BUSY, "pilot": PilotState.NOT_ASKED})
    assert step(quiet) is None
    assert ends_as(step(replace(quiet, heartbeat_at=ago(16))), Outcome.HEARTBEAT_LOST, 700)


def lost(*vms):
    return [delete.vm for delete in plan_cycle(seen(*vms), POLICY, NOW).deletes]


def test_where_all_vms_of_an_endpoint_are_silent_it_is_the_way_to_the_gateway_and_none_is_lost():
    silent = [vm(f"vm{number}", VMState.RUNNING, 600, heartbeat_at=ago(300), **BUSY) for number in range(3)]
    assert lost(*silent) == []
    heard = vm("heard", VMState.RUNNING, 600, heartbeat_at=ago(1), **BUSY)
    assert len(lost(*silent, heard)) == 1


def test_the_only_one_of_an_endpoint_is_judged_by_those_of_others():
    silent = vm("silent", VMState.RUNNING, 600, heartbeat_at=ago(300), **BUSY)
    elsewhere = {"vm_type": key(NAPOLI), "heartbeat_at": ago(300), **BUSY}
    assert lost(silent, vm("other", VMState.RUNNING, 600, **elsewhere)) == []
    assert lost(silent, vm("other", VMState.RUNNING, 600, **{**elsewhere, "heartbeat_at": ago(1)})) == ["silent"]


def test_a_vm_that_never_sent_a_heartbeat_has_none_to_lose():
    assert step(vm(state=VMState.RUNNING, minutes=600, **BUSY)) is None


@pytest.mark.parametrize("end", [{"said": EndReport(200, "done")}, {"pilot": PilotState.FINISHED}])
def test_a_vm_that_is_done_sends_no_more_heartbeats_and_gets_its_time_to_switch_itself_off(end):
    done = vm(state=VMState.RUNNING, minutes=600, jobs=1, heartbeat_at=ago(16), pilot_finished_at=ago(9), **end)
    assert step(done) is None


def test_after_a_pause_of_the_director_heartbeats_get_their_time_again():
    quiet = vm(state=VMState.RUNNING, minutes=600, heartbeat_at=ago(300), **BUSY)
    assert step(quiet, watching_since=ago(1)) is None
    assert ends_as(step(quiet, watching_since=ago(76)), Outcome.HEARTBEAT_LOST, 700)


def test_a_heartbeat_is_a_first_word():
    assert step(vm(state=VMState.BOOTING, minutes=60, heartbeat_at=ago(1))).target is VMState.RUNNING


# Draining for too long


def test_a_vm_drains_for_no_longer_than_the_drain_timeout():
    draining = vm(state=VMState.DRAINING, minutes=DAY - 1, drain="the site is down tomorrow", **BUSY)
    assert step(draining) is None
    assert ends_as(step(replace(draining, since=ago(DAY + 1))), Outcome.EXPIRED, 100)


# Held


OVERDUE = {
    "silent": vm(state=VMState.BOOTING, minutes=600),
    "never active": vm(state=VMState.REQUESTED, minutes=600),
    "idle": vm(state=VMState.RUNNING, minutes=600, pilot=PilotState.RUNNING),
    "without a pilot": vm(state=VMState.RUNNING, minutes=600, spoke=True),
    "silent since": vm(state=VMState.RUNNING, minutes=600, heartbeat_at=ago(80), **BUSY),
    "done and still up": vm(state=VMState.RUNNING, minutes=600, pilot=PilotState.FINISHED, pilot_finished_at=ago(60)),
    "draining": vm(state=VMState.DRAINING, minutes=2 * DAY, drain="a site drain", **BUSY),
    "too old": vm(state=VMState.RUNNING, minutes=8 * DAY, **BUSY),
    "drained by order": vm(state=VMState.RUNNING, spoke=True, drain="a site drain"),
}


@pytest.mark.parametrize("why", OVERDUE)
def test_a_held_vm_is_not_ended_and_without_the_hold_it_is(why):
    machine = OVERDUE[why]
    status = ServerState.BUILDING if machine.state is VMState.REQUESTED else ServerState.ACTIVE
    assert isinstance(step(machine, status), Delete)
    assert step(replace(machine, held="adm looks at it"), status) is None


@pytest.mark.parametrize("status", [ServerState.STOPPED, ServerState.ERROR])
def test_a_held_vm_that_broke_down_is_left_to_be_looked_at(status):
    assert step(vm(state=VMState.RUNNING, held="adm looks at it", **BUSY), status) is None


@pytest.mark.parametrize("why", [{"drain": "a site drain"}, {"drifted": "image"}, {"created_at": ago(6.5 * DAY)}])
def test_a_held_vm_is_not_drained(why):
    assert step(vm(state=VMState.RUNNING, held="adm looks at it", **{**BUSY, **why})) is None


def test_a_held_vm_goes_on_booting_and_running():
    assert step(vm(state=VMState.REQUESTED, held="x")).target is VMState.BOOTING
    assert step(vm(state=VMState.BOOTING, held="x", spoke=True)).target is VMState.RUNNING


def test_the_record_of_a_held_vm_ends_when_its_server_is_gone():
    assert step(vm(state=VMState.RUNNING, held="x", missed=2, **BUSY), None).outcome is Outcome.VANISHED


def test_a_held_vm_whose_server_is_listed_again_after_its_record_ended_is_left_alone():
    ended = vm(state=VMState.ENDED, outcome=Outcome.VANISHED)
    assert isinstance(step(ended), Delete)
    assert step(replace(ended, held="x")) is None


def test_a_delete_that_was_asked_for_before_the_hold_goes_on():
    assert isinstance(step(vm(state=VMState.DELETING, held="x", outcome=Outcome.KILLED)), Delete)


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, *WORKING])
def test_a_clock_set_back_ends_no_vm_with_heartbeats(state):
    late = vm(state=state, minutes=0, heartbeat_at=NOW, **BUSY)
    assert not isinstance(step(late, now=NOW - timedelta(days=30)), Delete)


def test_a_drained_vm_whose_pilot_is_at_work_drains_for_a_cycle_before_it_is_ended():
    fresh = vm(state=VMState.RUNNING, minutes=2, spoke=True, pilot=PilotState.RUNNING, drain="adm drains GRIF")
    assert step(fresh).target is VMState.DRAINING
    drained = replace(fresh, state=VMState.DRAINING)
    assert ends_as(step(drained), Outcome.KILLED, 100)
    assert step(replace(drained, jobs=1)) is None
