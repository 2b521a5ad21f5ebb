"""The jobs that wait in a simulated DIRAC, in task queues as DIRAC's: by VO, processors and CPU time."""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

# Hours: DIRAC puts jobs of similar CPU time into one task queue, under the segment's longest.
SEGMENTS = (0.5, 1, 2, 4, 8, 12, 24, 48, 96, 168, 336)


@dataclass
class Job:
    """``at`` is when it was submitted, ``seconds`` how long it runs; ``cold`` is its submission's number if nothing of
    its VO was there to run it."""

    at: float
    vo: str
    processors: int
    seconds: float
    cold: int | None = None


@dataclass
class Queue:
    """A task queue; a VM must have ``hours`` left for its jobs."""

    id: int
    vo: str
    processors: int
    hours: float
    jobs: deque[Job] = field(default_factory=deque)


class TaskQueues:
    """All task queues, and which job a pilot gets."""

    def __init__(self) -> None:
        self.queues: dict[tuple[str, int, float], Queue] = {}
        self._of_vo: dict[str, list[Queue]] = {}
        self.waiting: Counter[str] = Counter()  # jobs
        self.waiting_cores: Counter[str] = Counter()

    def add(self, jobs: Iterable[Job], again: bool = False) -> None:
        """Submit jobs; with ``again`` to the front of their queues, as jobs that are rescheduled."""
        for job in jobs:
            key = job.vo, job.processors, segment(job.seconds)
            queue = self.queues.get(key)
            if queue is None:
                queue = self.queues[key] = Queue(len(self.queues) + 1, *key)
                self._of_vo.setdefault(job.vo, []).append(queue)
            queue.jobs.appendleft(job) if again else queue.jobs.append(job)
            self.waiting[job.vo] += 1
            self.waiting_cores[job.vo] += job.processors

    def take(self, vo: str, processors: int, hours: float) -> Job | None:
        """The job that has waited longest of those that a pilot of the VO can run."""
        best = None
        for queue in self._of_vo.get(vo, ()):
            if queue.jobs and queue.processors <= processors and queue.hours <= hours:
                if best is None or queue.jobs[0].at < best.jobs[0].at:
                    best = queue
        if best is None:
            return None
        job = best.jobs.popleft()
        self.waiting[vo] -= 1
        self.waiting_cores[vo] -= job.processors
        return job

    def matching(self, processors: int, hours: float, vo: str | None = None) -> list[Queue]:
        """Queues with waiting jobs for a resource of that size, as the Matcher names them."""
        return [
            queue
            for queue in (self.queues.values() if vo is None else self._of_vo.get(vo, ()))
            if queue.jobs and queue.processors <= processors and queue.hours <= hours
        ]


def segment(seconds: float) -> float:
    """The segment of a job that runs so long, in hours."""
    return SEGMENTS[min(bisect.bisect_left(SEGMENTS, seconds / 3600), len(SEGMENTS) - 1)]
