import json

import pytest

from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import BadTicket, digest, is_token, new_ticket, seal, unseal

ENVELOPE = {"settings": {"pilot_argv": ["-N", "grif"]}, "credential": {"kind": "proxy", "pem": "-----BEGIN é"}}


def test_the_ticket_opens_the_envelope():
    ticket = new_ticket()
    assert unseal(ticket.reveal(), seal(ticket, ENVELOPE)) == ENVELOPE


def test_no_other_ticket_does():
    sealed = seal(new_ticket(), ENVELOPE)
    with pytest.raises(BadTicket):
        unseal(new_ticket().reveal(), sealed)


def test_an_envelope_that_was_changed_is_not_opened():
    ticket = new_ticket()
    sealed = bytearray(seal(ticket, ENVELOPE))
    sealed[len(sealed) // 2] ^= 1
    with pytest.raises(BadTicket):
        unseal(ticket.reveal(), bytes(sealed))


def test_what_the_database_keeps_tells_nothing_of_what_is_inside():
    ticket = Secret("t" * 43)
    kept = seal(ticket, ENVELOPE) + digest(ticket.reveal()).encode()
    assert not any(word.encode() in kept for word in (ticket.reveal(), "grif", "BEGIN", json.dumps(ENVELOPE)))


def test_tickets_differ_and_do_not_print_themselves():
    one, other = new_ticket(), new_ticket()
    assert one != other
    assert is_token(one.reveal())
    assert f"{one} {one!r}" == "<secret> <secret>"


@pytest.mark.parametrize("text", ["", "a" * 42, "a" * 44, "a" * 42 + "!", "a" * 43 + "\n", "é" * 43])
def test_what_has_not_the_form_of_a_ticket_is_none(text):
    assert not is_token(text)
