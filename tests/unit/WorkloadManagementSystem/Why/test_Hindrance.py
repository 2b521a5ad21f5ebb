"""What stops VMs, word for word: its numbers, where it is set, what is left and since when."""

from datetime import timedelta

import pytest
from why_world import GRIF_CS, IS_FULL, NOW, SO, hindrance, lever, set_by

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import why_hindered


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
            hindrance(Limit.CANARY, "CLOUD.GRIF.fr/grif/el9 for belle: its context changed (el9@3f2a91c0)"),
            (),
            "CLOUD.GRIF.fr/grif/el9 for belle: its context changed (el9@3f2a91c0) "
            f"('dirac-admin-cloud vms --all' shows which VM ran which version); {SO}",
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
