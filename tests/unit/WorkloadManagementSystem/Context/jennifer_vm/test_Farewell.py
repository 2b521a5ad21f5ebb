"""At the end the gateway gets all there is, though it may be away for an hour."""

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Farewell import say_farewell
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Heartbeat import Heartbeat, Status
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Uploads import Uploads

LEASE = 3600


@pytest.fixture
def farewell(gateway, clock, console, tmp_path):
    """A function that says farewell with a log of some bytes; ``latest`` is in seconds from now."""
    (tmp_path / "pilot.log").write_bytes(b"the pilot's words\n" * 100000)
    uploads = Uploads(gateway, console, {"pilot": tmp_path / "pilot.log"})
    root = str(tmp_path)
    heart = Heartbeat(gateway, uploads, Status(), {}, root, root, clock, console, None)
    heart._status.phase = "end"

    def farewell(latest=10**6):
        return say_farewell(gateway, heart, uploads, 200, "done", clock, LEASE, clock.monotonic() + latest)

    return farewell


def whole(server):
    return len(server.logs.get("pilot", b"")) == 1800000 and server.end == {"code": 200, "reason": "done"}


def test_the_logs_and_the_end_report_arrive(farewell, gateway_server, clock):
    assert farewell() == ""
    assert whole(gateway_server)
    assert clock.passed == 0
    assert gateway_server.heartbeats[-1]["phase"] == "end"
    assert [name for _, name in gateway_server.requests][-1] == "end"


def test_a_gateway_that_is_away_for_most_of_an_hour_gets_them_too(farewell, gateway_server, clock):
    gateway_server.away_until = 3500
    assert farewell() == ""
    assert whole(gateway_server)
    assert clock.passed < 3600
    assert len(gateway_server.requests) < 300


def test_one_that_answered_late_is_waited_for_from_then_on(farewell, gateway_server, clock):
    gateway_server.faults = [("logs", 503, 200)]

    def away():
        gateway_server.faults, gateway_server.away_until = [], 6000

    clock.when = [(3000, away)]
    assert farewell() == ""
    assert whole(gateway_server)


def test_it_is_not_waited_for_longer_than_the_lease(farewell, gateway_server, clock):
    gateway_server.away_until = 10**9
    assert "HTTP status 503" in farewell()
    assert clock.passed == pytest.approx(LEASE, abs=1)


def test_one_that_answers_and_never_takes_the_log_gets_the_end_report(farewell, gateway_server, clock):
    gateway_server.faults = [("logs", 507, 10**6)]
    assert "but it has the end report" in farewell()
    assert gateway_server.end["code"] == 200
    assert clock.passed < 2 * LEASE + 1


@pytest.mark.parametrize("what", ["cut", "lose", 429, 503])
def test_what_breaks_is_tried_again(farewell, gateway_server, what):
    gateway_server.faults = [("logs", what, 3), ("end", what, 3)]
    assert farewell() == ""
    assert whole(gateway_server)


def test_a_gateway_for_which_the_vm_is_over_is_not_waited_for(farewell, gateway_server, clock):
    gateway_server.faults = [("logs", 410, 10**6)]
    assert "410" in farewell()
    assert clock.passed == 0


def test_a_full_log_does_not_stop_the_end_report(farewell, gateway_server):
    gateway_server.room = 10
    assert farewell() == ""
    assert gateway_server.end["code"] == 200


def test_a_deadline_ends_the_waiting(farewell, gateway_server, clock):
    gateway_server.answer["deadline"] = clock.now() + 500
    gateway_server.faults = [("logs", 503, 10**6)]
    assert "503" in farewell()
    assert clock.passed == pytest.approx(500, abs=1)


def test_a_life_that_has_to_be_over_soon_does_not_wait(farewell, gateway_server, clock):
    gateway_server.away_until = 10**9
    assert "no end report" in farewell(latest=60)
    assert clock.passed < 61
