"""When each task queue was last seen to lose jobs: what counts on VMs at work to take some must see that they do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import TaskQueue


class QueueMemory:
    """The task queues of the last cycle. A director that starts anew has seen none."""

    def __init__(self) -> None:
        self._last: dict[int, TaskQueue] = {}

    def see(self, demand: Demand, now: datetime) -> tuple[TaskQueue, ...]:
        """The queues, each with when the number of its jobs last fell, or it was first seen.

        A queue that is missing is forgotten, but for one that may be missing because the Matcher did not answer.
        """
        seen = tuple(self._with_time(queue, now) for queue in demand.task_queues)
        self._last = (self._last if demand.unanswered else {}) | {queue.id: queue for queue in seen}
        return seen

    def _with_time(self, queue: TaskQueue, now: datetime) -> TaskQueue:
        last = self._last.get(queue.id)
        # Never later than now, for a clock may have been set back.
        return replace(queue, fell_at=now if last is None or queue.jobs < last.jobs else min(last.fell_at or now, now))
