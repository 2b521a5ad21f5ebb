"""Why a job waits, or that it does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Why.Words import moment, sentence

WAITING = "Waiting"
# Between its submission and a task queue.
_BEFORE = frozenset({"Submitting", "Received", "Checking", "Staging", "Scheduled"})
_AT_WORK = frozenset({"Matched", "Running", "Stalled", "Completing"})


@dataclass(frozen=True)
class JobFacts:
    """A job as JobMonitoring tells it; times in UTC. ``vo`` is that of its group."""

    id: int
    status: str
    minor: str = ""
    application: str = ""
    site: str = ""
    owner: str = ""
    group: str = ""
    vo: str = ""
    updated_at: datetime | None = None

    @property
    def waits(self) -> bool:
        return self.status == WAITING


def why_job(job: JobFacts | None, id: int, queue: int | None, now: datetime) -> tuple[str, ...]:
    """What the job does; ``queue`` is its task queue, None when it is in none or that could not be asked."""
    if job is None:
        return (f"DIRAC knows no job {id}.",)
    at = f" since {moment(job.updated_at, now)}" if job.updated_at else ""
    minor = f" ({job.minor})" if job.minor else ""
    whose = f" of {job.owner} in {job.group}" if job.owner else ""
    text = f"Job {id}{whose} is {job.status}{minor}{at}"
    if job.waits:
        return (sentence(text if queue is None else f"{text}, in task queue {queue}"),)
    if job.status in _BEFORE:
        hold = f": {job.application}" if job.application not in ("", "Unknown") else ""
        return (f"{text}{hold}.", "It is in no task queue yet: no VM is started for it before DIRAC has put it there.")
    if job.status in _AT_WORK:
        return (f"{text} at {job.site}: it waits for no VM.",)
    return (f"{text}: it waits for no VM.",)
