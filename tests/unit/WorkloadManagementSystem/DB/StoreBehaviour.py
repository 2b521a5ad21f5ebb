"""What a VirtualMachineStore does, whatever the database: run on SQLite by unit tests and on MariaDB by lab tests."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier

import pytest
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError

from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import CONSOLE_TAIL_BYTES, VM
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    BATCH,
    Step,
    StoreUnavailable,
    TransitionRefused,
    UnknownVM,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Count, CycleReport, Intent, Transition, Trial
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import TRANSITIONS
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState, VMTypeKey

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EL9 = VMTypeKey("CLOUD.GRIF.fr", "grif-cloud", "el9-4core")
NAPOLI = VMTypeKey("VCYCLE.Napoli.it", "napoli", "el9")


def intent(vm_id=None, vm_type=EL9, vo="belle", cores=4, version="el9@1"):
    vm_id = vm_id or uuid.uuid4().hex
    return Intent(vm_id, vm_type, vo, cores, 8192, 7, f"cloud://{vm_type.ce}/{vm_id}", "0" * 32, "el9", version)


def planned(store, at=NOW, **what):
    new = intent(**what)
    store.record_intents([new], at)
    return new.vm_id


def path_to(state):
    """The shortest way from Planned to a state, as the life cycle has it."""
    ways = {VMState.PLANNED: ()}
    while state not in ways:
        ways |= {b: (*ways[a], (a, b)) for a, b in sorted(TRANSITIONS) if a in ways and b not in ways}
    return ways[state]


def brought_to(store, state, outcome=Outcome.WORKED, at=NOW, **what):
    vm = planned(store, at, **what)
    for source, target in path_to(state):
        assert store.move(vm, source, target, at, "on its way", outcome=outcome)
    return vm


OLD, NEW = Trial(EL9, "belle", "el9@1"), Trial(EL9, "belle", "el9@2")


def worked(store, version, **what):
    """A VM of that version that had a job."""
    store.note(brought_to(store, VMState.RUNNING, version=version, **what), jobs=1)


def _on_table(store):
    return " ON VirtualMachines" if store._engine.dialect.name == "mysql" else ""


def at_once(*calls):
    """Make all the calls from threads of their own, at the same moment."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class StoreBehaviour:
    """Subclasses bring the fixture ``new_store``: each call gives a store with an engine of its own, as another
    process would have it; all of one test share a database that was empty."""

    @pytest.fixture
    def store(self, new_store):
        return new_store()

    # The tables

    def test_a_table_of_an_older_version_gets_what_it_lacks_and_loses_nothing(self, new_store):
        store = new_store()
        old = planned(store)
        with store._engine.begin() as connection:
            connection.execute(text(f"DROP INDEX ix_vm_version{_on_table(store)}"))
            for column in ("networks", "zone", "version"):
                connection.execute(text(f"ALTER TABLE VirtualMachines DROP COLUMN {column}"))
        newer = new_store()
        new = planned(newer, at=NOW + MINUTE)
        newer.note(new, zone="nova")
        assert {record.vm_id: (record.networks, record.zone, record.version) for record in newer.live()} == {
            old: ("", "", ""),
            new: ("", "nova", "el9@1"),
        }

    def test_a_table_of_an_older_version_gets_the_index_that_it_lacks(self, new_store):
        store = new_store()
        with store._engine.begin() as connection:
            connection.execute(text(f"DROP INDEX ix_vm_touched_at{_on_table(store)}"))
        assert "ix_vm_touched_at" in {
            index["name"] for index in inspect(new_store()._engine).get_indexes(VM.__tablename__)
        }

    # The installation

    def test_the_installation_is_the_same_for_every_process(self, new_store):
        uuids = {new_store().installation(), new_store().installation()}
        assert len(uuids) == 1
        assert uuid.UUID(uuids.pop())

    def test_processes_that_start_at_once_make_one_installation(self, new_store):
        uuids = at_once(*[lambda: new_store().installation()] * 4)
        assert len(set(uuids)) == 1
        assert new_store().installation() == uuids[0]

    # Intents

    def test_an_intent_is_recorded_as_planned(self, store):
        wanted = intent()
        store.record_intents([wanted], NOW)
        record = store.get(wanted.vm_id)
        assert (record.state, record.since, record.created_at) == (VMState.PLANNED, NOW, NOW)
        assert (record.vm_type, record.vo, record.cores, record.ram_mib) == (EL9, "belle", 4, 8192)
        assert (record.pilot_reference, record.pilot_stamp) == (wanted.pilot_reference, wanted.pilot_stamp)
        assert (record.task_queue, record.template, record.version) == (7, "el9", "el9@1")
        assert (record.outcome, record.server_id, record.jobs, record.ended_at) == (None, "", 0, None)

    def test_intents_are_recorded_all_or_none(self, store):
        one = intent()
        with pytest.raises(IntegrityError):
            store.record_intents([intent(), one, intent(vm_id=one.vm_id)], NOW)
        assert store.live() == ()

    def test_no_intents_are_no_work(self, store):
        store.record_intents([], NOW)
        assert store.live() == ()

    # Transitions

    @pytest.mark.parametrize("source", VMState)
    def test_every_step_of_the_life_cycle_is_taken_and_leaves_its_history_row(self, store, source):
        for target in [b for a, b in sorted(TRANSITIONS) if a is source]:
            vm = brought_to(store, source)
            before = store.history(vm)
            assert store.move(vm, source, target, NOW + MINUTE, "because", "adm", outcome=Outcome.WORKED)
            assert store.get(vm).state is target
            assert store.get(vm).since == NOW + MINUTE
            assert store.history(vm) == (*before, Transition(source, target, NOW + MINUTE, "because", "adm"))

    @pytest.mark.parametrize("source", VMState)
    def test_a_step_that_the_life_cycle_does_not_list_is_refused_and_changes_nothing(self, store, source):
        vm = brought_to(store, source)
        before = store.get(vm), store.history(vm)
        for target in VMState:
            if (source, target) not in TRANSITIONS:
                with pytest.raises(TransitionRefused, match=f"from {source.value} to {target.value}"):
                    store.move(vm, source, target, NOW + MINUTE, "no", outcome=Outcome.KILLED)
        assert (store.get(vm), store.history(vm)) == before

    def test_the_history_begins_with_the_intent(self, store):
        vm = planned(store)
        assert [(step.source, step.target, step.actor) for step in store.history(vm)] == [
            (None, VMState.PLANNED, "director")
        ]

    def test_a_move_from_a_state_that_was_left_changes_nothing(self, store):
        vm = brought_to(store, VMState.BOOTING)
        before = store.get(vm), store.history(vm)
        assert not store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW + MINUTE, "late", server_id="another")
        assert (store.get(vm), store.history(vm)) == before

    def test_of_two_directors_that_move_a_vm_at_once_one_succeeds(self, new_store):
        one, other = new_store(), new_store()
        for _ in range(20):
            vm = planned(one)
            won = at_once(
                lambda vm=vm: one.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "accepted", server_id="s-1"),
                lambda vm=vm: other.move(vm, VMState.PLANNED, VMState.DELETING, NOW, "too many"),
            )
            assert sorted(won) == [False, True]
            assert len(one.history(vm)) == 2
            assert one.get(vm).server_id == ("s-1" if won[0] else "")

    def test_the_facts_of_a_move_are_recorded_with_it(self, store):
        vm = planned(store)
        store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "ok", server_id="s-1", image="i-1", flavor="f-1")
        record = store.get(vm)
        assert (record.server_id, record.image, record.flavor) == ("s-1", "i-1", "f-1")

    def test_a_vm_does_not_end_without_an_outcome(self, store):
        vm = brought_to(store, VMState.DELETING, outcome=None)
        before = store.get(vm), store.history(vm)
        with pytest.raises(TransitionRefused, match="outcome"):
            store.move(vm, VMState.DELETING, VMState.ENDED, NOW, "gone")
        assert (store.get(vm), store.history(vm)) == before

    def test_a_vm_that_ends_keeps_the_outcome_that_was_decided(self, store):
        vm = brought_to(store, VMState.DELETING, Outcome.NO_WORK)
        store.move(vm, VMState.DELETING, VMState.ENDED, NOW + MINUTE, "gone")
        assert (store.get(vm).outcome, store.get(vm).ended_at) == (Outcome.NO_WORK, NOW + MINUTE)

    def test_running_since_is_the_first_time_it_ran(self, store):
        vm = brought_to(store, VMState.RUNNING)
        store.move(vm, VMState.RUNNING, VMState.DRAINING, NOW + MINUTE, "drain")
        store.move(vm, VMState.DRAINING, VMState.RUNNING, NOW + 2 * MINUTE, "needed after all")
        assert store.get(vm).running_at == NOW

    def test_a_pilot_is_entered_once(self, store):
        vm = planned(store)
        assert store.get(vm).pilot_entered_at is None
        for later in range(2):
            store.note(vm, pilot_entered_at=NOW + later * MINUTE)
        assert store.get(vm).pilot_entered_at == NOW

    def test_of_many_steps_at_once_each_succeeds_or_not_on_its_own(self, store):
        vms = [planned(store) for _ in range(2 * BATCH + 1)]
        late = vms[BATCH]
        store.move(late, VMState.PLANNED, VMState.DELETING, NOW, "too many")
        steps = [Step(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "ok", facts={"server_id": f"s-{vm}"}) for vm in vms]
        assert store.move_all(steps) == tuple(vm != late for vm in vms)
        assert {record.vm_id: record.server_id for record in store.live()} == {
            vm: "" if vm == late else f"s-{vm}" for vm in vms
        }
        assert [step.target for step in store.history(vms[0])] == [VMState.PLANNED, VMState.REQUESTED]

    def test_of_many_steps_at_once_none_is_made_when_one_is_refused(self, store):
        vms = [planned(store) for _ in range(3)]
        for refused in (VMState.PLANNED, VMState.ENDED):  # no such step; no outcome
            steps = [Step(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "ok") for vm in vms[:2]]
            with pytest.raises(TransitionRefused):
                store.move_all([*steps, Step(vms[2], VMState.PLANNED, refused, NOW, "no")])
        assert {record.state for record in store.live()} == {VMState.PLANNED}

    def test_two_directors_that_move_the_same_vms_at_once_move_each_one_once(self, new_store):
        one, other = new_store(), new_store()
        vms = [planned(one) for _ in range(50)]
        steps = [Step(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "ok") for vm in vms]
        won = at_once(lambda: one.move_all(steps), lambda: other.move_all(steps[::-1])[::-1])
        assert all(sum(both) == 1 for both in zip(*won, strict=True))
        assert all(len(one.history(vm)) == 2 for vm in vms)

    # Observations

    def test_what_was_seen_of_many_vms_is_noted_at_once(self, store):
        vms = [planned(store) for _ in range(BATCH + 1)]
        store.note_all({vm: {"jobs": n} for n, vm in enumerate(vms)})
        assert [store.get(vm).jobs for vm in (vms[0], vms[-1])] == [0, BATCH]

    def test_the_first_word_is_noted_once(self, store):
        vm = planned(store)
        store.note(vm, first_word_at=NOW)
        store.note(vm, first_word_at=NOW + MINUTE, jobs=2)
        assert (store.get(vm).first_word_at, store.get(vm).jobs) == (NOW, 2)

    def test_of_heartbeats_the_last_is_kept(self, store):
        vm = planned(store)
        store.note(vm, heartbeat_at=NOW)
        store.note(vm, heartbeat_at=NOW + MINUTE)
        assert store.get(vm).heartbeat_at == NOW + MINUTE

    def test_a_vm_for_which_the_cloud_had_no_room_says_so(self, store):
        vm = brought_to(store, VMState.PLANNED)
        assert not store.get(vm).no_room
        facts = {"outcome": Outcome.FAILED_TO_START, "no_room": True}
        store.move(vm, VMState.PLANNED, VMState.ENDED, NOW, "QuotaExceeded", **facts)
        assert store.get(vm).no_room

    def test_noting_what_is_known_already_is_no_error(self, store):
        vm = planned(store)
        store.note(vm, jobs=1, said_code=200, said_reason="done")
        store.note(vm, jobs=1, said_code=200, said_reason="done")
        assert (store.get(vm).jobs, store.get(vm).said_code, store.get(vm).said_reason) == (1, 200, "done")

    def test_a_note_is_no_transition(self, store):
        vm = planned(store)
        store.note(vm, jobs=1)
        assert (store.get(vm).state, len(store.history(vm))) == (VMState.PLANNED, 1)

    def test_a_note_on_an_unknown_vm_is_refused(self, store):
        with pytest.raises(UnknownVM):
            store.note(uuid.uuid4().hex, jobs=1)

    @pytest.mark.parametrize("fact", ["state", "vm_id", "pilot_reference", "colour"])
    def test_what_is_no_fact_of_a_vm_is_refused(self, store, fact):
        vm = planned(store)
        with pytest.raises(TypeError, match=fact):
            store.note(vm, **{fact: "x"})

    def test_of_a_long_console_the_end_is_kept(self, store):
        vm = planned(store)
        store.note(vm, console_tail="first" + "é\U0001f600" * 10000 + "last")
        tail = store.console_tail(vm)
        assert tail.endswith("\U0001f600last")
        assert CONSOLE_TAIL_BYTES - 6 <= len(tail.encode()) <= CONSOLE_TAIL_BYTES

    def test_untrusted_words_of_any_length_and_kind_can_be_recorded(self, store):
        vm = planned(store)
        store.note(vm, said_reason="\U0001f600\0\ud800'\"" + "x" * 100_000)
        assert store.get(vm).said_reason.startswith("\U0001f600\0'\"xxx")

    def test_times_are_utc_to_the_microsecond(self, store):
        vm = planned(store, at=NOW.astimezone(timezone(timedelta(hours=9))))
        assert store.get(vm).created_at == NOW
        assert store.get(vm).created_at.utcoffset() == timedelta(0)

    def test_a_time_without_zone_is_refused(self, store):
        with pytest.raises(Exception, match="time zone"):
            planned(store, at=NOW.replace(tzinfo=None))
        assert store.live() == ()

    # Questions

    def test_live_are_all_that_have_not_ended_oldest_first(self, store):
        vms = {state: brought_to(store, state, at=NOW - n * MINUTE) for n, state in enumerate(VMState)}
        expected = [vms[state] for state in reversed(VMState) if state is not VMState.ENDED]
        assert [record.vm_id for record in store.live()] == expected

    def test_a_vm_is_found_by_id_beginning_or_pilot_reference(self, store):
        planned(store)
        vm = planned(store, vm_id="abcdef01" * 4)
        record = store.get(vm)
        assert [record] * 3 == [store.get("abcdef"), store.get(vm[:20]), store.get(record.pilot_reference)]

    @pytest.mark.parametrize("vm", ["abcde", "", "%", "______", "ABCDEF", "abcdef0101", "cloud://grif-cloud/none"])
    def test_what_names_no_vm_is_refused_with_a_hint(self, store, vm):
        planned(store, vm_id="abcdef00" * 4)
        with pytest.raises(UnknownVM, match="dirac-admin-cloud vms"):
            store.get(vm)

    def test_a_beginning_that_several_vms_share_names_them(self, store):
        both = planned(store, vm_id="abcdef0" + "1" * 25), planned(store, vm_id="abcdef0" + "2" * 25)
        with pytest.raises(UnknownVM, match=", ".join(both)):
            store.get("abcdef")

    def test_selected_vms_meet_every_condition(self, store):
        vm = brought_to(store, VMState.RUNNING, vo="t2k.org")
        brought_to(store, VMState.RUNNING, vo="belle")
        brought_to(store, VMState.RUNNING, vo="t2k.org", vm_type=NAPOLI)
        brought_to(store, VMState.BOOTING, vo="t2k.org")
        brought_to(store, VMState.RUNNING, vo="t2k.org", at=NOW - MINUTE)
        found = store.select(state=VMState.RUNNING, site=EL9.site, ce=EL9.ce, vo="t2k.org", since=NOW)
        assert [record.vm_id for record in found] == [vm]

    def test_several_states_may_be_selected(self, store):
        vms = {brought_to(store, VMState.RUNNING), brought_to(store, VMState.BOOTING)}
        brought_to(store, VMState.ENDED)
        assert {record.vm_id for record in store.select(state=[VMState.RUNNING, VMState.BOOTING])} == vms

    def test_names_are_told_apart_by_case(self, store):
        planned(store)
        assert store.select(vo="Belle") == ()

    def test_the_newest_come_first_and_the_limit_cuts_the_oldest(self, store):
        vms = [planned(store, at=NOW + n * MINUTE) for n in range(4)]
        assert [record.vm_id for record in store.select(limit=3)] == [vms[3], vms[2], vms[1]]

    def test_recent_ends_are_those_at_or_after_a_time(self, store):
        brought_to(store, VMState.ENDED, at=NOW - MINUTE)
        vm = brought_to(store, VMState.ENDED, Outcome.FIZZLED, at=NOW)
        planned(store, at=NOW)
        (end,) = store.recent_ends(NOW)
        assert (end.vm_id, end.vm_type, end.outcome, end.ended_at) == (vm, EL9, Outcome.FIZZLED, NOW)

    def test_live_vms_are_counted_by_endpoint_vo_and_state(self, store):
        brought_to(store, VMState.RUNNING)
        brought_to(store, VMState.RUNNING, cores=8)
        brought_to(store, VMState.BOOTING, vm_type=NAPOLI, vo="t2k.org")
        brought_to(store, VMState.ENDED)
        assert store.counts() == (
            Count(EL9.site, EL9.ce, "belle", VMState.RUNNING, 2, 12),
            Count(NAPOLI.site, NAPOLI.ce, "t2k.org", VMState.BOOTING, 1, 4),
        )

    # Versions

    def test_a_version_is_untried_while_only_another_one_worked(self, store):
        assert store.untried([NEW]) == frozenset(), "a VM type that nobody used"
        worked(store, "el9@1")
        assert store.untried([NEW, OLD]) == {NEW}
        worked(store, NEW.version)
        assert store.untried([NEW, OLD]) == frozenset()

    def test_a_version_that_nobody_noted_is_another_one(self, store):
        worked(store, "")
        assert store.untried([NEW]) == {NEW}

    def test_versions_are_told_apart_by_vm_type_and_vo(self, store):
        worked(store, "el9@1", vo="t2k.org")
        worked(store, "el9@1", vm_type=NAPOLI)
        assert store.untried([NEW]) == frozenset()
        worked(store, "el9@1")
        worked(store, NEW.version, vo="t2k.org")
        worked(store, NEW.version, vm_type=NAPOLI)
        assert store.untried([NEW, replace(NEW, vo="t2k.org"), replace(NEW, vm_type=NAPOLI)]) == {NEW}

    @pytest.mark.parametrize(
        ("state", "facts", "is_proof"),
        [
            (VMState.RUNNING, {"jobs": 1}, True),
            (VMState.RUNNING, {"jobs": 0}, False),
            (VMState.ENDED, {"outcome": Outcome.NO_WORK, "code": 300}, True),
            (VMState.ENDED, {"outcome": Outcome.NO_WORK, "code": 400}, False),
            (VMState.ENDED, {"outcome": Outcome.NEVER_REPORTED, "code": 100}, False),
            (VMState.ENDED, {"outcome": Outcome.KILLED, "code": 100}, False),
            (VMState.ENDED, {"outcome": Outcome.EXPIRED, "code": 100, "jobs": 3}, True),
        ],
    )
    def test_a_version_is_proven_by_a_job_or_an_end_in_good_order(self, store, state, facts, is_proof):
        worked(store, "el9@1")
        vm = brought_to(store, state, outcome=facts.get("outcome"), version=NEW.version)
        store.note(vm, **facts)
        assert store.get(vm).lived == is_proof
        assert store.untried([NEW]) == (frozenset() if is_proof else {NEW})

    # Killing

    @pytest.mark.parametrize("state", [state for state in VMState if state not in (VMState.DELETING, VMState.ENDED)])
    def test_a_vm_that_is_killed_is_to_be_deleted_and_the_record_says_who_did_it(self, store, state):
        vm = brought_to(store, state, outcome=None)
        record = store.request_kill(vm[:12], "adm", "site is burning", NOW + MINUTE)
        assert record == store.get(vm)
        assert (record.state, record.outcome, record.outcome_reason) == (
            VMState.DELETING,
            Outcome.KILLED,
            "site is burning",
        )
        assert store.history(vm)[-1] == Transition(state, VMState.DELETING, NOW + MINUTE, "site is burning", "adm")

    def test_a_vm_that_is_being_deleted_keeps_its_outcome_when_killed(self, store):
        vm = brought_to(store, VMState.DELETING, Outcome.WORKED)
        steps = store.history(vm)
        assert store.request_kill(vm, "adm", "impatient", NOW).outcome is Outcome.WORKED
        assert store.history(vm) == steps

    def test_a_vm_that_has_ended_cannot_be_killed(self, store):
        vm = brought_to(store, VMState.ENDED)
        with pytest.raises(TransitionRefused, match="ended already"):
            store.request_kill(vm, "adm", "", NOW)

    def test_a_kill_reaches_a_vm_that_moves_on_meanwhile(self, new_store):
        ours, director = new_store(), new_store()
        vm = brought_to(director, VMState.REQUESTED)
        moves = [(VMState.BOOTING, VMState.RUNNING), (VMState.REQUESTED, VMState.BOOTING)]

        @event.listens_for(ours._engine, "before_cursor_execute")
        def move_first(connection, cursor, statement, *_):
            if statement.startswith("UPDATE") and moves:
                assert director.move(vm, *moves.pop(), NOW, "faster")

        assert ours.request_kill(vm, "adm", "enough", NOW).state is VMState.DELETING
        assert [step.target for step in ours.history(vm)][-3:] == [VMState.BOOTING, VMState.RUNNING, VMState.DELETING]

    # Reports

    def test_a_report_comes_back_as_it_was_saved(self, store):
        unmet = (
            Unmet(7, "belle", 8, Limit.ENDPOINT_MAX_CORES, "200 of 200 cores", EL9),
            Unmet(8, "belle", 1, Limit.NO_MATCHING_VM_TYPE, "RAM"),
        )
        report = CycleReport(
            EL9.site, EL9.ce, "belle", NOW, "wanted 9, started 0 …", 9, 0, {VMState.RUNNING: 3}, unmet, "none"
        )
        store.save_reports([report])
        assert store.reports() == (report,)

    def test_a_new_report_takes_the_place_of_the_last_one_of_its_endpoint_and_vo_only(self, store):
        last, other = (CycleReport(EL9.site, EL9.ce, vo, NOW, "last") for vo in ("belle", "t2k.org"))
        store.save_reports([last, other])
        new = CycleReport(EL9.site, EL9.ce, "belle", NOW + MINUTE, "new", wanted_cores=4)
        store.save_reports([new])
        assert store.reports() == (new, other)

    def test_a_report_that_is_not_renewed_for_a_day_is_dropped(self, store):
        gone = CycleReport("CLOUD.Gone.fr", "gone", "belle", NOW, "the last of it")
        late = CycleReport(NAPOLI.site, NAPOLI.ce, "belle", NOW + 2 * MINUTE, "late")
        store.save_reports([gone, late])
        new = CycleReport(EL9.site, EL9.ce, "belle", NOW + timedelta(days=1) + MINUTE, "new")
        store.save_reports([new])
        assert store.reports() == (new, late)

    def test_reports_that_say_the_same_again_are_newer_and_the_others_new(self, store):
        reports = [CycleReport(EL9.site, EL9.ce, vo, NOW, "idle") for vo in ("belle", "hyperk.org", "t2k.org")]
        store.save_reports(reports)
        later = [replace(report, at=NOW + MINUTE) for report in reports]
        later[1] = replace(later[1], line="busy")
        store.save_reports(later)
        assert store.reports() == tuple(later)

    def test_reports_that_another_director_overwrote_are_written_again(self, new_store):
        one, other = new_store(), new_store()
        ours = [CycleReport(EL9.site, EL9.ce, vo, NOW, "ours") for vo in ("belle", "t2k.org")]
        one.save_reports(ours)
        other.save_reports([CycleReport(EL9.site, EL9.ce, "belle", NOW + MINUTE, "theirs")])
        again = [replace(report, at=NOW + 2 * MINUTE) for report in ours]
        one.save_reports(again)
        assert other.reports() == tuple(again)

    # The database fails

    def test_a_store_without_database_says_so_and_recovers(self, store, database_away):
        vm = planned(store)
        with database_away():
            for question in (store.live, store.installation, lambda: planned(store)):
                with pytest.raises(StoreUnavailable, match="does not answer"):
                    question()
        assert store.get(vm).state is VMState.PLANNED
        assert store.move(vm, VMState.PLANNED, VMState.REQUESTED, NOW, "accepted")
