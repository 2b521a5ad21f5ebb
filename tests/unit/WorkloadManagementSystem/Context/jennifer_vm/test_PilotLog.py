"""Why a pilot stopped, from its own output."""

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotLog import PilotLog

RECEIVED = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Received JobID=7, JobType=User, Owner=u"
FAILED = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Payload execution failed with error code 1"
NO_MATCH = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent NOTICE: Job request OK, but no match found No match"


def stopped(message):
    return f'… WorkloadManagement/JobAgent INFO: JobAgent will stop with message "{message}", execution complete.'


@pytest.mark.parametrize(
    ("lines", "exit_code", "code"),
    [
        ([stopped("Node is being drained by an operator")], 0, 100),
        ([RECEIVED, stopped("Node is being drained by an operator")], 0, 100),
        ([stopped("No more time left")], 0, 100),
        ([RECEIVED, stopped("No more time left")], 0, 200),
        ([RECEIVED, stopped("Nothing to do for more than 1 cycles")], 0, 200),
        ([RECEIVED, stopped("Filling Mode is Disabled")], 0, 200),
        ([RECEIVED], 0, 200),
        ([RECEIVED], 1, 700),
        ([stopped("Nothing to do for more than 1 cycles")], 0, 300),
        ([NO_MATCH], 0, 300),
        ([stopped("Pilot version mismatch")], 0, 400),
        (["2026 UTC WorkloadManagement/JobAgent ERROR: Pilot version mismatch: 9.0 is not 9.1"], 1, 400),
        ([], 1, 500),
        ([RECEIVED, FAILED, stopped("Error during a payload execution")], 0, 600),
        ([RECEIVED, RECEIVED, FAILED, stopped("Error during a payload execution")], 0, 200),
        ([stopped("JDL Problem")], 0, 600),
        ([stopped("something new")], 0, 700),
        ([], 0, 700),
    ],
)
def test_the_hsf_code_follows_from_the_pilots_log(lines, exit_code, code):
    log = PilotLog()
    for line in lines:
        log.feed(line)
    found, reason = log.verdict(exit_code)
    assert found == code
    assert reason


def test_lines_of_a_payload_are_no_words_of_the_job_agent():
    log = PilotLog()
    log.feed("my job prints Received JobID=5 and Payload execution failed with error code 1")
    assert (log.jobs, log.failed_payloads) == (0, 0)
