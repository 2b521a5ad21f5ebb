"""Which servers of ours that no record knows are deleted."""

from dataclasses import replace

import pytest
from planner_world import GRIF, NOW, POLICY, ago, endpoint, snapshot

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, UnknownServer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

STRAY = UnknownServer("s1", "vm1", "belle", 1, seen=2, created_at=ago(6))


def collected(*unknown, policy=POLICY, watching_since=None, **of_endpoint):
    where = endpoint(unknown=unknown, **of_endpoint)
    plan = plan_cycle(snapshot(where, watching_since=watching_since), policy, NOW)
    return [collect.server_id for collect in plan.collects]


def test_a_server_that_no_record_knows_is_deleted_and_told_of():
    (collect,) = plan_cycle(snapshot(endpoint(unknown=(STRAY,))), POLICY, NOW).collects
    assert (collect.endpoint, collect.server_id, collect.vm) == (GRIF, "s1", "vm1")
    assert "2026-11-20 09:54 UTC" in collect.reason and "belle" in collect.reason


@pytest.mark.parametrize("missed_listings", [1, 2])
def test_it_takes_two_listings_whatever_the_policy_says(missed_listings):
    policy = replace(POLICY, missed_listings=missed_listings)
    assert collected(replace(STRAY, seen=1), policy=policy) == []
    assert collected(STRAY, policy=policy) == ["s1"]


def test_a_policy_may_want_more_listings():
    policy = replace(POLICY, missed_listings=3)
    assert collected(STRAY, policy=policy) == []
    assert collected(replace(STRAY, seen=3), policy=policy) == ["s1"]


def test_a_young_server_is_left_alone():
    assert collected(replace(STRAY, created_at=ago(4))) == []
    assert collected(replace(STRAY, created_at=ago(-60))) == [], "a clock was set back"


def test_a_server_of_unknown_age_is_as_old_as_the_directors_watch():
    ageless = replace(STRAY, created_at=None, seen=99)
    assert collected(ageless) == []
    assert collected(ageless, watching_since=ago(4)) == []
    assert collected(ageless, watching_since=ago(6)) == ["s1"]


@pytest.mark.parametrize("pilot", [PilotState.RUNNING, PilotState.NOT_ASKED])
def test_a_server_whose_pilot_may_be_at_work_is_left_alone_until_it_is_too_old(pilot):
    working = replace(STRAY, pilot=pilot)
    assert collected(replace(working, created_at=ago(60 * 24 * 7 - 1))) == []
    assert collected(replace(working, created_at=ago(60 * 24 * 7 + 1))) == ["s1"]
    assert collected(replace(working, created_at=None), watching_since=ago(60 * 24 * 30)) == []


@pytest.mark.parametrize("pilot", [PilotState.UNKNOWN, PilotState.WAITING, PilotState.FINISHED])
def test_a_server_whose_pilot_is_not_at_work_is_not_spared(pilot):
    assert collected(replace(STRAY, pilot=pilot)) == ["s1"]


@pytest.mark.parametrize("doubt", [{"servers": None}, {"suspect_since": ago(1)}, {"suspect_since": ago(600)}])
def test_a_list_that_is_not_believed_has_nothing_deleted(doubt):
    assert collected(STRAY, **doubt) == []


def test_so_many_are_deleted_at_a_time_the_oldest_first():
    strays = [replace(STRAY, id=f"s{number:02}", created_at=ago(60 + number)) for number in range(25)]
    ageless = replace(STRAY, id="a", created_at=None)
    chosen = collected(ageless, *strays, watching_since=ago(60))
    assert chosen == [f"s{number:02}" for number in range(24, 4, -1)]
