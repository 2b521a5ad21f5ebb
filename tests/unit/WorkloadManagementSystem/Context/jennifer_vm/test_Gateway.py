"""The gateway's client: what every answer, and no answer, means."""

import socket

import pytest
from gateway_server import TICKET
from guest_directory import VM_ID
from pilot_server import CA

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import Gateway as module
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Ends import Ended
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Gateway import Away, Gateway, OtherOffset, Over, Refused


def test_a_ticket_gives_the_envelope_and_the_time(gateway_server, ca, clock):
    gateway = Gateway({"url": gateway_server.url, "ca": ca.pem}, VM_ID, clock)
    assert gateway.redeem(TICKET) == (gateway_server.envelope, clock.now())
    assert len(gateway_server.session) == 43


def test_every_life_has_a_session_of_its_own(gateway_server, ca, clock):
    sessions = set()
    for _ in range(2):
        gateway_server.session = None
        Gateway({"url": gateway_server.url, "ca": ca.pem}, VM_ID, clock).redeem(TICKET)
        sessions.add(gateway_server.session)
    assert len(sessions) == 2


def test_a_ticket_whose_answer_was_lost_is_good_for_the_same_session(gateway_server, ca, clock):
    gateway_server.faults = [("redeem", "lose", 1)]
    gateway = Gateway({"url": gateway_server.url, "ca": ca.pem}, VM_ID, clock)
    with pytest.raises(Away):
        gateway.redeem(TICKET)
    assert gateway.redeem(TICKET)


def test_a_ticket_with_another_session_is_refused(gateway, gateway_server, ca, clock):
    with pytest.raises(Refused) as caught:
        Gateway({"url": gateway_server.url, "ca": ca.pem}, VM_ID, clock).redeem(TICKET)
    assert caught.value.status == 403


def test_a_gateway_that_no_ca_vouches_for_hears_no_ticket(gateway_server, clock):
    for ca in (CA("Another").pem, ""):
        with pytest.raises(Away, match="(?i)certificate"):
            Gateway({"url": gateway_server.url, "ca": ca}, VM_ID, clock).redeem(TICKET)
    assert gateway_server.requests == []


def test_a_gateway_without_tls_is_none(clock):
    with pytest.raises(Ended, match="https://host:port"):
        Gateway({"url": "http://localhost:1", "ca": ""}, VM_ID, clock)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_leads_nowhere(gateway, gateway_server, status):
    gateway_server.faults = [("heartbeat", status, 1)]
    asked = len(gateway_server.requests)
    with pytest.raises(Refused):
        gateway.heartbeat({"phase": "boot"})
    assert len(gateway_server.requests) == asked + 1


@pytest.mark.parametrize("what", [400, 401, 408, 429, 500, 503, 507, "cut", "lose"])
def test_trouble_that_may_pass_is_no_refusal(gateway, gateway_server, what):
    gateway_server.faults = [("heartbeat", what, 1)]
    with pytest.raises(Away):
        gateway.heartbeat({"phase": "boot"})
    assert gateway.heartbeat({"phase": "boot"}) == (False, None)


def test_a_life_that_is_over_is_told_apart(gateway, gateway_server):
    gateway_server.faults = [("end", 410, 1)]
    with pytest.raises(Over):
        gateway.end(200, "done")


@pytest.mark.parametrize(
    ("asked", "again"), [("30", 30), ("99999999", 600), ("Fri, 01 Jan 2027", 0), ("-1", 0), ("", 0)]
)
def test_a_gateway_may_ask_to_wait_within_reason(gateway, gateway_server, asked, again):
    gateway_server.faults, gateway_server.retry_after = [("heartbeat", 503, 1)], asked
    with pytest.raises(Away) as caught:
        gateway.heartbeat({"phase": "boot"})
    assert caught.value.again == again


def test_only_an_answer_counts_as_one(gateway, gateway_server, clock):
    clock.sleep(100)
    gateway_server.faults = [("heartbeat", 401, 1), ("heartbeat", 410, 1), ("heartbeat", 422, 1)]
    for _ in range(3):
        with pytest.raises((Away, Refused)):
            gateway.heartbeat({"phase": "boot"})
    assert gateway.last_answer == 5000
    gateway.heartbeat({"phase": "boot"})
    assert gateway.last_answer == 5100


def test_a_deadline_is_told_in_seconds_from_now_whatever_the_machines_clock_says(gateway, gateway_server, clock):
    gateway_server.answer = {"drain": True, "deadline": clock.now() + 90}
    clock.off = 10000
    assert gateway.heartbeat({"phase": "pilot"}) == (True, 90)


@pytest.mark.parametrize("answer", [{"deadline": "soon"}, {"deadline": True}])
def test_an_answer_of_another_form_is_none(gateway, gateway_server, answer):
    gateway_server.answer = answer
    with pytest.raises(Away, match="without the number deadline"):
        gateway.heartbeat({"phase": "boot"})


def test_a_log_of_another_size_is_told(gateway, gateway_server):
    gateway_server.logs["pilot"] = bytearray(b"12345")
    with pytest.raises(OtherOffset) as caught:
        gateway.append("pilot", 3, b"45")
    assert caught.value.size == 5
    assert gateway.append("pilot", 5, b"67") == 7


def test_no_exception_holds_the_session_or_the_ticket(gateway, gateway_server):
    for what in (403, 503, "cut"):
        gateway_server.faults = [("redeem", what, 1)]
        with pytest.raises((Away, Refused)) as caught:
            gateway.redeem(TICKET)
        assert TICKET not in str(caught.value)
        assert gateway_server.session not in str(caught.value)


def test_a_gateway_that_says_nothing_is_too_slow(clock, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = Gateway({"url": f"https://127.0.0.1:{silent.getsockname()[1]}"}, "0" * 32, clock)
        with pytest.raises(Away) as caught:
            gateway.append("pilot", 0, b"x")
    assert caught.value.slow
