"""The sentences on a task queue, word for word."""

from dataclasses import replace
from datetime import timedelta

import pytest
from why_world import EL9, IS_FULL, LARGE, NO_ROOM, NOW, PAUSE, ago, hindrance, unmet

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Obstacle, Requirement, Wanted
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyTaskQueue import ComingVM, Fit, QueueFacts, why_task_queue

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
                "About 3 of its jobs are left to VMs at work: by their pace so far they take as many within the "
                "boot times that the director's TurnoverBoots allows.",
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
