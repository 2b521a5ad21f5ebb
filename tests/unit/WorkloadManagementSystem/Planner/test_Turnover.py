"""Jobs that VMs at work are going to take about as soon as a VM that is started now."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import (
    GRIF,
    NAPOLI,
    NOW,
    POLICY,
    ago,
    endpoint,
    key,
    seen,
    snapshot,
    task_queue,
    vm,
    vm_type,
)

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport, PilotState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

BIG = vm_type(queue="big", cores=8, fills_cores=True)


def worker(id="w1", jobs=7, minutes=60, boot=10, **other):
    """At work for an hour; by default it took a job each 10 minutes after its first, and booted for as long."""
    values = {"pilot": PilotState.RUNNING, "spoke": True, "created_at": ago(minutes + boot)}
    return vm(id, VMState.RUNNING, minutes, jobs=jobs, **values | other)


def waiting(id=1, jobs=1, fell=0, **other):
    return task_queue(id, jobs, fell_at=ago(fell), **other)


def left(world, now=NOW):
    """Jobs left to VMs at work, by task queue, and how many VMs are started."""
    plan = plan_cycle(world, POLICY, now)
    return {answer.task_queue: answer.jobs_from_running for answer in plan.answers}, len(plan.creates)


def test_jobs_are_left_to_vms_at_work_as_far_as_their_pace_reaches_in_one_boot_time():
    two = worker("w1"), worker("w2")
    assert left(seen(*two, queues=[waiting(jobs=2)])) == ({1: 2.0}, 0)
    assert left(seen(*two, queues=[waiting(jobs=5)])) == ({1: 2.0}, 3)


@pytest.mark.parametrize(
    ("other", "takes"),
    [
        ({}, 1.0),
        ({"jobs": 4}, 0.5),
        ({"jobs": 13}, 2.0),
        ({"minutes": 120}, 0.5),
        ({"boot": 5}, 0.5),
        ({"boot": 20}, 2.0),
        ({"boot": 0}, 0.1),  # one minute at least
        ({"boot": 40, "jobs": 9, "running_at": ago(75)}, 2.666),  # drained since, and at work again for an hour
        ({"minutes": 1, "jobs": 3}, 2.0),  # so young that its pace is not known yet
    ],
)
def test_what_a_vm_takes_is_its_pace_after_its_first_job_times_the_boot_time(other, takes):
    assert left(seen(worker(**other), queues=[waiting(jobs=3)]))[0] == {1: takes}


def test_the_boot_time_is_the_median_of_those_of_its_vm_type():
    quick = [worker(f"w{number}", boot=boot) for number, boot in enumerate((2, 10, 10))]
    assert left(seen(*quick, queues=[waiting(jobs=9)]))[0] == {1: 3.0}
    again = worker("w3", boot=40, running_at=ago(90))  # drained since, and at work again
    assert left(seen(worker("w1"), worker("w2"), again, queues=[waiting(jobs=9)]))[0] == {1: 2.666}


@pytest.mark.parametrize(("boots", "takes"), [(0, 0.0), (1, 1.0), (2, 2.0)])
def test_turnover_reaches_as_many_boot_times_as_the_policy_says(boots, takes):
    world = seen(worker(), queues=[waiting(jobs=3)])
    plan = plan_cycle(world, replace(POLICY, turnover_boots=boots), NOW)
    assert (plan.answers[0].jobs_from_running, len(plan.creates)) == (takes, 3 - takes)


@pytest.mark.parametrize(("boots", "takes"), [(1, 0.0), (2, 1.0)])
def test_a_queue_that_does_not_get_shorter_is_left_to_turnover_for_twice_its_reach(boots, takes):
    world = seen(worker(), queues=[waiting(fell=30)])
    assert plan_cycle(world, replace(POLICY, turnover_boots=boots), NOW).answers[0].jobs_from_running == takes


@pytest.mark.parametrize(
    "other",
    [
        {"jobs": 1},
        {"jobs": 0},
        {"said": EndReport(300, "no more work"), "pilot_finished_at": NOW},
        {"pilot": PilotState.FINISHED, "pilot_finished_at": NOW},
        {"pilot": PilotState.WAITING},
        {"state": VMState.DRAINING, "drain": "drained by anna"},
        {"drain": "drained by anna"},
        {"vo": "t2k.org"},
    ],
)
def test_a_vm_that_took_one_job_or_takes_none_of_these_any_more_is_no_turnover(other):
    assert left(seen(replace(worker(), **other), queues=[waiting(jobs=2)]))[0] == {1: 0.0}


def test_while_dirac_does_not_answer_the_pilots_are_taken_to_be_at_work():
    assert left(seen(worker(pilot=PilotState.NOT_ASKED), queues=[waiting()])) == ({1: 1.0}, 0)


def test_a_vm_that_was_drained_and_works_again_keeps_its_pace():
    resumed = worker(minutes=0, boot=70, running_at=ago(60))
    steady = [worker(f"w{number}") for number in (1, 2)]
    assert left(seen(resumed, *steady, queues=[waiting(jobs=9)]))[0] == {1: 3.0}


def test_only_jobs_that_the_vm_type_matches_and_that_fit_are_left():
    assert left(seen(worker(), queues=[waiting(matches={key(NAPOLI)})]))[0] == {1: 0.0}
    assert left(seen(worker(), queues=[waiting(processors=2)]))[0] == {1: 0.0}


def test_while_it_is_not_known_what_a_vm_type_matches_it_may_match_all_of_its_vo():
    silent = vm_type(matches_known=False, unusable="the Matcher gave no answer")
    world = seen(worker(), queues=[waiting(matches={key(NAPOLI)})])
    world = replace(world, endpoints=(replace(world.endpoints[0], vm_types=(silent,)),))
    assert left(world)[0] == {1: 1.0}


def test_of_a_vm_with_several_jobs_those_that_filled_it_at_first_are_no_turnover():
    pool = worker(vm_type=BIG.key, cores=8, jobs=14)
    world = replace(seen(pool, queues=[waiting(jobs=2, matches={BIG.key})]), endpoints=(endpoint(GRIF, BIG),))
    assert left(world)[0] == {1: 1.0}


def test_a_job_that_needs_the_place_of_several_is_not_left_to_a_vm_that_small_ones_may_refill():
    pool = worker(vm_type=BIG.key, cores=8, jobs=100)
    queues = [waiting(processors=8, matches={BIG.key})]
    assert left(replace(seen(pool, queues=queues), endpoints=(endpoint(GRIF, BIG),)))[0] == {1: 0.0}


def test_each_take_counts_once_and_first_where_there_is_the_least_choice():
    small, big = worker("w1"), worker("w2", vm_type=BIG.key, cores=1, jobs=7)
    types = endpoint(GRIF, vm_type(), vm_type(queue="big"))
    both = {key(), BIG.key}
    queues = [waiting(1, matches=both), waiting(2, matches={key()}), waiting(3, matches={BIG.key})]
    world = replace(seen(small, big, queues=queues), endpoints=(types,))
    assert left(world) == ({1: 0.0, 2: 1.0, 3: 1.0}, 1)


def test_vms_on_their_way_come_before_turnover():
    coming = vm("b1", VMState.BOOTING, task_queue=1)
    assert left(seen(worker(), coming, queues=[waiting(jobs=2)])) == ({1: 1.0}, 0)
    assert left(seen(worker(), coming, queues=[waiting(jobs=1)])) == ({1: 0.0}, 0)


def test_a_queue_that_loses_no_job_for_two_boot_times_is_left_to_turnover_no_more():
    assert left(seen(worker(), queues=[waiting(fell=20)])) == ({1: 1.0}, 0)
    assert left(seen(worker(), queues=[waiting(fell=21)])) == ({1: 0.0}, 1)


def test_a_queue_of_which_nobody_remembers_whether_it_gets_shorter_is_not_left_to_turnover():
    assert left(snapshot(queues=[task_queue()], vms=[worker()]))[0] == {1: 0.0}


def test_a_clock_that_is_set_back_makes_no_takes_of_nothing():
    taken, _ = left(seen(worker(), queues=[waiting(jobs=9)]), NOW - timedelta(days=1))
    assert taken == {1: 6.0}
