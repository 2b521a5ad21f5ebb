"""The sentences, word for word: tables of cases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from why_world import EL9, FULL, LARGE, NOW, OPTIONS, ago, lever, unmet

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, Transition, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    EndpointKey,
    LeverKind,
    Outcome,
    PilotState,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance, why_hindered
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Obstacle, Requirement, Wanted
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyJob import JobFacts, why_job
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyPlace import PlaceFacts, QueueLine, why_everything, why_place
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyTaskQueue import ComingVM, Fit, QueueFacts, why_task_queue
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyVM import VMFacts, why_vm
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import listed, moment, number, sentence

GRIF = EL9.endpoint
GRIF_CS = "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif"
PAUSE = lever(LeverKind.PAUSE, 1, until=ago(-120), why="new release")


def hindrance(limit: Limit = Limit.ENDPOINT_MAX_VMS, detail: str = FULL, **other) -> Hindrance:
    values = {"vm_type": EL9, "since": ago(12), "option": OPTIONS.get(detail, "")}
    return Hindrance(limit, detail, "belle", ago(0.5), **values | other)


def set_by(option: str, limit: Limit, text: str, **other) -> Hindrance:
    return hindrance(limit, f"{text}; option {option}", option=option, **other)


SO = "so for 12 min, since 09:48 UTC"
NO_ROOM = f"MaxVMs 4 reached (4 in use) ({GRIF_CS}/MaxVMs); {SO}"
IS_FULL = f"CLOUD.GRIF.fr/grif: MaxVMs 4 reached (4 in use) ({GRIF_CS}/MaxVMs); {SO}"


# Words


def test_small_words():
    assert (number(1, "VM"), number(2, "VM")) == ("1 VM", "2 VMs")
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["none", "a", "a, b and c"]
    assert (moment(NOW, NOW), moment(ago(24 * 60), NOW)) == ("10:00 UTC", "2026-11-19 10:00 UTC")
    assert (sentence("so"), sentence("so.")) == ("so.", "so.")


# What binds


@pytest.mark.parametrize(
    ("one", "levers", "text"),
    [
        (hindrance(), (), IS_FULL),
        (
            hindrance(at_least=True),
            (),
            f"CLOUD.GRIF.fr/grif: MaxVMs 4 reached (4 in use) ({GRIF_CS}/MaxVMs); so for 12 min at least",
        ),
        (
            hindrance(),
            (lever(LeverKind.OVERRIDE, site="CLOUD.GRIF.fr", ce="grif", option="MaxVMs", value=4),),
            f"CLOUD.GRIF.fr/grif: MaxVMs 4 reached (4 in use) ({GRIF_CS}/MaxVMs; set by anna: disk migration, "
            f"lever 3); {SO}",
        ),
        (
            set_by("CEs/grif/Queues/el9/MaxCores", Limit.VM_TYPE_MAX_CORES, "full"),
            (lever(LeverKind.OVERRIDE, site="CLOUD.GRIF.fr", ce="grif", option="MaxCores", value=4),),
            f"full ({GRIF_CS}/Queues/el9/MaxCores); {SO}",
        ),
        (
            set_by("Operations/belle/Cloud/MaxVMs", Limit.VO_MAX_VMS, "full"),
            (lever(LeverKind.OVERRIDE, vo="belle", option="MaxVMs", value=4),),
            f"full (/Operations/belle/Cloud/MaxVMs; set by anna: disk migration, lever 3); {SO}",
        ),
        (
            hindrance(Limit.BACKOFF, "the last VM ended Fizzled", left=timedelta(seconds=100)),
            (),
            f"the last VM ended Fizzled; 1 min 10 s left ('dirac-admin-cloud vms --all' shows what they came to); {SO}",
        ),
        (
            set_by("CloudDirector/NoRoomPause", Limit.NO_ROOM, "no room", left=timedelta(seconds=10)),
            (),
            f"no room; it is over by now (/Systems/WorkloadManagement/Agents/CloudDirector/NoRoomPause); {SO}",
        ),
        (
            hindrance(Limit.DRAINED, "drained by anna"),
            (),
            f"drained by anna ('dirac-admin-cloud levers' lists it, 'undrain' ends it); {SO}",
        ),
        (
            hindrance(Limit.ENDPOINT_UNUSABLE, "site is Banned."),
            (),
            f"site is Banned ('dirac-admin-cloud check CLOUD.GRIF.fr/grif' tells more); {SO}",
        ),
        (
            hindrance(detail="A/a: full; option CEs/a/MaxVMs; B/b: full; option CEs/b/MaxVMs"),
            (),
            f"A/a: full; option CEs/a/MaxVMs; B/b: full; option CEs/b/MaxVMs; {SO}",
        ),
        (hindrance(Limit.NO_MATCHING_VM_TYPE, "no VM type takes it", vm_type=None), (), f"no VM type takes it; {SO}"),
    ],
)
def test_a_limit_is_told_with_its_numbers_where_it_is_set_what_is_left_and_since_when(one, levers, text):
    assert why_hindered(one, levers, NOW) == text


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ("CLOUD.GRIF.fr/grif: full", "full"),
        ("CLOUD.GRIF.fr/grif for belle: full", "full"),
        ("CLOUD.GRIF.fr/grif/el9 for belle: drained: so be it", "drained: so be it"),
        ("belle everywhere: full", "belle everywhere: full"),
        ("full", "full"),
    ],
)
def test_a_place_that_the_sentence_has_named_is_not_named_again(detail, text):
    assert why_hindered(hindrance(detail=detail), (), NOW, named=True) == f"{text}; {SO}"


# Jobs


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


# Task queues


WANTED = Wanted("belle", "belle_user", 600)
QUEUE = QueueFacts(7, WANTED, 5, planned=True, answer=Answer(7, "belle", 5, 1))
JOBS = "Task queue 7 of belle: 5 jobs wait, each of 1 processor, 5 cores in all."
ENOUGH = "Nothing stops the rest: what is coming is enough for all its jobs."


def coming(vm: str, state: VMState = VMState.BOOTING, minutes: float = 1, boot: float | None = None) -> ComingVM:
    return ComingVM(vm, EL9, state, ago(minutes), None if boot is None else timedelta(minutes=boot))


@pytest.mark.parametrize(
    ("facts", "sentences"),
    [
        (QueueFacts(7, None, 0), ["There is no task queue 7, or it is empty: its jobs were taken, or it never was."]),
        (
            replace(QUEUE, wanted=None, jobs=None, planned=False),
            ["Task queue 7 of belle, as the last plan saw it: 5 jobs wait, each of 1 processor, 5 cores in all."],
        ),
        (
            QueueFacts(
                7,
                replace(
                    WANTED,
                    sites=frozenset({"A", "B"}),
                    banned_sites=frozenset({"C"}),
                    tags=frozenset({"4Processors", "MultiProcessor", "GPU"}),
                ),
                1,
            ),
            ["Task queue 7 of belle: 1 job waits, of 4 processors (at A and B; not at C; with the tag GPU)."],
        ),
        (
            replace(QUEUE, answer=None),
            [JOBS, "The last plan does not know this task queue: it is new, or no VM type matches it."],
        ),
        (
            replace(QUEUE, answer=Answer(7, "belle", 5, 1, jobs_from_running=3.2)),
            [
                JOBS,
                "About 3 of its jobs are left to VMs at work: by their pace so far they take as many before a VM "
                "that is started now has booted.",
                ENOUGH,
            ],
        ),
        (QUEUE, [JOBS, "The last plan found nothing left to do for it: VMs that run already are to take its jobs."]),
        (
            replace(QUEUE, levers=(PAUSE,)),
            [
                JOBS,
                "No VM is started anywhere: paused by anna until 12:00 UTC: new release.",
                "The last plan found nothing left to do for it: VMs that run already are to take its jobs.",
            ],
        ),
        (
            replace(QUEUE, coming=(coming("a", boot=1.5), coming("b", VMState.REQUESTED, 0.5, boot=1.5), coming("c"))),
            [
                JOBS,
                "3 VMs are on their way for it at CLOUD.GRIF.fr/grif/el9 (2 Booting, 1 Requested); the first word is "
                "expected in about 30 s.",
                ENOUGH,
            ],
        ),
        (
            replace(QUEUE, coming=(coming("a", minutes=3, boot=2),)),
            [
                JOBS,
                "1 VM is on its way for it at CLOUD.GRIF.fr/grif/el9 (1 Booting); the first word was expected "
                "1 min ago.",
                ENOUGH,
            ],
        ),
        (
            replace(QUEUE, coming=(coming("a"),), answer=Answer(7, "belle", 5, 1, ("a", "b"), 1.3)),
            [
                JOBS,
                "1 VM is on its way for it at CLOUD.GRIF.fr/grif/el9 (1 Booting); how long such a VM takes to its "
                "first word is not known yet.",
                "The plan counts on them for 1.3 of its jobs: not every VM of that kind has come up lately.",
                ENOUGH,
            ],
        ),
        (
            replace(QUEUE, answer=Answer(7, "belle", 5, 1, started={LARGE: 1, EL9: 2})),
            [
                JOBS,
                "The last plan started 3 VMs for it: 2 of CLOUD.GRIF.fr/grif/el9 and 1 of CLOUD.GRIF.fr/grif/large.",
                ENOUGH,
            ],
        ),
        (
            replace(QUEUE, unmet=((unmet(cores=1), hindrance()),), stops=(hindrance(),)),
            [
                JOBS,
                f"1 core of it gets nothing: {IS_FULL}.",
            ],
        ),
        (
            replace(
                QUEUE,
                unmet=((unmet(detail="a; b"), hindrance()),),
                stops=(hindrance(), hindrance(Limit.CLOUD_CORES, "16 of 16", vm_type=LARGE, at_least=True)),
            ),
            [
                JOBS,
                "2 cores of it get nothing, so for 12 min, since 09:48 UTC: MaxVMs.",
                f"CLOUD.GRIF.fr/grif/el9: {NO_ROOM}.",
                "CLOUD.GRIF.fr/grif/large: 16 of 16 (the cloud's own quota; use by others counts); so for 12 min "
                "at least.",
            ],
        ),
    ],
)
def test_a_task_queue_is_told_with_what_is_wanted_coming_started_and_stopped(facts, sentences):
    assert list(why_task_queue(facts, NOW)) == sentences


def test_a_queue_that_no_plan_knows_is_new_where_a_vm_type_matches_it():
    told = [
        tuple(why_task_queue(replace(QUEUE, answer=None, fits=(Fit(EL9, (), fits),)), NOW))[1] for fits in (True, False)
    ]
    assert told == ["The last plan does not know this task queue yet.", "The VM type does not match."]


TOO_SMALL = (Obstacle(Requirement.PROCESSORS, "the jobs want 4 processors, it offers 1"),)
OTHER_VO = (Obstacle(Requirement.VO, "the jobs are belle's, it serves t2k.org"),)


@pytest.mark.parametrize(
    ("fits", "sentences"),
    [
        ((Fit(EL9, (), True),), ["Of 1 VM type, 1 matches: CLOUD.GRIF.fr/grif/el9."]),
        (
            (Fit(EL9, TOO_SMALL, False), Fit(LARGE, (), True)),
            [
                "Of 2 VM types, 1 matches: CLOUD.GRIF.fr/grif/large.",
                "CLOUD.GRIF.fr/grif/el9: the jobs want 4 processors, it offers 1.",
            ],
        ),
        (
            (Fit(EL9, TOO_SMALL, False), Fit(LARGE, OTHER_VO, True)),
            [
                "None of the 2 VM types matches.",
                "CLOUD.GRIF.fr/grif/el9: the jobs want 4 processors, it offers 1.",
                "CLOUD.GRIF.fr/grif/large: the jobs are belle's, it serves t2k.org.",
            ],
        ),
        (
            (Fit(EL9, TOO_SMALL, True),),
            [
                "Of 1 VM type, 1 matches: CLOUD.GRIF.fr/grif/el9.",
                "CLOUD.GRIF.fr/grif/el9: the Matcher does take these jobs, which counts, although by its rules as they "
                "are known here it should not: the jobs want 4 processors, it offers 1.",
            ],
        ),
        (
            (Fit(EL9, (), False),),
            [
                "The VM type does not match.",
                "CLOUD.GRIF.fr/grif/el9: every requirement that is known here is met, and the Matcher refuses all the "
                "same, which counts: see RunningLimit and MatchingDelay of the site in /Operations/…/JobScheduling.",
            ],
        ),
        (
            (Fit(EL9, TOO_SMALL, None, "refused"), Fit(LARGE, (), None, "refused")),
            [
                "Of 2 VM types, 1 matches: CLOUD.GRIF.fr/grif/large.",
                "CLOUD.GRIF.fr/grif/el9: the Matcher gave no answer (refused); by its rules as they are known here: "
                "the jobs want 4 processors, it offers 1.",
                "CLOUD.GRIF.fr/grif/large: the Matcher gave no answer (refused); by its rules it should match.",
            ],
        ),
    ],
)
def test_each_vm_type_is_told_with_the_requirement_and_the_matcher_counts(fits, sentences):
    facts = replace(QUEUE, fits=fits, planned=False)
    assert list(why_task_queue(facts, NOW))[1:] == sentences


# Virtual machines


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


# Places, and everything


IDLE = "In use: 0 VMs, 0 cores."
USABLE = "CLOUD.GRIF.fr/grif is usable: its site and its CE are Active."
NOBODY = "No director looks after it: none holds its lease."


def count(vo: str, vms: int, cores: int, state: VMState = VMState.RUNNING) -> Count:
    return Count(GRIF.site, GRIF.ce, vo, state, vms, cores)


@pytest.mark.parametrize(
    ("facts", "sentences"),
    [
        ({}, [USABLE, NOBODY, IDLE]),
        ({"unusable": "site X is Banned"}, ["CLOUD.GRIF.fr/grif is not usable: site X is Banned.", NOBODY, IDLE]),
        ({"unusable": None}, ["Whether CLOUD.GRIF.fr/grif is usable is not known now.", NOBODY, IDLE]),
        (
            {"problem": "MaxVMs: expected a number", "vm_types": (EL9,)},
            ["CLOUD.GRIF.fr/grif is disabled by its configuration: MaxVMs: expected a number.", NOBODY, IDLE],
        ),
        (
            {
                "holder": "host1/42",
                "bounds": Bounds(4, 16, 2, 8),
                "vo_bounds": {"t2k.org": Bounds(max_vms=1)},
                "shares": {"belle": 3, "t2k.org": 1},
                "counts": (count("belle", 2, 8), count("belle", 1, 4, VMState.BOOTING)),
            },
            [
                USABLE,
                "The director host1/42 looks after it.",
                "In use: 3 of 4 VMs, 12 of 16 cores (one at a time beyond 2 VMs and 8 cores).",
                "belle: 3 VMs, 12 cores; its share is 75 %.",
                "t2k.org: 0 of 1 VM, 0 cores; its share is 25 %.",
            ],
        ),
        (
            {"levers": (lever(LeverKind.DRAIN, site=GRIF.site, vo="belle"),)},
            [USABLE, NOBODY, "Lever 3: CLOUD.GRIF.fr for belle drained by anna: disk migration.", IDLE],
        ),
        (
            {"vm_types": (EL9, LARGE), "stops": (hindrance(),)},
            [
                USABLE,
                NOBODY,
                IDLE,
                f"CLOUD.GRIF.fr/grif/el9 for belle: {NO_ROOM}.",
                "Nothing was wanted of CLOUD.GRIF.fr/grif/large in the last plan.",
            ],
        ),
        (
            {"vm_types": (EL9, LARGE), "started": (LARGE,)},
            [
                USABLE,
                NOBODY,
                IDLE,
                "In the last plan nothing stopped CLOUD.GRIF.fr/grif/large.",
                "Nothing was wanted of CLOUD.GRIF.fr/grif/el9 in the last plan.",
            ],
        ),
        ({"vm_types": (EL9,), "started": None}, [USABLE, NOBODY, IDLE]),
        (
            {"vm_types": (EL9,), "seen": "its list cannot be had", "unusable": None},
            ["CLOUD.GRIF.fr/grif is not usable: its list cannot be had.", NOBODY, IDLE],
        ),
        (
            {"seen": "site X is Banned", "unusable": "site X is Banned"},
            ["CLOUD.GRIF.fr/grif is not usable: site X is Banned.", NOBODY, IDLE],
        ),
    ],
)
def test_an_endpoint_is_told_with_holder_levers_use_and_stops(facts, sentences):
    assert list(why_place(PlaceFacts(GRIF, **facts), NOW)) == sentences


@pytest.mark.parametrize(
    ("queues", "unusable", "levers", "planned", "sentences"),
    [
        ([], {}, (), True, ["Nothing waits: no task queue has jobs for any VM type."]),
        ([], {}, (), False, []),
        (
            [],
            {GRIF: "its site is Banned"},
            (PAUSE, lever(LeverKind.OVERRIDE, 4, option="MaxVMs", value=9, vo="belle")),
            True,
            [
                "No VM is started anywhere: paused by anna until 12:00 UTC: new release.",
                "Nothing waits: no task queue has jobs for any VM type.",
                "CLOUD.GRIF.fr/grif is not usable: its site is Banned.",
                "Lever 4: MaxVMs 9 for belle everywhere set by anna: disk migration.",
            ],
        ),
        (
            [
                QueueLine(7, "belle", 5, 2, 1, ((unmet(), hindrance()),)),
                QueueLine(9, "t2k.org", 1, coming=1),
                QueueLine(10, "belle", 1, unmet=((unmet(detail=f"{FULL}; other: full"), hindrance()),)),
                QueueLine(
                    8, "belle", None, unmet=((unmet(Limit.PAUSED, "paused", 1), hindrance(Limit.PAUSED, "paused")),)
                ),
            ],
            {},
            (),
            True,
            [
                "Task queue 9 of t2k.org: 1 job, 1 VM coming.",
                "Task queue 8 of belle; 1 core gets nothing, Paused: paused ('dirac-admin-cloud resume' ends it); "
                f"{SO}.",
                "Task queue 7 of belle: 5 jobs, 2 VMs coming, 1 VM just started; 2 cores get nothing, MaxVMs: "
                f"{IS_FULL}.",
                f"Task queue 10 of belle: 1 job; 2 cores get nothing, MaxVMs: {IS_FULL}; 'dirac-admin-cloud why "
                "tq:10' tells of the other VM types.",
            ],
        ),
    ],
)
def test_everything_is_told_in_one_sentence_each_the_shortest_first(queues, unusable, levers, planned, sentences):
    assert list(why_everything(queues, unusable, levers, planned, NOW)) == sentences


def test_levers_of_each_kind_are_told_with_what_they_are_about():
    at = EndpointKey("A", "a")
    levers = (
        lever(LeverKind.OVERRIDE, 1, site="A", ce="a", option="MaxCores", value=None),
        lever(LeverKind.OVERRIDE, 2, site="A", ce="a", vo="belle", option="Share", value=0.5),
        lever(LeverKind.DRAIN, 3),
        lever(LeverKind.PAUSE, 4),
        lever(LeverKind.HOLD, 5, vm="abc"),
        lever(LeverKind.OVERRIDE, 6, site="A", option="MaxVMs", value=5),
        lever(LeverKind.OVERRIDE, 7, option="MaxVMs", value=5),
        lever(LeverKind.OVERRIDE, 8, option="MaxVMs", value=5, vo="belle"),
    )
    told = why_place(PlaceFacts(at, levers=levers), NOW)[2:-1]
    assert list(told) == [
        "Lever 1: MaxCores without limit of A/a set by anna: disk migration.",
        "Lever 2: Share 0.5 of A/a for belle set by anna: disk migration.",
        "Lever 3: everything drained by anna: disk migration.",
        "Lever 4: all creation paused by anna: disk migration.",
        "Lever 5: VM abc held by anna: disk migration.",
        "Lever 6: MaxVMs 5 of each endpoint of A set by anna: disk migration.",
        "Lever 7: MaxVMs 5 of each endpoint set by anna: disk migration.",
        "Lever 8: MaxVMs 5 for belle everywhere set by anna: disk migration.",
    ]


def test_a_reason_that_a_vm_type_tells_is_not_told_of_its_vo_again():
    stop = hindrance(Limit.ENDPOINT_UNUSABLE, "no proxy")
    facts = PlaceFacts(GRIF, vm_types=(EL9,), stops=(stop,), refused={"belle": "no proxy", "t2k.org": "no proxy"})
    told = [line for line in why_place(facts, NOW) if "no proxy" in line]
    assert [line.partition(":")[0] for line in told] == ["t2k.org gets nothing", "CLOUD.GRIF.fr/grif/el9 for belle"]
