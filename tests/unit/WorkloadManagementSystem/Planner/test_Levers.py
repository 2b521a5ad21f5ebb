"""What operators' levers make of a snapshot."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import GRIF, NAPOLI, NOW, ago, endpoint, key, lever, snapshot, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import apply_levers, draining, pausing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, Lever, LeverKind

LATER = NOW + timedelta(hours=8)
AT_GRIF = {"site": GRIF.site}
AT_CE = {"site": GRIF.site, "ce": GRIF.ce}
AT_QUEUE = {**AT_CE, "queue": "small"}
AT_GRIF_ALL = ("CLOUD.GRIF.fr/grif/small", "CLOUD.GRIF.fr/grif/large")


def override(option: str, value: float | None, id: int = 1, **other) -> Lever:
    return lever(LeverKind.OVERRIDE, id, option=option, value=value, **other)


def world(*levers: Lever, **other):
    """GRIF with two VM types, Napoli with one, and a VM of belle and one of t2k.org at each."""
    grif = endpoint(GRIF, vm_type(GRIF, "small"), vm_type(GRIF, "large", 8), max_cores=16)
    vms = [vm("g1"), vm("g2", vo="t2k.org", vm_type=key(GRIF, "large")), vm("n1", vm_type=key(NAPOLI))]
    return snapshot(grif, endpoint(NAPOLI), vms=vms, levers=levers, **other)


def drained(snapshot) -> set[str]:
    """The VM types of which none is started for any VO, and the VMs that take no new payload."""
    keys = [one.key for where in snapshot.endpoints for one in where.vm_types]
    stopped = {str(key) for key in keys if draining(snapshot.levers, key, "hyperk.org", NOW)}
    return stopped | {machine.id for machine in snapshot.vms if machine.drain}


@pytest.mark.parametrize(
    ("place", "covered"),
    [
        (AT_GRIF, {*AT_GRIF_ALL, "g1", "g2"}),
        (AT_CE, {*AT_GRIF_ALL, "g1", "g2"}),
        (AT_QUEUE, {"CLOUD.GRIF.fr/grif/small", "g1"}),
        ({}, {*AT_GRIF_ALL, "VCYCLE.Napoli.it/napoli/small", "g1", "g2", "n1"}),
        ({"vo": "belle"}, {"g1", "n1"}),
        ({"vo": "BELLE", **AT_GRIF}, {"g1"}),
        ({"vo": "t2k.org", **AT_QUEUE}, set()),
        ({"site": "CLOUD.Nowhere.fr"}, set()),
        ({"site": NAPOLI.site, "ce": GRIF.ce}, set()),
    ],
)
def test_a_drain_covers_what_it_names_and_no_more(place, covered):
    assert drained(apply_levers(world(lever(**place)), NOW)) == covered


@pytest.mark.parametrize(
    ("until", "text"),
    [
        (None, "drained by anna: disk migration"),
        (LATER, "drained by anna until 18:00 UTC: disk migration"),
        (LATER + timedelta(days=1), "drained by anna until 2026-11-21 18:00 UTC: disk migration"),
    ],
)
def test_the_text_says_who_and_why_and_until_when(until, text):
    drained = apply_levers(world(lever(until=until, **AT_CE)), NOW).vms[0]
    assert drained.drain == text


def test_a_lever_without_a_reason_ends_with_the_name():
    assert told(lever(LeverKind.HOLD, why=""), NOW) == "held by anna"


def test_a_hold_keeps_one_vm():
    after = apply_levers(world(lever(LeverKind.HOLD, vm="g2", until=LATER, why="its disk")), NOW)
    assert {machine.id: machine.held for machine in after.vms if machine.held} == {
        "g2": "held by anna until 18:00 UTC: its disk"
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"MaxVMs": 5}, Bounds(max_vms=5, max_cores=16)),
        ({"MaxCores": 8, "SoftMaxVMs": 2, "SoftMaxCores": 4}, Bounds(None, 8, 2, 4)),
        ({"MaxCores": None}, Bounds()),
    ],
)
def test_an_override_puts_another_value_in_the_place_of_a_limit(options, expected):
    levers = [override(option, value, id, **AT_CE) for id, (option, value) in enumerate(options.items())]
    grif, napoli = apply_levers(world(*levers), NOW).endpoints
    assert (grif.bounds, napoli.bounds) == (expected, Bounds())


def test_an_override_of_a_vm_type_leaves_its_endpoint_and_the_others_alone():
    (grif, _) = apply_levers(world(override("MaxVMs", 1, **AT_QUEUE)), NOW).endpoints
    assert [one.bounds.max_vms for one in (grif, *grif.vm_types)] == [None, 1, None]


def test_an_override_for_a_vo_is_everywhere_or_at_the_place_it_names():
    levers = [override("MaxCores", 4, 1, vo="belle"), override("MaxVMs", 2, 2, vo="t2k.org", **AT_GRIF)]
    after = apply_levers(world(*levers), NOW)
    assert after.vo_bounds == {"belle": Bounds(max_cores=4)}
    assert [one.vo_bounds for one in after.endpoints] == [{"t2k.org": Bounds(max_vms=2)}, {}]


def test_a_share_is_set_or_taken_away_at_its_endpoint():
    before = world(override("Share", 70, 1, vo="belle", **AT_CE), override("Share", None, 2, vo="t2k.org", **AT_CE))
    grif, napoli = before.endpoints
    before = replace(before, endpoints=(replace(grif, shares={"belle": 50, "T2K.org": 50}), napoli))
    assert [one.shares for one in apply_levers(before, NOW).endpoints] == [{"belle": 70}, {}]


def test_an_override_that_names_a_vm_changes_no_limit():
    before = world()
    assert replace(apply_levers(world(override("MaxVMs", 1, vo="belle", vm="g1")), NOW), levers=()) == before


def test_of_two_overrides_of_one_option_the_later_counts():
    first, second = override("MaxVMs", 5, 1, **AT_CE), override("MaxVMs", 9, 2, **AT_GRIF)
    for order in ([first, second], [second, first]):
        assert apply_levers(world(*order), NOW).endpoints[0].bounds.max_vms == 9
    late = replace(first, since=ago(1))
    assert apply_levers(world(late, second), NOW).endpoints[0].bounds.max_vms == 5


def test_of_two_drains_the_later_tells_its_reason():
    levers = [lever(id=1, **AT_CE), lever(id=2, who="bert", why="new image", **AT_GRIF)]
    after = apply_levers(world(*levers), NOW)
    assert after.vms[0].drain == "drained by bert: new image"


def test_a_pause_changes_no_value_and_tells_its_reason():
    before = world(lever(LeverKind.PAUSE, until=LATER))
    assert apply_levers(before, NOW) is before
    assert told(pausing(before.levers, NOW), NOW) == "paused by anna until 18:00 UTC: disk migration"
    assert pausing(before.levers, LATER) is None
    assert pausing([lever(**AT_CE)], NOW) is None


def test_without_a_lever_that_stands_the_snapshot_is_the_same_object():
    for before in (world(), world(lever(until=NOW, **AT_CE))):
        assert apply_levers(before, NOW) is before
