"""Operators' levers and drained places: nothing is started there."""

from datetime import timedelta

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, endpoint, key, lever, snapshot, task_queue

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import draining
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle


def plan(*levers, **other):
    return plan_cycle(snapshot(endpoint(**other), queues=[task_queue()], levers=levers), POLICY, NOW)


def test_a_pause_stops_every_create_and_tells_who_and_why():
    result = plan(lever(LeverKind.PAUSE, until=NOW + timedelta(minutes=5)))
    assert result.creates == ()
    (stop,) = result.stops
    assert (stop.limit, stop.left) == (Limit.PAUSED, timedelta(minutes=5))
    assert stop.detail == "creation is paused by anna until 10:05 UTC: disk migration"


@pytest.mark.parametrize("kind", [LeverKind.PAUSE, LeverKind.DRAIN])
def test_a_lever_that_is_over_stops_nothing(kind):
    assert len(plan(lever(kind, until=NOW)).creates) == 1


@pytest.mark.parametrize("kind", [LeverKind.HOLD, LeverKind.OVERRIDE])
def test_other_levers_stop_nothing(kind):
    assert len(plan(lever(kind)).creates) == 1


def test_a_pause_without_an_end_outlasts_one_with():
    first = plan(lever(LeverKind.PAUSE, until=NOW + timedelta(minutes=5)), lever(LeverKind.PAUSE)).stops[0]
    assert first.left is None


@pytest.mark.parametrize(
    ("where", "covered"),
    [
        ({"site": GRIF.site}, True),
        ({"ce": GRIF.ce, "queue": "small"}, True),
        ({"vo": "BELLE"}, True),
        ({"site": GRIF.site, "vo": "belle"}, True),
        ({"site": NAPOLI.site, "vo": "belle"}, False),
        ({"queue": "other"}, False),
        ({"vo": "t2k.org"}, False),
        ({"vm": "vm1"}, False),
    ],
)
def test_a_drain_covers_what_its_fields_name(where, covered):
    assert (draining([lever(**where)], key(), "belle", NOW) is not None) == covered
    result = plan(lever(**where))
    assert (result.creates == ()) == covered
    if covered:
        assert [unmet.limit for unmet in result.unmet] == [Limit.DRAINED]
        assert "grif/small for belle: drained by anna: disk migration" in result.unmet[0].detail


def test_a_drained_endpoint_or_vm_type_starts_nothing_and_others_take_over():
    both = {key(GRIF), key(NAPOLI)}
    for drain in (lever(site=GRIF.site, ce=GRIF.ce), lever(site=GRIF.site, ce=GRIF.ce, queue="small")):
        alone = plan(drain)
        assert [unmet.limit for unmet in alone.unmet] == [Limit.DRAINED]
        two = snapshot(endpoint(GRIF), endpoint(NAPOLI), queues=[task_queue(matches=both)], levers=[drain])
        other = plan_cycle(two, POLICY, NOW)
        assert [create.vm_type for create in other.creates] == [key(NAPOLI)]
