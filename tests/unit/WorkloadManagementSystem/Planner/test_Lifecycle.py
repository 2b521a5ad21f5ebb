"""What becomes of a VM record."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import (
    GRIF,
    NAPOLI,
    NOW,
    POLICY,
    ago,
    endpoint,
    seen,
    server,
    snapshot,
    task_queue,
    vm,
    vm_type,
)

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Delete, Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import assess
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import TRANSITIONS, is_allowed
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    EndReport,
    Outcome,
    PilotState,
    ServerState,
    ServerView,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch, is_suspect

WITH_SERVER = [VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING]


def decide(machine, state=None, *, fault="", servers=None, now=NOW, of_endpoint=None, **of_snapshot):
    """The one decision on this VM whose server is in that state (None: not listed)."""
    if servers is None:
        servers = () if state is None else (server(machine, state, fault=fault),)
    where = endpoint(servers=servers, **(of_endpoint or {}))
    plan = plan_cycle(snapshot(where, vms=[machine], **of_snapshot), POLICY, now)
    decisions = plan.moves + plan.deletes
    assert len(decisions) <= 1
    return decisions[0] if decisions else None


def moves_to(decision, target):
    return not isinstance(decision, Delete) and decision is not None and decision.target is target


def deletes_as(decision, outcome):
    return isinstance(decision, Delete) and decision.outcome is outcome


def test_the_table_of_transitions_leads_from_intent_to_end_and_never_back_from_it():
    assert is_allowed(VMState.PLANNED, VMState.REQUESTED)
    assert is_allowed(VMState.DRAINING, VMState.RUNNING)
    assert not is_allowed(VMState.BOOTING, VMState.REQUESTED)
    assert not is_allowed(VMState.DELETING, VMState.RUNNING)
    assert all(source is not VMState.ENDED for source, _ in TRANSITIONS)
    assert all((state, VMState.ENDED) in TRANSITIONS for state in VMState if state is not VMState.ENDED)


@pytest.mark.parametrize("state", [state for state in VMState if state is not VMState.ENDED])
def test_a_failed_listing_changes_nothing_however_old_the_vm_is(state):
    old = vm(state=state, minutes=60 * 24 * 30, missed=9)
    plan = plan_cycle(snapshot(endpoint(servers=None), vms=[old]), POLICY, NOW)
    assert (plan.moves, plan.deletes) == ((), ())


@pytest.mark.parametrize("state", [VMState.PLANNED, *WITH_SERVER, VMState.DELETING])
def test_a_server_is_not_believed_gone_on_one_listing(state):
    assert decide(vm(state=state, minutes=60, missed=POLICY.missed_listings - 1)) is None


@pytest.mark.parametrize("state", WITH_SERVER)
def test_a_vm_whose_server_is_gone_vanished(state):
    move = decide(vm(state=state, missed=2))
    assert moves_to(move, VMState.ENDED) and move.outcome is Outcome.VANISHED
    assert "2 complete listings" in move.reason


@pytest.mark.parametrize(
    "known", [{"said": EndReport(300, "no more work")}, {"pilot": PilotState.FINISHED, "minutes": 60}]
)
def test_a_vm_that_had_ended_by_itself_did_not_vanish(known):
    move = decide(vm(state=VMState.RUNNING, missed=2, **known))
    assert move.outcome is Outcome.NO_WORK


# Planned


def test_an_intent_whose_server_exists_adopts_it():
    planned = vm(state=VMState.PLANNED, server_id="")
    move = decide(planned, servers=(ServerView("found", planned.id, ServerState.BUILDING),))
    assert moves_to(move, VMState.REQUESTED) and move.server_id == "found"


def test_an_intent_whose_server_is_active_already_is_booting():
    planned = vm(state=VMState.PLANNED, server_id="")
    move = decide(planned, servers=(ServerView("found", planned.id, ServerState.ACTIVE),))
    assert moves_to(move, VMState.BOOTING) and move.server_id == "found"


def test_an_intent_without_a_server_ends_only_after_it_could_settle():
    assert decide(vm(state=VMState.PLANNED, missed=2, minutes=1)) is None
    move = decide(vm(state=VMState.PLANNED, missed=2, minutes=3))
    assert moves_to(move, VMState.ENDED) and move.outcome is Outcome.FAILED_TO_START
    assert "never made" in move.reason


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING])
def test_a_server_in_error_before_its_first_word_failed_to_start(state):
    decision = decide(vm(state=state), ServerState.ERROR, fault="No valid host was found.")
    assert deletes_as(decision, Outcome.FAILED_TO_START) and "No valid host was found." in decision.reason


def test_of_two_servers_with_one_identity_the_recorded_one_counts():
    running = vm(state=VMState.REQUESTED, server_id="b")
    servers = (ServerView("a", running.id, ServerState.BUILDING), ServerView("b", running.id, ServerState.ACTIVE))
    assert decide(running, servers=servers).target is VMState.BOOTING


# Requested


def test_a_requested_vm_waits_for_its_server_until_the_launch_timeout():
    assert decide(vm(state=VMState.REQUESTED, minutes=9), ServerState.BUILDING) is None
    assert deletes_as(decide(vm(state=VMState.REQUESTED, minutes=11), ServerState.BUILDING), Outcome.FAILED_TO_START)


def test_a_paused_server_times_out_like_a_building_one():
    assert decide(vm(state=VMState.REQUESTED, minutes=9), ServerState.UNKNOWN) is None
    assert deletes_as(decide(vm(state=VMState.REQUESTED, minutes=11), ServerState.UNKNOWN), Outcome.FAILED_TO_START)


def test_an_active_server_boots_even_when_it_is_seen_late():
    assert moves_to(decide(vm(state=VMState.REQUESTED, minutes=600), ServerState.ACTIVE), VMState.BOOTING)


def test_a_requested_vm_that_reported_already_runs():
    assert moves_to(decide(vm(state=VMState.REQUESTED, spoke=True), ServerState.ACTIVE), VMState.RUNNING)


# Booting


@pytest.mark.parametrize(
    "life",
    [{"spoke": True}, {"pilot": PilotState.RUNNING}, {"pilot": PilotState.FINISHED}, {"jobs": 1}],
)
def test_a_booting_vm_that_shows_life_runs_however_late(life):
    assert moves_to(decide(vm(minutes=600, **life), ServerState.ACTIVE), VMState.RUNNING)


def test_a_booting_vm_is_given_up_after_the_registration_timeout():
    assert decide(vm(minutes=14), ServerState.ACTIVE) is None
    assert deletes_as(decide(vm(minutes=16), ServerState.ACTIVE), Outcome.NEVER_REPORTED)


def test_a_registered_pilot_that_waits_is_no_sign_of_life():
    assert deletes_as(decide(vm(minutes=16, pilot=PilotState.WAITING), ServerState.ACTIVE), Outcome.NEVER_REPORTED)


def test_a_silence_of_dirac_is_no_silence_of_the_vm():
    assert decide(vm(minutes=600, pilot=PilotState.NOT_ASKED), ServerState.ACTIVE) is None


# Running, Draining


@pytest.mark.parametrize("state", WITH_SERVER)
def test_a_stopped_server_is_deleted_with_why_it_ended(state):
    decision = decide(vm(state=state, jobs=2), ServerState.STOPPED)
    assert deletes_as(decision, Outcome.WORKED) and decision.code == 200
    assert (decision.server_id, decision.endpoint, decision.source) == ("s-vm1", GRIF, state)


@pytest.mark.parametrize("status", [ServerState.ACTIVE, ServerState.UNKNOWN])
def test_a_draining_vm_lives_until_its_greatest_lifetime(status):
    old = vm(state=VMState.DRAINING, minutes=60 * 24 * 7 - 1, since=ago(60), pilot=PilotState.RUNNING, jobs=1)
    assert decide(old, status) is None
    assert deletes_as(decide(replace(old, created_at=ago(60 * 24 * 7 + 1)), status), Outcome.EXPIRED)


@pytest.mark.parametrize("pilot", [PilotState.UNKNOWN, PilotState.WAITING])
def test_a_vm_that_said_hello_is_given_up_when_its_pilot_never_runs(pilot):
    hello = vm(state=VMState.RUNNING, minutes=14, spoke=True, pilot=pilot)
    assert decide(hello, ServerState.ACTIVE) is None
    decision = decide(replace(hello, since=ago(16)), ServerState.ACTIVE)
    assert deletes_as(decision, Outcome.NEVER_REPORTED)
    assert "said hello, but its pilot did not report within 15 min" in decision.reason


@pytest.mark.parametrize(
    "life",
    [{"pilot": PilotState.NOT_ASKED}, {"jobs": 1}, {"said": EndReport(300, "idle")}],
)
def test_a_running_vm_whose_pilot_may_work_is_not_given_up(life):
    assert decide(vm(state=VMState.RUNNING, minutes=600, spoke=True, **life), ServerState.ACTIVE) is None


def test_why_a_vm_stopped_waits_for_dirac_to_answer_but_not_for_ever():
    stopped = vm(state=VMState.RUNNING, minutes=14, spoke=True, pilot=PilotState.NOT_ASKED)
    assert decide(stopped, ServerState.STOPPED) is None
    assert deletes_as(decide(replace(stopped, since=ago(16)), ServerState.STOPPED), Outcome.NO_WORK)
    assert deletes_as(decide(replace(stopped, pilot=PilotState.FINISHED), ServerState.STOPPED), Outcome.NO_WORK)


def test_a_vm_that_told_why_it_stopped_does_not_wait_for_dirac():
    stopped = vm(state=VMState.RUNNING, spoke=True, pilot=PilotState.NOT_ASKED)
    assert deletes_as(decide(replace(stopped, jobs=1), ServerState.STOPPED), Outcome.WORKED)
    assert deletes_as(decide(replace(stopped, said=EndReport(600, "x")), ServerState.STOPPED), Outcome.FIZZLED)


def test_a_running_vm_in_error_that_did_not_end_by_itself_vanished():
    decision = decide(vm(state=VMState.RUNNING, jobs=1), ServerState.ERROR, fault="host down")
    assert deletes_as(decision, Outcome.VANISHED) and "host down" in decision.reason


@pytest.mark.parametrize(("jobs", "outcome"), [(1, Outcome.WORKED), (0, Outcome.NO_WORK)])
def test_a_vm_that_does_not_switch_itself_off_is_deleted(jobs, outcome):
    done = vm(state=VMState.RUNNING, minutes=60, jobs=jobs, pilot=PilotState.FINISHED, pilot_finished_at=ago(11))
    decision = decide(done, ServerState.ACTIVE)
    assert deletes_as(decision, outcome) and "did not switch itself off within 10 min" in decision.reason
    assert decide(replace(done, pilot_finished_at=ago(9)), ServerState.ACTIVE) is None


# Deleting, Ended


def test_a_delete_is_repeated_until_the_server_is_gone_and_keeps_its_outcome():
    stored = {"outcome": Outcome.KILLED, "outcome_reason": "asked by an operator", "outcome_code": 100}
    deleting = vm(state=VMState.DELETING, minutes=600, **stored)
    again = decide(deleting, ServerState.ACTIVE)
    assert (again.outcome, again.reason, again.code) == (Outcome.KILLED, "asked by an operator", 100)
    gone = decide(replace(deleting, missed=2))
    assert moves_to(gone, VMState.ENDED)
    assert (gone.outcome, gone.reason, gone.code) == (Outcome.KILLED, "asked by an operator", 100)


def test_a_repeated_delete_does_not_wait_for_dirac():
    deleting = vm(state=VMState.DELETING, outcome=Outcome.KILLED, pilot=PilotState.NOT_ASKED)
    assert deletes_as(decide(deleting, ServerState.STOPPED), Outcome.KILLED)


def test_a_server_that_appears_after_its_record_ended_is_deleted():
    ended = vm(state=VMState.ENDED, outcome=Outcome.FAILED_TO_START, outcome_reason="never made", missed=5)
    assert deletes_as(decide(ended, ServerState.BUILDING), Outcome.FAILED_TO_START)
    assert decide(ended) is None


CAME_BACK = vm(state=VMState.ENDED, outcome=Outcome.VANISHED, outcome_reason="gone", pilot=PilotState.RUNNING)


@pytest.mark.parametrize("pilot", [PilotState.RUNNING, PilotState.NOT_ASKED])
def test_a_server_that_came_back_with_its_pilot_at_work_is_left_to_finish(pilot):
    assert decide(replace(CAME_BACK, pilot=pilot), ServerState.ACTIVE) is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"pilot": PilotState.FINISHED}, ServerState.ACTIVE),
        ({"pilot": PilotState.UNKNOWN}, ServerState.ACTIVE),
        ({"said": EndReport(300, "idle")}, ServerState.ACTIVE),
        ({"created_at": ago(60 * 24 * 7 + 1)}, ServerState.ACTIVE),
        ({"outcome": Outcome.KILLED}, ServerState.ACTIVE),
        ({}, ServerState.STOPPED),
        ({}, ServerState.ERROR),
    ],
)
def test_a_server_that_came_back_without_work_is_deleted(change, status):
    assert isinstance(decide(replace(CAME_BACK, **change), status), Delete)


def test_a_server_that_is_no_records_is_left_alone():
    plan = plan_cycle(snapshot(endpoint(servers=(ServerView("x", "unknown", ServerState.STOPPED),))), POLICY, NOW)
    assert (plan.moves, plan.deletes) == ((), ())


# Time


@pytest.mark.parametrize("state", [VMState.PLANNED, *WITH_SERVER])
@pytest.mark.parametrize("status", [ServerState.BUILDING, ServerState.ACTIVE, ServerState.UNKNOWN])
def test_a_clock_set_back_deletes_nothing(state, status):
    finished = {"pilot": PilotState.FINISHED, "pilot_finished_at": NOW}
    for life in ({}, finished):
        decision = decide(vm(state=state, minutes=0, **life), status, now=NOW - timedelta(days=30))
        assert not isinstance(decision, Delete)


def test_a_pause_of_the_director_gives_booting_vms_their_time_again():
    frozen = vm(minutes=360)
    assert decide(frozen, ServerState.ACTIVE, watching_since=ago(1)) is None
    assert deletes_as(decide(frozen, ServerState.ACTIVE, watching_since=ago(16)), Outcome.NEVER_REPORTED)


def test_a_pause_of_one_endpoints_listings_gives_its_vms_their_time_again():
    def judged(of_director, of_endpoint):
        since = {"watching_since": of_endpoint}
        return decide(vm(minutes=360), ServerState.ACTIVE, of_endpoint=since, watching_since=of_director)

    assert judged(ago(600), ago(1)) is None
    assert judged(ago(1), ago(600)) is None
    assert judged(None, ago(1)) is None
    assert deletes_as(judged(ago(16), ago(17)), Outcome.NEVER_REPORTED)


def test_many_vms_are_judged_each_by_itself():
    plan = plan_cycle(seen(vm("a"), vm("b", minutes=16), vm("c", spoke=True)), POLICY, NOW)
    assert [delete.vm for delete in plan.deletes] == ["b"]
    assert [move.vm for move in plan.moves] == ["c"]


# Lists that lack most servers


@pytest.mark.parametrize(
    ("believed", "listed", "suspect"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, True),
        (2, 1, False),
        (3, 1, True),
        (4, 2, False),
        (5, 2, True),
        (5, 5, False),
    ],
)
def test_a_list_without_most_of_several_servers_is_suspect(believed, listed, suspect):
    assert is_suspect(set(range(believed)), {*range(listed), "another"}) is suspect


THREE = [vm(name, state=VMState.RUNNING, jobs=1, missed=9) for name in "abc"]


def plan_with(vms, *servers, suspect=10, queues=(), **of_snapshot):
    where = endpoint(servers=servers, suspect_since=ago(suspect))
    return plan_cycle(snapshot(where, vms=vms, queues=queues, **of_snapshot), POLICY, NOW)


@pytest.mark.parametrize("state", [VMState.PLANNED, *WITH_SERVER, VMState.DELETING])
def test_a_suspect_list_ends_no_vm_that_it_lacks(state):
    lost = [replace(each, state=state, since=ago(600), pilot=PilotState.UNKNOWN) for each in THREE]
    plan = plan_with(lost)
    assert (plan.moves, plan.deletes) == ((), ())


def test_on_a_suspect_list_what_it_holds_is_acted_upon():
    plan = plan_with(THREE, server(THREE[0], ServerState.STOPPED))
    assert [delete.vm for delete in plan.deletes] == ["a"] and plan.moves == ()


def test_a_list_that_stays_suspect_for_long_is_believed_but_only_while_somebody_looks():
    assert [move.outcome for move in plan_with(THREE, suspect=31).moves] == [Outcome.VANISHED] * 3
    assert plan_with(THREE, suspect=31, watching_since=ago(29)).moves == ()


def test_nothing_is_started_on_a_suspect_list_and_it_says_what_is_missing():
    plan = plan_with(THREE, server(THREE[0]), queues=[task_queue()])
    (unmet,) = plan.unmet
    assert plan.creates == () and unmet.limit is Limit.ENDPOINT_UNUSABLE
    assert "2 of 3 servers are missing from its list since 2026-11-20 09:50 UTC" in unmet.detail
    assert len(plan_with(THREE, suspect=31, queues=[task_queue()]).creates) == 1


# The cap of deletions


def capped(vms, number):
    where = [
        endpoint(key, servers=tuple(server(each) for each in vms if each.endpoint == key)) for key in (GRIF, NAPOLI)
    ]
    return [
        d.vm for d in plan_cycle(snapshot(*where, vms=vms), replace(POLICY, max_deletes_per_cycle=number), NOW).deletes
    ]


def test_no_more_servers_are_deleted_in_a_cycle_than_the_cap_allows_the_oldest_first():
    silent = [vm("a", minutes=20), vm("b", minutes=40), vm("c", minutes=30)]
    assert capped(silent, 2) == ["b", "c"]
    assert capped(silent, 3) == ["a", "b", "c"]


def test_the_cap_is_of_each_endpoint():
    assert capped([vm("a", minutes=20), vm("b", minutes=20, vm_type=vm_type(NAPOLI).key)], 1) == ["a", "b"]


def test_deletes_that_are_repeated_count_and_do_not_keep_the_others_waiting():
    stuck = [vm(name, state=VMState.DELETING, minutes=600, outcome=Outcome.KILLED) for name in "ab"]
    assert capped([*stuck, vm("c", minutes=20)], 2) == ["a", "c"]


# Why it ended

SAID = {code: EndReport(code, "its text") for code in (100, 200, 300, 400, 500, 600, 700)}


@pytest.mark.parametrize(
    ("known", "outcome", "code", "words"),
    [
        ({"jobs": 1}, Outcome.WORKED, 200, "It ran 1 job."),
        ({"jobs": 3, "said": SAID[300]}, Outcome.WORKED, 300, 'It ran 3 jobs. The VM said: 300 "its text"'),
        ({"jobs": 1, "said": SAID[100]}, Outcome.WORKED, 100, "its text"),
        ({"jobs": 1, "minutes": 1}, Outcome.WORKED, 200, "It ran 1 job."),
        ({"said": SAID[100]}, Outcome.NO_WORK, 100, "its text"),
        ({"said": SAID[200]}, Outcome.NO_WORK, 200, "its text"),
        ({"said": SAID[300]}, Outcome.NO_WORK, 300, "its text"),
        ({"said": SAID[300], "minutes": 1}, Outcome.NO_WORK, 300, "its text"),
        ({"said": SAID[400]}, Outcome.FIZZLED, 400, "its text"),
        ({"said": SAID[500]}, Outcome.FIZZLED, 500, "its text"),
        ({"said": SAID[600]}, Outcome.FIZZLED, 600, "its text"),
        ({"said": SAID[700]}, Outcome.FIZZLED, 700, "its text"),
        ({"minutes": 9}, Outcome.FIZZLED, 700, "within 10 min"),
        ({"minutes": 9, "spoke": True, "pilot": PilotState.FINISHED}, Outcome.FIZZLED, 700, "within 10 min"),
        ({}, Outcome.NEVER_REPORTED, 500, "neither it nor its pilot ever reported"),
        ({"pilot": PilotState.WAITING}, Outcome.NEVER_REPORTED, 500, "neither it nor its pilot ever reported"),
        ({"spoke": True}, Outcome.NO_WORK, 300, "matched no job"),
        ({"pilot": PilotState.FINISHED}, Outcome.NO_WORK, 300, "matched no job"),
    ],
)
def test_why_a_vm_ended(known, outcome, code, words):
    end = assess(vm(state=VMState.RUNNING, **{"minutes": 11, **known}), Watch(POLICY, NOW))
    assert (end.outcome, end.code) == (outcome, code)
    assert words in end.reason


def test_a_vm_switched_off_from_outside_while_its_pilot_works_has_vanished_whatever_it_ran_before():
    working = vm(state=VMState.RUNNING, jobs=1, pilot=PilotState.RUNNING)
    assert deletes_as(decide(working, ServerState.STOPPED), Outcome.VANISHED)
    assert deletes_as(decide(replace(working, pilot=PilotState.FINISHED), ServerState.STOPPED), Outcome.WORKED)
    assert deletes_as(decide(replace(working, said=EndReport(200, "done")), ServerState.STOPPED), Outcome.WORKED)
