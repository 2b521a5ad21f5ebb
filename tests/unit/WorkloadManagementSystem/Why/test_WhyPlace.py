"""The sentences on an endpoint and on everything, word for word."""

import pytest
from why_world import EL9, FULL, GRIF, IS_FULL, LARGE, NO_ROOM, NOW, PAUSE, SO, hindrance, lever, unmet

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, EndpointKey, LeverKind, VMState
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyPlace import PlaceFacts, QueueLine, why_everything, why_place

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
