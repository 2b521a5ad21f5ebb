"""The sentences on a VM, word for word."""

from dataclasses import replace
from datetime import timedelta

import pytest
from why_world import EL9, NOW, ago, lever

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind, Outcome, PilotState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyVM import VMFacts, why_vm

RECORD = VMRecord(
    "abcdef01" * 4,
    EL9,
    "belle",
    4,
    8192,
    VMState.BOOTING,
    ago(2),
    ago(3),
    "cloud://x",
    "stamp",
    7,
    "el9",
    pilot_entered_at=ago(3),
)
HEAD = (
    f"VM {RECORD.vm_id} is %s since 09:58 UTC (2 min): a VM of CLOUD.GRIF.fr/grif/el9 for belle, 4 cores, started for "
    "task queue 7 at 09:57 UTC."
)
STEP = Transition(
    VMState.REQUESTED, VMState.BOOTING, ago(2), "Its server is active; its first word is awaited.", "director"
)


@pytest.mark.parametrize(
    ("record", "other", "sentences"),
    [
        (
            {"state": VMState.PLANNED},
            {},
            [
                "The cloud's answer, or a server of its name in two listings, is awaited: the time for that is over, "
                "and the director's next look decides (SettleTimeout).",
            ],
        ),
        (
            {"state": VMState.REQUESTED},
            {},
            [
                "The cloud has accepted it, and is to make its server active: it has 8 min left for that, until "
                "10:08 UTC (LaunchTimeout)."
            ],
        ),
        (
            {},
            {"boot": timedelta(minutes=4), "last": STEP},
            [
                "It came there because: Its server is active; its first word is awaited.",
                "Its first word is awaited: it has 13 min left for that, until 10:13 UTC (RegistrationTimeout).",
                "VMs of its type take 4 min to it: it is expected in about 1 min.",
            ],
        ),
        (
            {},
            {"boot": timedelta(minutes=1)},
            [
                "Its first word is awaited: it has 13 min left for that, until 10:13 UTC (RegistrationTimeout).",
                "VMs of its type take 1 min to it: it was expected 2 min ago.",
            ],
        ),
        (
            {"state": VMState.RUNNING, "running_at": ago(40)},
            {"pilot": PilotState.RUNNING},
            [
                "Its pilot is at work and has got no job yet: it has 13 min left for that, until 10:13 UTC "
                "(IdleTimeout).",
                "It may live until 2026-11-27 09:57 UTC (MaxLifetime).",
                "Its pilot cloud://x is Running; it has matched no job.",
            ],
        ),
        (
            {"state": VMState.RUNNING},
            {"pilot": PilotState.UNKNOWN},
            [
                "It spoke, and its pilot is to report: it has 13 min left for that, until 10:13 UTC "
                "(RegistrationTimeout).",
                "It may live until 2026-11-27 09:57 UTC (MaxLifetime).",
                "DIRAC knows no pilot cloud://x (yet).",
            ],
        ),
        (
            {"pilot_entered_at": ago(1)},
            {},
            ["Its first word is awaited: it has 14 min left for that, until 10:14 UTC (RegistrationTimeout)."],
        ),
        (
            {"pilot_entered_at": None},
            {},
            ["Its first word is awaited: its time begins when DIRAC knows its pilot (RegistrationTimeout)."],
        ),
        (
            {"state": VMState.RUNNING, "pilot_entered_at": ago(1), "first_word_at": ago(2)},
            {"pilot": PilotState.RUNNING},
            [
                "Its pilot is at work; DIRAC came to know it late, so it may have a job that was not counted.",
                "It may live until 2026-11-27 09:57 UTC (MaxLifetime).",
                "Its pilot cloud://x is Running; it has matched no job.",
            ],
        ),
        (
            {"state": VMState.RUNNING, "jobs": 2, "heartbeat_at": ago(1)},
            {},
            [
                "Its last heartbeat is 1 min old; after 15 min it is lost.",
                "It may live until 2026-11-27 09:57 UTC (MaxLifetime).",
                "Its pilot matched 2 jobs.",
            ],
        ),
        (
            {"state": VMState.RUNNING, "jobs": 1, "pilot_finished_at": ago(1)},
            {"pilot": PilotState.FINISHED, "levers": (lever(LeverKind.HOLD, vm=RECORD.vm_id),)},
            [
                "Its pilot has ended, and it is to switch itself off: it has 9 min left for that, until 10:09 UTC "
                "(PoweroffTimeout).",
                "It may live until 2026-11-27 09:57 UTC (MaxLifetime).",
                "Its pilot cloud://x is Finished; it matched 1 job.",
                "Lever 3, nothing ends it before: held by anna: disk migration.",
            ],
        ),
        (
            {"state": VMState.DRAINING, "jobs": 1},
            {
                "last": Transition(VMState.RUNNING, VMState.DRAINING, ago(2), "drained", "anna"),
                "levers": (lever(LeverKind.DRAIN, until=ago(-60)),),
            },
            [
                "It came there because: drained (by anna).",
                "It is to end, and may finish what it has: it has 23 h 58 min left for that, until "
                "2026-11-21 09:58 UTC (DrainTimeout).",
                "Its pilot matched 1 job.",
                "Lever 3, it is to end with what it has: drained by anna until 11:00 UTC: disk migration.",
            ],
        ),
        (
            {"state": VMState.DELETING, "outcome": Outcome.FIZZLED, "outcome_reason": "It stopped.", "code": 700},
            {},
            ["Its outcome is Fizzled (HSF 700): It stopped.", "Its server is to be gone from the cloud's list."],
        ),
        (
            {"state": VMState.ENDED, "outcome": Outcome.REJECTED, "outcome_reason": "no such image", "jobs": 0},
            {"last": STEP},
            ["Its outcome is Rejected: no such image."],
        ),
    ],
)
def test_a_vm_is_told_with_what_is_awaited_and_until_when(record, other, sentences):
    facts = VMFacts(replace(RECORD, **record), **other)
    first, *rest = why_vm(facts, NOW)
    assert (first, rest) == (HEAD % facts.record.state.value, sentences)


def test_a_vm_of_vacuum_mode_was_started_for_no_task_queue():
    told = why_vm(VMFacts(replace(RECORD, task_queue=0)), NOW)[0]
    assert told.endswith("4 cores, started to look for jobs (VacuumVMs) at 09:57 UTC.")


def test_a_delete_that_the_cloud_does_not_carry_out_is_told():
    record = replace(RECORD, state=VMState.DELETING, since=ago(60), outcome=Outcome.WORKED)
    assert list(why_vm(VMFacts(record), NOW))[1:] == [
        "Its outcome is Worked: no reason is recorded.",
        "The cloud still lists its server, 1 h after the delete: it is asked for again and again.",
    ]
