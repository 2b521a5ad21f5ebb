"""Back-off and the probe after it."""

from dataclasses import replace

import pytest
from planner_world import GRIF, NOW, POLICY, ago, endpoint, key, seen, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    EndReport,
    Outcome,
    PilotState,
    RecentEnd,
    ServerState,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

CLOUD = [Outcome.FAILED_TO_START, Outcome.REJECTED]
PROFILE = [Outcome.FIZZLED, Outcome.NEVER_REPORTED]
BAD = CLOUD + PROFILE
IDLE = [(Outcome.NO_WORK, ago(minutes)) for minutes in (4, 3, 2)]


def plan_after(*ends, jobs=3, vms=(), servers=(), vo="belle"):
    """What is started for belle after these ends of a VO's VMs."""
    recent = tuple(RecentEnd(key(), vo, outcome, at) for outcome, at in ends)
    world = snapshot(endpoint(servers=servers), queues=[task_queue(jobs=jobs)], vms=vms, recent_ends=recent)
    return plan_cycle(world, POLICY, NOW)


@pytest.mark.parametrize("outcome", BAD)
def test_after_a_bad_end_nothing_is_started_for_a_while(outcome):
    plan = plan_after((outcome, ago(2)))
    assert plan.creates == ()
    (unmet,) = plan.unmet
    assert (unmet.limit, unmet.cores) == (Limit.BACKOFF, 3)
    assert "180 s more" in unmet.detail and outcome.value in unmet.detail


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome not in BAD])
def test_other_ends_do_not_back_off(outcome):
    assert len(plan_after((outcome, ago(2))).creates) == 3


def test_after_the_backoff_one_probe_goes_first():
    plan = plan_after((Outcome.FIZZLED, ago(6)))
    assert len(plan.creates) == 1
    assert [(unmet.limit, unmet.cores) for unmet in plan.unmet] == [(Limit.BACKOFF, 2)]
    assert "probe" in plan.unmet[0].detail


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.BOOTING, VMState.RUNNING])
def test_while_the_probe_has_no_job_yet_no_other_follows(state):
    probe = vm(state=state, minutes=1, spoke=state is VMState.RUNNING)
    plan = plan_after((Outcome.FIZZLED, ago(6)), vms=[probe], servers=(server(probe),))
    assert plan.creates == ()
    assert plan.unmet[0].limit is Limit.BACKOFF


def test_a_probe_that_said_its_end_is_waited_for_until_its_server_is_gone():
    probe = vm(state=VMState.RUNNING, minutes=8, spoke=True, said=EndReport(500, "no pilot"))
    plan = plan_after((Outcome.FIZZLED, ago(20)), vms=[probe], servers=(server(probe),))
    assert not plan.creates
    assert plan.unmet[0].limit is Limit.BACKOFF


def test_a_probe_that_got_a_job_ends_the_caution():
    probe = vm(state=VMState.RUNNING, minutes=1, jobs=1)
    assert len(plan_after((Outcome.FIZZLED, ago(6)), vms=[probe], servers=(server(probe),)).creates) == 3


def test_a_vm_that_worked_before_the_bad_end_proves_nothing():
    earlier = vm(state=VMState.RUNNING, minutes=60, jobs=1)
    assert len(plan_after((Outcome.FIZZLED, ago(6)), vms=[earlier], servers=(server(earlier),)).creates) == 1


def test_a_vm_that_drained_and_runs_again_proves_nothing_of_what_ended_in_between():
    earlier = vm(state=VMState.RUNNING, minutes=60, jobs=1, since=ago(1))
    assert len(plan_after((Outcome.FIZZLED, ago(6)), vms=[earlier], servers=(server(earlier),)).creates) == 1


def test_a_later_good_end_forgives():
    assert len(plan_after((Outcome.FIZZLED, ago(3)), (Outcome.WORKED, ago(1))).creates) == 3
    assert len(plan_after((Outcome.WORKED, ago(3)), (Outcome.FIZZLED, ago(1))).creates) == 0


def test_a_bad_end_counts_before_the_cloud_has_cleared_the_server_away():
    deleting = vm(state=VMState.DELETING, outcome=Outcome.NEVER_REPORTED, outcome_reason="silent")
    plan = plan_cycle(seen(deleting, queues=[task_queue()]), POLICY, NOW)
    assert plan.creates == () and plan.unmet[0].limit is Limit.BACKOFF


def test_a_bad_end_decided_in_this_cycle_counts_at_once():
    plan = plan_cycle(seen(vm(), state=ServerState.ERROR, queues=[task_queue(jobs=2)]), POLICY, NOW)
    assert len(plan.deletes) == 1 and plan.creates == ()


def test_backoff_counts_from_the_decision_and_not_from_the_intent():
    never_made = vm(state=VMState.PLANNED, minutes=60, missed=2)
    plan = plan_cycle(snapshot(endpoint(), queues=[task_queue()], vms=[never_made]), POLICY, NOW)
    assert len(plan.moves) == 1
    assert plan.creates == () and "300 s more" in plan.unmet[0].detail


