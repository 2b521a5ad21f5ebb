"""What the demo saw: steps, jobs and VMs with their times, and the figures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Step:
    """One part of the demo; ``seconds`` is None while it goes on."""

    name: str
    began: float
    seconds: float | None = None
    note: str = ""


@dataclass
class Job:
    """A submitted job. ``moments`` are the first times it was seen, or said by DIRAC to be, in each status."""

    id: int
    vo: str
    submitted: datetime
    status: str = "Submitted"
    site: str = ""
    moments: dict[str, datetime] = field(default_factory=dict)
    output: str = ""


@dataclass
class Machine:
    """A VM: the service's record and history, and the time of its first word as read from its console."""

    record: dict[str, Any]
    first_word: datetime | None = None
    jobs: list[int] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.record["vm_id"]

    @property
    def created(self) -> datetime:
        return datetime.fromisoformat(self.record["created_at"])


@dataclass
class Record:
    """The whole demo."""

    steps: list[Step] = field(default_factory=list)
    jobs: dict[int, Job] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    director_mib: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems and bool(self.jobs) and all(job.status == "Done" for job in self.jobs.values())

    def machine_of(self, job: Job) -> Machine | None:
        return next((machine for machine in self.machines.values() if job.id in machine.jobs), None)

    def figures(self, job: Job) -> dict[str, float]:
        """Seconds between the moments that matter to whoever waits for this job; only those that are known."""
        machine = self.machine_of(job)
        if machine is None:
            return {}
        moments = {
            "submitted_to_create": (job.submitted, machine.created),
            "create_to_first_word": (machine.created, machine.first_word),
            "create_to_matched": (machine.created, job.moments.get("Matched")),
            "create_to_running": (machine.created, job.moments.get("Running")),
            "create_to_done": (machine.created, job.moments.get("Done")),
        }
        return {name: round((end - start).total_seconds(), 1) for name, (start, end) in moments.items() if end}

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "problems": self.problems,
            "director_mib": self.director_mib,
            "steps": [{"name": one.name, "seconds": one.seconds, "note": one.note} for one in self.steps],
            "jobs": [
                {
                    "id": job.id,
                    "vo": job.vo,
                    "status": job.status,
                    "site": job.site,
                    "submitted": job.submitted.isoformat(),
                    "moments": {status: at.isoformat() for status, at in job.moments.items()},
                    "vm": machine.id if (machine := self.machine_of(job)) else None,
                    "seconds": self.figures(job),
                    "output": job.output,
                }
                for job in self.jobs.values()
            ],
            "vms": [
                machine.record
                | {
                    "first_word": machine.first_word.isoformat() if machine.first_word else None,
                    "ran_jobs": machine.jobs,
                }
                for machine in self.machines.values()
            ],
        }
