"""What the store knows of the VMs' sessions with the gateway, whatever the database: for unit and lab tests."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text, update
from StoreBehaviour import NOW, at_once, brought_to, planned

from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import GATEWAY_SILENCE, TicketRefused
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Gateway
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

HOUR = timedelta(hours=1)
TICKET, OTHER = "a" * 64, "b" * 64
MINE, THEIRS = "c" * 64, "d" * 64
SEALED = b"an envelope that nobody here can open"


def with_ticket(store, vm=None, valid_for=HOUR, ticket=TICKET):
    vm = vm or planned(store)
    store.sessions.keep(vm, ticket, SEALED, valid_for)
    return vm


def in_session(store, vm=None):
    vm = with_ticket(store, vm)
    store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1")
    return vm


def redeemed(store, vm, session):
    """The envelope, or nothing."""
    try:
        return store.sessions.redeem(vm, TICKET, session, "192.0.2.1")
    except TicketRefused:
        return b""


class SessionsBehaviour:
    def test_a_ticket_is_redeemed_for_the_vms_envelope_and_is_its_first_word(self, store):
        vm = with_ticket(store)
        assert store.get(vm).first_word_at is None
        assert store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1") == SEALED
        guest = store.sessions.guest(vm)
        assert guest.redeemed_from == "192.0.2.1"
        assert guest.refusals == 0
        assert store.get(vm).first_word_at == guest.redeemed_at
        assert store.sessions.state(vm).digest == MINE

    def test_a_second_redemption_is_refused_and_shown(self, store):
        vm = in_session(store)
        with pytest.raises(TicketRefused, match=r"brought again; it was redeemed at .* UTC from 192\.0\.2\.1"):
            store.sessions.redeem(vm, TICKET, THEIRS, "198.51.100.7")
        guest = store.sessions.guest(vm)
        assert (guest.refusals, guest.refused_from) == (1, "198.51.100.7")
        assert "brought again" in guest.refused_why
        assert store.sessions.state(vm).digest == MINE

    def test_a_vm_whose_answer_was_lost_redeems_again_in_the_same_session(self, store):
        vm = in_session(store)
        assert store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1") == SEALED

    def test_but_no_more_once_it_has_shown_that_it_got_its_envelope(self, store):
        vm = in_session(store)
        store.sessions.beat(vm, {"phase": "boot"})
        with pytest.raises(TicketRefused, match="brought again"):
            store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1")

    def test_of_two_who_bring_a_ticket_at_once_one_gets_the_envelope(self, store, new_store):
        vm = with_ticket(store)
        callers = [partial(redeemed, new_store(), vm, session) for session in (MINE, THEIRS)]
        assert sorted(at_once(*callers)) == [b"", SEALED]

    def test_a_ticket_of_another_vm_is_refused(self, store):
        vm = with_ticket(store)
        other = with_ticket(store, ticket=OTHER)
        with pytest.raises(TicketRefused, match="not its own"):
            store.sessions.redeem(vm, OTHER, MINE, "192.0.2.1")
        assert store.sessions.guest(vm).refusals == 1
        assert store.sessions.guest(other).refusals == 0

    def test_an_expired_ticket_is_refused(self, store):
        vm = with_ticket(store, valid_for=-HOUR)
        with pytest.raises(TicketRefused, match="too late; it expired at"):
            store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1")

    @pytest.mark.parametrize("state", [VMState.DELETING, VMState.ENDED])
    def test_a_ticket_of_a_vm_whose_life_is_over_is_refused(self, store, state):
        vm = with_ticket(store, brought_to(store, state))
        with pytest.raises(TicketRefused, match="life was over"):
            store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1")

    def test_a_ticket_whose_intent_was_never_recorded_is_refused(self, store):
        with_ticket(store, vm="f" * 32)
        with pytest.raises(TicketRefused, match="life was over"):
            store.sessions.redeem("f" * 32, TICKET, MINE, "192.0.2.1")

    def test_a_vm_that_no_ticket_was_made_for_has_no_session(self, store):
        vm = planned(store)
        with pytest.raises(TicketRefused, match="no ticket was made"):
            store.sessions.redeem(vm, TICKET, MINE, "192.0.2.1")
        assert store.sessions.state(vm) is None
        assert store.sessions.guest(vm) is None

    def test_a_heartbeat_is_noted_with_the_vm_and_its_envelope_forgotten(self, store):
        vm = in_session(store)
        store.sessions.beat(vm, {"phase": "pilot", "load": [1.5, 1.0, 0.5]})
        assert store.sessions.guest(vm).heartbeat == {"phase": "pilot", "load": [1.5, 1.0, 0.5]}
        assert store.get(vm).heartbeat_at >= store.sessions.guest(vm).redeemed_at
        assert sealed_of(store) == [None]

    def test_the_first_end_that_a_vm_reports_stands(self, store):
        vm = in_session(store)
        store.sessions.end(vm, 300, "nothing to do")
        first = store.get(vm)
        store.sessions.end(vm, 700, "something else")
        assert (first.said_code, first.said_reason) == (300, "nothing to do")
        assert first.pilot_finished_at >= store.sessions.guest(vm).redeemed_at
        assert store.get(vm) == first

    def test_an_end_that_was_read_on_the_console_stands_too(self, store):
        vm = in_session(store)
        store.note(vm, said_code=500, said_reason="no pilot", pilot_finished_at=NOW)
        store.sessions.end(vm, 200, "done")
        record = store.get(vm)
        assert (record.said_code, record.said_reason, record.pilot_finished_at) == (500, "no pilot", NOW)

    def test_a_director_reads_of_a_heartbeat_with_what_is_new(self, store):
        vm = in_session(store)
        before = store.clock()
        store.sessions.beat(vm, {"phase": "pilot"})
        assert [record.vm_id for record in store.touched(before)] == [vm]

    def test_envelopes_that_nobody_can_ask_for_any_more_are_dropped(self, store):
        waiting = with_ticket(store)
        begun = in_session(store)
        with_ticket(store, valid_for=-HOUR)
        ended = in_session(store)
        store.move(ended, VMState.PLANNED, VMState.REQUESTED, store.clock(), "accepted")
        store.request_kill(ended, "adm", "", store.clock())
        store.move(ended, VMState.DELETING, VMState.ENDED, store.clock(), "gone")
        store.sessions.purge()
        with store._database.transaction() as session:
            left = set(session.scalars(text("SELECT vm_id FROM GatewaySessions WHERE sealed IS NOT NULL")))
        assert left == {waiting, begun}

    def test_sessions_of_long_ago_are_forgotten_unless_the_vm_lives_on(self, store):
        living = with_ticket(store, valid_for=-31 * 24 * HOUR)
        ended = with_ticket(store, brought_to(store, VMState.ENDED), valid_for=-31 * 24 * HOUR)
        store.sessions.purge()
        assert store.sessions.guest(living)
        assert store.sessions.guest(ended) is None

    def test_a_gateway_is_there_while_it_says_so(self, store):
        assert store.sessions.gateway_since() is None
        store.sessions.here("one:9164")
        since = store.sessions.gateway_since()
        store.sessions.here("one:9164")
        assert store.sessions.gateway_since() == since
        silent(store, "one:9164")
        assert store.sessions.gateway_since() is None
        store.sessions.here("one:9164")
        assert store.sessions.gateway_since() > since

    def test_with_several_gateways_the_vms_could_always_reach_the_one_that_stayed(self, store):
        store.sessions.here("one:9164")
        since = store.sessions.gateway_since()
        store.sessions.here("two:9164")
        assert store.sessions.gateway_since() == since
        silent(store, "one:9164")
        assert store.sessions.gateway_since() > since


def silent(store, gateway):
    """As if the gateway had not been heard of for a while."""
    with store._database.transaction() as session:
        at = Gateway.__table__.c.at
        then = store.clock() - GATEWAY_SILENCE - timedelta(seconds=1)
        session.execute(update(Gateway.__table__).where(Gateway.name == gateway).values({at: then}))


def sealed_of(store):
    with store._database.transaction() as session:
        return list(session.scalars(text("SELECT sealed FROM GatewaySessions")))