def test_backoff_is_of_one_vm_type_only():
    other = vm_type(queue="other")
    world = snapshot(
        endpoint(GRIF, vm_type(), other),
        queues=[task_queue(jobs=2, matches={key(), other.key})],
        recent_ends=(RecentEnd(key(), "belle", Outcome.FIZZLED, NOW),),
    )
    assert [create.vm_type for create in plan_cycle(world, POLICY, NOW).creates] == [other.key] * 2


def test_an_end_in_the_future_does_not_back_off_for_ever():
    assert len(plan_after((Outcome.FIZZLED, ago(-600))).creates) == 1


# Per VO


@pytest.mark.parametrize("outcome", PROFILE)
def test_the_broken_profile_of_a_vo_does_not_stop_the_others(outcome):
    assert len(plan_after((outcome, ago(2)), vo="t2k.org").creates) == 3


@pytest.mark.parametrize("outcome", CLOUD)
def test_a_fault_of_the_cloud_stops_every_vo(outcome):
    plan = plan_after((outcome, ago(2)), vo="t2k.org")
    assert plan.creates == () and plan.unmet[0].limit is Limit.BACKOFF


def test_the_probe_of_one_vo_does_not_stop_the_others():
    probe = vm(vo="t2k.org")
    plan = plan_after((Outcome.FIZZLED, ago(6)), vms=[probe], servers=(server(probe),))
    assert len(plan.creates) == 1


def test_after_a_fault_of_the_cloud_one_probe_goes_for_all_vos():
    probe = vm(vo="t2k.org")
    plan = plan_after((Outcome.REJECTED, ago(6)), vms=[probe], servers=(server(probe),))
    assert plan.creates == () and "probe" in plan.unmet[0].detail


def test_a_vm_of_another_vo_that_booted_acquits_the_cloud():
    world = snapshot(
        queues=[task_queue(jobs=3)],
        recent_ends=(
            RecentEnd(key(), "belle", Outcome.FAILED_TO_START, ago(3)),
            RecentEnd(key(), "t2k.org", Outcome.FIZZLED, ago(2)),
        ),
    )
    assert len(plan_cycle(world, POLICY, NOW).creates) == 3


def test_a_later_fault_of_the_cloud_does_not_acquit_the_profile():
    world = snapshot(
        queues=[task_queue(jobs=3)],
        recent_ends=(
            RecentEnd(key(), "belle", Outcome.FIZZLED, ago(4)),
            RecentEnd(key(), "belle", Outcome.FAILED_TO_START, ago(3)),
            RecentEnd(key(), "t2k.org", Outcome.WORKED, ago(2)),
        ),
    )
    plan = plan_cycle(world, POLICY, NOW)
    assert plan.creates == () and "small for belle: back-off for 60 s more" in plan.unmet[0].detail


# NoWork


def test_after_three_vms_without_work_in_a_row_nothing_is_started_for_a_while():
    plan = plan_after(*IDLE)
    assert plan.creates == ()
    assert "180 s more, the last 3 VMs ended NoWork" in plan.unmet[0].detail


def test_two_vms_without_work_may_just_have_come_too_late():
    assert len(plan_after(*IDLE[1:]).creates) == 3


def test_vms_without_work_stop_their_vo_only():
    assert len(plan_after(*IDLE, vo="t2k.org").creates) == 3


def test_a_vm_that_worked_between_interrupts_the_row():
    assert len(plan_after(*IDLE[:2], (Outcome.WORKED, ago(2.5)), IDLE[2]).creates) == 3


def test_three_vms_without_work_that_ended_at_once_are_a_row():
    assert plan_after(*[(Outcome.NO_WORK, ago(2))] * 3).creates == ()


def test_after_that_backoff_one_probe_goes_first_and_its_failure_starts_it_anew():
    earlier = [(Outcome.NO_WORK, ago(minutes)) for minutes in (9, 8, 7)]
    assert len(plan_after(*earlier).creates) == 1
    assert plan_after(*earlier, (Outcome.NO_WORK, ago(1))).creates == ()


def test_where_a_vm_has_a_job_the_others_came_too_late():
    busy = vm(state=VMState.RUNNING, minutes=60, jobs=1, pilot=PilotState.RUNNING)
    assert len(plan_after(*IDLE, vms=[busy], servers=(server(busy),)).creates) == 3
    other_vo = replace(busy, vo="t2k.org")
    assert plan_after(*IDLE, vms=[other_vo], servers=(server(other_vo),)).creates == ()


def test_an_end_whose_server_is_listed_late_counts_once():
    late = vm(state=VMState.ENDED, minutes=3, outcome=Outcome.NO_WORK)
    assert len(plan_after(*IDLE[1:], vms=[late], servers=(server(late),)).creates) == 3
