"""Follows jobs and VMs through DIRAC's own services, and the VMs' first words on their consoles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from lab.demo.record import Job, Machine, Record
from lab.dirac import jobs as lab_jobs
from lab.dirac.answers import ask

_LISTED_AT_MOST = 100


class Watch:
    """Brings the record up to date. ``consoles`` gives the files that servers' consoles are written to."""

    def __init__(self, record: Record, consoles: Callable[[], Iterable[Path]]):
        from JenniferDIRAC.WorkloadManagementSystem.Client.VirtualMachineManagerClient import (
            VirtualMachineManagerClient,
        )

        self._record = record
        self._consoles = consoles
        self._client = VirtualMachineManagerClient()

    def look(self) -> None:
        """Once, at everything."""
        for job_id, state in lab_jobs.states(self._record.jobs).items():
            job = self._record.jobs[job_id]
            job.status, job.site = state.status, state.site
        for record in ask(self._client.getVirtualMachines, {}, _LISTED_AT_MOST):
            machine = self._record.machines.setdefault(record["vm_id"], Machine(record))
            machine.record = machine.record | record
        self._listen()

    def _listen(self) -> None:
        waiting = [one for one in self._record.machines.values() if one.first_word is None]
        if not waiting:
            return
        consoles = [path.read_text(errors="replace") for path in self._consoles()]
        for machine in waiting:
            if any(f"@jennifer {machine.id} " in text for text in consoles):
                machine.first_word = datetime.now(UTC)

    def finish(self) -> None:
        """The whole story of every job and VM: histories, outputs, and which VM ran what."""
        for job in self._record.jobs.values():
            self._finish_job(job)
        for machine in self._record.machines.values():
            machine.record = ask(self._client.getVirtualMachine, machine.id)

    def _finish_job(self, job: Job) -> None:
        for event in lab_jobs.history(job.id):
            job.moments.setdefault(event.state.status, event.at)
        reference = _pilot_of(job.id)
        for machine in self._record.machines.values():
            if machine.record["pilot_reference"] == reference:
                machine.jobs.append(job.id)
        if job.status == lab_jobs.DONE:
            job.output = lab_jobs.output(job.id, job.vo).get("std.out", "")


def _pilot_of(job: int) -> str:
    """The reference of the pilot that ran a job."""
    from DIRAC.WorkloadManagementSystem.Client.JobMonitoringClient import JobMonitoringClient

    parameters = ask(JobMonitoringClient().getJobParameter, job, "Pilot_Reference")
    return parameters.get("Pilot_Reference", "")
