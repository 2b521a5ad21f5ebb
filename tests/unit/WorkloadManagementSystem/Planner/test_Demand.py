"""Demand that no VM on its way covers."""

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, ago, endpoint, key, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import assign, each_once, grouped, is_supply
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import Watch
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport, PilotState, VMState

SMALL, BIG = vm_type(), vm_type(queue="big", cores=8, fills_cores=True)
TYPES = {each.key: each for each in endpoint(GRIF, SMALL, BIG).vm_types}


def left(queues, *vms, since=None):
    watch = Watch(POLICY, NOW, since)
    return jobs_left(queues, [vm for vm in vms if is_supply(vm, watch)], TYPES)


def jobs_left(queues, supply, vm_types, success=None):
    """Waiting jobs per task queue id that the VMs on their way will not take."""
    groups = grouped(each_once(queues))
    assign(groups, supply, vm_types, success or {})
    return {need.queue.id: need.jobs_left for group in groups for need in group.needs}


def test_a_queue_that_two_askers_saw_counts_once_and_keeps_both_matches():
    (queue,) = each_once([task_queue(1, 3, matches={key(GRIF)}), task_queue(1, 2, matches={key(NAPOLI)})])
    assert queue.jobs == 3
    assert queue.matches == {key(GRIF), key(NAPOLI)}


def test_an_empty_queue_is_no_demand():
    assert each_once([task_queue(1, 0)]) == ()


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING])
def test_a_vm_on_its_way_to_its_first_job_counts_as_supply(state):
    assert left([task_queue(jobs=2)], vm(state=state)) == {1: 1}


@pytest.mark.parametrize("state", [VMState.DRAINING, VMState.DELETING, VMState.ENDED])
def test_a_vm_that_takes_no_job_any_more_is_no_supply(state):
    assert left([task_queue(jobs=2)], vm(state=state)) == {1: 2}


@pytest.mark.parametrize(
    "busy", [{"jobs": 1}, {"pilot": PilotState.FINISHED}, {"said": EndReport(300, "no more work")}]
)
def test_a_running_vm_that_has_had_its_job_or_ended_is_no_supply(busy):
    assert left([task_queue(jobs=2)], vm(state=VMState.RUNNING, **busy)) == {1: 2}


def test_a_vm_that_runs_for_long_without_a_job_is_no_supply():
    assert left([task_queue()], vm(state=VMState.RUNNING, minutes=14, spoke=True)) == {1: 0}
    assert left([task_queue()], vm(state=VMState.RUNNING, minutes=16, spoke=True)) == {1: 1}


def test_a_vm_is_given_its_time_again_after_nobody_looked():
    assert left([task_queue()], vm(state=VMState.RUNNING, minutes=600, spoke=True), since=ago(14)) == {1: 0}


def test_a_pilot_offers_only_its_slots_to_jobs():
    partly = vm_type(cores=8, slots=4, fills_cores=True)
    assert [partly.jobs_at_once(processors) for processors in (1, 2, 4, 5)] == [4, 2, 1, 0]
    assert vm_type(cores=8, slots=4).jobs_at_once(5) == 0


def test_a_vm_of_another_vo_is_no_supply():
    assert left([task_queue(vo="t2k.org")], vm(vo="belle")) == {1: 1}


def test_a_vm_that_the_queue_does_not_match_is_no_supply():
    assert left([task_queue(matches={key(NAPOLI)})], vm()) == {1: 1}


def test_a_vm_whose_matches_are_not_known_is_supply_for_every_queue_of_its_vo_that_its_own_cores_can_take():
    unknown = vm_type(cores=1, matches_known=False)
    elsewhere = {"matches": {key(NAPOLI)}}
    queues = each_once([task_queue(1, processors=8, **elsewhere), task_queue(2, vo="t2k.org", **elsewhere)])
    assert jobs_left(queues, [vm(cores=8)], {unknown.key: unknown}) == {1: 0, 2: 1}
    assert jobs_left(queues, [vm(cores=4)], {unknown.key: unknown}) == {1: 1, 2: 1}


def test_a_vm_too_small_for_the_jobs_is_no_supply():
    assert left([task_queue(processors=2)], vm()) == {1: 1}


def test_a_vm_that_fills_its_cores_covers_several_jobs():
    big = vm(vm_type=BIG.key, cores=8)
    assert left([task_queue(jobs=5, processors=2, matches={BIG.key})], big) == {1: 1}


def test_a_vm_is_supply_for_one_queue_only():
    assert left([task_queue(1), task_queue(2)], vm()) == {1: 0, 2: 1}


def test_the_vm_with_fewer_matching_queues_is_assigned_first():
    both = {SMALL.key, BIG.key}
    flexible, strict = vm("a"), vm("b", vm_type=BIG.key, cores=8)
    assert left([task_queue(1, matches=both), task_queue(2, matches={SMALL.key})], flexible, strict) == {1: 0, 2: 0}


def test_a_vm_serves_first_the_queue_it_was_started_for():
    assert left([task_queue(1), task_queue(2)], vm(task_queue=2)) == {1: 1, 2: 0}
    assert left([task_queue(1)], vm(task_queue=2)) == {1: 0}


def test_a_vm_serves_the_queue_in_which_it_wastes_least():
    both = {SMALL.key, BIG.key}
    queues = [task_queue(1, jobs=1, matches=both), task_queue(2, jobs=8, matches=both)]
    assert left(queues, vm("a", vm_type=BIG.key, cores=8)) == {1: 1, 2: 0}
