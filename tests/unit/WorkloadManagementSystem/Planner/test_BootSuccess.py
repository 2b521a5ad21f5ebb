"""VMs on their way count for as many jobs as boots succeed."""

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, ago, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.BootSuccess import boot_success
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, RecentEnd, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

MANY = Policy(max_booting=1000, max_creates_per_cycle=1000)


def ends(*outcomes, where=GRIF, no_room=False):
    """Ends of VMs of different VOs, the last one an hour ago, so that nothing backs off."""
    return [
        RecentEnd(key(where), "t2k.org", outcome, ago(60 + len(outcomes) - n), no_room)
        for n, outcome in enumerate(outcomes)
    ]


WELL, ILL = Outcome.WORKED, Outcome.FAILED_TO_START


def success(recent, vms=(), window=8):
    return boot_success({key(): recent}, {key(): vms}, window).get(key(), 1000)


@pytest.mark.parametrize(
    ("outcomes", "thousandths"),
    [
        ((), 1000),
        ((WELL,) * 8, 1000),
        ((ILL, WELL, WELL), 1000),  # too few to measure
        ((ILL, WELL, WELL, WELL), 750),
        ((Outcome.NEVER_REPORTED,) + (WELL,) * 7, 875),
        ((ILL,) * 4 + (WELL,) * 8, 1000),  # before the window
        ((ILL,) * 8, 125),  # back-off is there to stop
        ((Outcome.REJECTED,) * 4 + (WELL,) * 4, 1000),  # no boot at all
        ((ILL, Outcome.NO_WORK, Outcome.FIZZLED, Outcome.KILLED), 750),  # these came to life
    ],
)
def test_boot_success_is_measured_over_the_last_boots(outcomes, thousandths):
    assert success(ends(*outcomes)) == thousandths


def test_a_cloud_without_room_says_nothing_of_boots():
    assert success(ends(ILL, ILL, no_room=True) + ends(WELL, WELL, WELL, WELL)) == 1000


def test_vms_that_run_have_booted():
    alive = [vm(f"r{n}", VMState.RUNNING, 30) for n in range(3)]
    assert success(ends(ILL), alive) == 750
    assert success(ends(ILL), [vm(f"b{n}", VMState.BOOTING) for n in range(3)]) == 1000


def test_a_vm_that_was_drained_and_works_again_did_not_boot_again():
    again = vm("r", VMState.RUNNING, 1, running_at=ago(600))
    assert success(ends(ILL, ILL, WELL, WELL), [again], window=4) == 500


def started(jobs, recent, vms=(), queues=None, policy=MANY, **other):
    world = snapshot(
        endpoint(servers=tuple(map(server, vms))),
        queues=queues or [task_queue(jobs=jobs)],
        vms=vms,
        recent_ends=tuple(recent),
        **other,
    )
    return plan_cycle(world, policy, NOW)


NINE_OF_TEN = ends(ILL, *[WELL] * 9)


def test_where_one_of_ten_boots_fails_more_vms_are_started_than_jobs_wait():
    plan = started(20, NINE_OF_TEN, policy=Policy(max_booting=99, max_creates_per_cycle=99, health_window=10))
    assert len(plan.creates) == 22
    (answer,) = plan.answers
    assert answer.jobs_started == 19.8 and plan.unmet == ()


def test_one_job_never_gets_two_vms_because_some_fail():
    assert len(started(1, NINE_OF_TEN).creates) == 1
    assert len(started(1, ends(ILL, WELL, WELL, ILL, WELL)).creates) == 1


def test_vms_that_boot_count_for_their_success_and_those_that_run_in_full():
    half = ends(ILL, WELL, ILL, WELL)
    booting = [vm(f"b{n}", VMState.BOOTING, task_queue=1) for n in range(2)]
    assert len(started(4, half, booting).creates) == 5
    idle = [vm(f"r{n}", VMState.RUNNING, 90, task_queue=1, spoke=True) for n in range(2)]
    assert len(started(4, half, booting + idle).creates) < 5


def test_the_vm_type_that_boots_better_goes_before_the_one_that_wastes_less():
    big = vm_type(NAPOLI, cores=8)
    world = snapshot(
        endpoint(GRIF),
        endpoint(NAPOLI, big),
        queues=[task_queue(matches={key(GRIF), key(NAPOLI)})],
        recent_ends=tuple(ends(ILL, WELL, WELL, WELL)),
    )
    assert [create.vm_type for create in plan_cycle(world, POLICY, NOW).creates] == [key(NAPOLI)]


def test_an_answer_tells_what_is_coming_and_what_was_started():
    coming = vm("b1", VMState.BOOTING, task_queue=1)
    plan = started(3, [], [coming], policy=Policy(max_creates_per_cycle=1))
    (answer,) = plan.answers
    assert (answer.task_queue, answer.jobs, answer.coming, answer.jobs_coming) == (1, 3, ("b1",), 1.0)
    assert (answer.started, answer.jobs_started) == ({key(): 1}, 1.0)
    assert [unmet.cores for unmet in plan.unmet] == [1]
