"""The sentences on a job, word for word."""

from dataclasses import replace

import pytest
from why_world import NOW, ago

from JenniferDIRAC.WorkloadManagementSystem.Why.WhyJob import JobFacts, why_job

JOB = JobFacts(12, "Waiting", "Pilot Agent Submission", "Unknown", "ANY", "alice", "belle_user", "belle", ago(3))


@pytest.mark.parametrize(
    ("job", "queue", "sentences"),
    [
        (None, None, ["DIRAC knows no job 12."]),
        (
            JOB,
            7,
            ["Job 12 of alice in belle_user is Waiting (Pilot Agent Submission) since 09:57 UTC, in task queue 7."],
        ),
        (
            JOB,
            None,
            ["Job 12 of alice in belle_user is Waiting (Pilot Agent Submission) since 09:57 UTC."],
        ),
        (
            replace(JOB, status="Running", minor="Application", site="CLOUD.GRIF.fr"),
            None,
            [
                "Job 12 of alice in belle_user is Running (Application) since 09:57 UTC at CLOUD.GRIF.fr: "
                "it waits for no VM."
            ],
        ),
        (
            replace(JOB, status="Checking", minor="JobScheduling", application="On Hold: no site is active"),
            None,
            [
                "Job 12 of alice in belle_user is Checking (JobScheduling) since 09:57 UTC: On Hold: no site is "
                "active.",
                "It is in no task queue yet: no VM is started for it before DIRAC has put it there.",
            ],
        ),
        (
            replace(JOB, status="Done", minor=""),
            None,
            ["Job 12 of alice in belle_user is Done since 09:57 UTC: it waits for no VM."],
        ),
    ],
)
def test_a_job_is_told_with_what_it_does(job, queue, sentences):
    assert list(why_job(job, 12, queue, NOW)) == sentences
