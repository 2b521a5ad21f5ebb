"""When a task queue was last seen to lose jobs."""

from datetime import timedelta

from director_world import START

from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand
from JenniferDIRAC.WorkloadManagementSystem.Director.QueueMemory import QueueMemory
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import TaskQueue, VMTypeKey


def fell_at(memory, minute, jobs, unanswered=None):
    """Minutes after the start; None when the queue is not there. ``jobs`` None: the Matcher does not name it."""
    queues = () if jobs is None else (TaskQueue(1, "belle", jobs),)
    seen = memory.see(Demand(queues, unanswered or {}), START + timedelta(minutes=minute))
    return (seen[0].fell_at - START) / timedelta(minutes=1) if seen else None


def test_a_queue_is_told_with_when_its_jobs_were_last_seen_to_get_fewer():
    memory = QueueMemory()
    assert [fell_at(memory, minute, jobs) for minute, jobs in enumerate((5, 5, 7, 6, 6, 8))] == [0, 0, 0, 3, 3, 3]


def test_a_queue_that_was_gone_is_new():
    memory = QueueMemory()
    assert [fell_at(memory, minute, jobs) for minute, jobs in enumerate((5, None, 5))] == [0, None, 2]


def test_a_queue_that_the_matcher_did_not_name_for_lack_of_an_answer_is_remembered():
    memory = QueueMemory()
    fell_at(memory, 0, 5)
    assert fell_at(memory, 1, None, {VMTypeKey("CLOUD.A.fr", "a", "q"): "connection refused"}) is None
    assert fell_at(memory, 2, 5) == 0


def test_when_a_clock_that_went_fast_was_set_back_a_queue_lost_jobs_at_the_latest_then():
    memory = QueueMemory()
    assert [fell_at(memory, minute, 5) for minute in (120, 0, 1)] == [120, 0, 0]
