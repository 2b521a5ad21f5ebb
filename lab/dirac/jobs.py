"""Jobs of the lab's user alice, through DIRAC's own client API. The process must be the lab's: ``Lab.activate()``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.common.certificates import DN_PREFIX
from lab.common.errors import LabError
from lab.dirac.answers import ask, value_of
from lab.dirac.configuration import user_group

OWNER = "alice"
DONE = "Done"
FINAL = frozenset({DONE, "Completed", "Failed", "Killed", "Deleted"})

_SCRIPT = "payload.sh"
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class JobState:
    """A job's status, minor status and application status, and the site it is bound to."""

    status: str
    minor: str = ""
    application: str = ""
    site: str = ""

    def __str__(self) -> str:
        return f"{self.status} ({self.minor})" if self.minor else self.status


@dataclass(frozen=True)
class JobEvent:
    """One line of a job's logging information."""

    at: datetime
    state: JobState
    source: str


def submit(vo: str, script: str, *, site: str = "", processors: int = 1, cpu_seconds: int = 600) -> int:
    """Submit a shell script as alice in a VO's user group, and return the job's id.

    The script travels in the InputSandbox; standard output and error come back in the OutputSandbox.

    :raises LabError: DIRAC did not take it
    """
    from DIRAC.WorkloadManagementSystem.Client.WMSClient import WMSClient

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, _SCRIPT)
        path.write_text(script)
        path.chmod(0o755)
        options = {
            "JobName": f'"{vo}"',
            "Executable": f'"{_SCRIPT}"',
            "StdOutput": '"std.out"',
            "StdError": '"std.err"',
            "InputSandbox": f'{{"{path}"}}',
            "OutputSandbox": '{"std.out", "std.err"}',
            "CPUTime": cpu_seconds,
            "NumberOfProcessors": processors,
        }
        if site:
            options["Site"] = f'"{site}"'
        jdl = "[" + "".join(f"{name} = {value};\n" for name, value in options.items()) + "]"
        client = WMSClient(useCertificates=True, delegatedDN=DN_PREFIX + OWNER, delegatedGroup=user_group(vo))
        return int(value_of(client.submitJob(jdl)))


def states(jobs: Iterable[int]) -> dict[int, JobState]:
    """What DIRAC says of these jobs now."""
    from DIRAC.WorkloadManagementSystem.Client.JobMonitoringClient import JobMonitoringClient

    monitoring, wanted = JobMonitoringClient(), list(jobs)
    found = ask(monitoring.getJobsStates, wanted)
    sites = ask(monitoring.getJobsSites, wanted)
    return {
        int(job): JobState(row["Status"], row["MinorStatus"], row["ApplicationStatus"], sites[job]["Site"])
        for job, row in found.items()
    }


def wait_for(jobs: Collection[int], statuses: Collection[str], timeout: float) -> dict[int, JobState]:
    """Wait until every job has one of these statuses.

    :raises LabError: after ``timeout`` seconds, or when a job ended in another status
    """
    end = time.monotonic() + timeout
    while True:
        now = states(jobs)
        waiting = {job: now.get(job) for job in jobs if job not in now or now[job].status not in statuses}
        if not waiting:
            return now
        ended = any(state and state.status in FINAL for state in waiting.values())
        if ended or time.monotonic() > end:
            listing = ", ".join(f"job {job}: {state or 'unknown'}" for job, state in waiting.items())
            expected = " or ".join(sorted(statuses))
            raise LabError(f"expected {expected} within {timeout:.0f} s, found {listing}")
        time.sleep(_POLL_SECONDS)


def history(job: int) -> list[JobEvent]:
    """The job's logging information, oldest first."""
    from DIRAC.WorkloadManagementSystem.Client.JobMonitoringClient import JobMonitoringClient

    rows = ask(JobMonitoringClient().getJobLoggingInfo, job)
    return [
        JobEvent(datetime.fromisoformat(at).replace(tzinfo=UTC), JobState(status, minor, application), source)
        for status, minor, application, at, source in rows
    ]


def output(job: int, vo: str) -> dict[str, str]:
    """The files of the job's OutputSandbox, as text."""
    from DIRAC.WorkloadManagementSystem.Client.SandboxStoreClient import SandboxStoreClient

    client = SandboxStoreClient(useCertificates=True, delegatedDN=DN_PREFIX + OWNER, delegatedGroup=user_group(vo))
    with tempfile.TemporaryDirectory() as directory:
        ask(client.downloadSandboxForJob, job, "Output", directory)
        return {path.name: path.read_text(errors="replace") for path in Path(directory).iterdir()}
