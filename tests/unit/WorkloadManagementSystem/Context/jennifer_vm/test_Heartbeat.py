"""A VM tells how it is, drains, keeps deadlines, and ends itself when nobody wants to know."""

import os

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Heartbeat import Heartbeat, Status
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotLog import PilotLog
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Uploads import Uploads

SETTINGS = {"heartbeat": 300, "lease": 3600}


@pytest.fixture
def orders():
    return []


@pytest.fixture
def heart(gateway, clock, console, orders, tmp_path):
    uploads = Uploads(gateway, console, {"jennifer": tmp_path / "words.log"})
    return Heartbeat(
        gateway, uploads, Status(), SETTINGS, str(tmp_path), str(tmp_path), clock, console, orders.append, lambda: 0.5
    )


@pytest.fixture
def drain_file(tmp_path):
    return tmp_path / "var/lib/dirac_drain"


def payload(tmp_path, job=7):
    """A process of DIRAC's job wrapper, as the kernel shows it."""
    (tmp_path / f"proc/{job}0").mkdir(parents=True)
    words = ["/opt/dirac/bin/python", f"/var/lib/jennifer/pilot/job/Wrapper/Wrapper_{job}", "-o", "LogLevel=INFO"]
    (tmp_path / f"proc/{job}0/cmdline").write_text("\0".join(words) + "\0")


def live(heart, clock, seconds):
    """Beat after beat for so long."""
    end = clock.passed + seconds
    while clock.passed < end:
        heart.beat()
        clock.sleep(min(heart.pause(), end - clock.passed))


def test_a_heartbeat_tells_how_the_vm_is(heart, gateway_server, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4096000 kB\nMemAvailable:    2048000 kB\n")
    heart._status.notes["cvmfs"] = "http://squid:3128;DIRECT" + "x" * 500
    heart._status.log = PilotLog()
    heart._status.log.jobs = 3
    heart._status.phase = "pilot"
    payload(tmp_path, 7)
    payload(tmp_path, 8)
    assert heart.tell()
    (told,) = gateway_server.heartbeats
    assert set(told) == {"phase", "uptime", "load", "jobs", "disk_mib", "memory_mib", "notes"}
    assert (told["phase"], told["jobs"], told["memory_mib"], len(told["load"])) == ("pilot", 2, 2000, 3)
    assert told["disk_mib"] > 0
    assert len(told["notes"]["cvmfs"]) == 200
    assert told["notes"]["jobs"] == "3 received, 0 failed"


def test_a_beat_sends_the_logs_too(heart, gateway_server, tmp_path):
    (tmp_path / "words.log").write_text("hello\n")
    gateway_server.faults = [("logs", 507, 1)]
    heart.beat()
    assert "jennifer" not in gateway_server.logs
    heart.beat()
    assert gateway_server.logs["jennifer"] == b"hello\n"


def test_logs_that_take_long_do_not_delay_the_next_beat(heart, gateway_server, tmp_path, clock, monkeypatch):
    (tmp_path / "words.log").write_bytes(b"x" * 2**22)
    append = heart._gateway.append

    def slow(*arguments):
        clock.passed += 40
        return append(*arguments)

    monkeypatch.setattr(heart._gateway, "append", slow)
    heart.beat()
    assert len(gateway_server.chunks) == 2


def test_pauses_vary_by_a_fifth(heart):
    pauses = set()
    for part in (0, 0.25, 0.5, 0.999):
        heart._random = lambda part=part: part
        pauses.add(round(heart.pause()))
    assert pauses == {240, 270, 300, 360}


def test_pauses_are_drawn_at_random():
    from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Pauses import jittered

    drawn = [jittered(100) for _ in range(200)]
    assert 80 <= min(drawn) < 90
    assert 110 < max(drawn) < 120


def test_a_drain_makes_the_file_and_its_end_removes_it(heart, gateway_server, drain_file):
    gateway_server.answer["drain"] = True
    before = os.umask(0o077)
    heart.beat()
    os.umask(before)
    assert drain_file.stat().st_mode & 0o777 == 0o644
    gateway_server.answer["drain"] = False
    heart.beat()
    assert not drain_file.exists()


def test_a_drain_file_of_an_operators_own_stays(heart, drain_file):
    drain_file.parent.mkdir(parents=True)
    drain_file.touch()
    heart.beat()
    assert drain_file.exists()


def test_an_operators_drain_file_outlives_a_drain_of_ours(heart, gateway_server, drain_file):
    drain_file.parent.mkdir(parents=True)
    drain_file.touch()
    for drain in (True, False):
        gateway_server.answer["drain"] = drain
        heart.beat()
    assert drain_file.exists()


def test_a_drain_lasts_while_the_gateway_is_away(heart, gateway_server, drain_file, clock):
    gateway_server.answer["drain"] = True
    heart.beat()
    gateway_server.away_until = 10**9
    live(heart, clock, 1800)
    assert drain_file.exists()


def test_a_deadline_ends_the_vm_in_time(heart, gateway_server, clock, orders):
    gateway_server.answer["deadline"] = clock.now() + 1000
    live(heart, clock, 999)
    assert orders == []
    live(heart, clock, 5)
    assert orders[0] == "reached the deadline that the gateway set"
    assert clock.passed < 1010


def test_a_deadline_holds_while_the_gateway_is_away(heart, gateway_server, clock, orders):
    gateway_server.answer["deadline"] = clock.now() + 1000
    heart.beat()
    gateway_server.away_until = 10**9
    live(heart, clock, 999)
    assert orders == []
    live(heart, clock, 5)
    assert orders


def test_a_deadline_can_be_taken_back(heart, gateway_server, clock, orders):
    gateway_server.answer["deadline"] = clock.now() + 1000
    heart.beat()
    gateway_server.answer["deadline"] = None
    live(heart, clock, 2000)
    assert orders == []


def test_a_deadline_does_not_move_with_the_machines_clock(heart, gateway_server, clock, orders):
    gateway_server.answer["deadline"] = clock.now() + 1000
    heart.beat()
    clock.off = 5000
    gateway_server.away_until = 10**9
    live(heart, clock, 900)
    assert orders == []


def test_without_an_answer_and_without_payload_the_vm_ends_when_its_lease_does(heart, gateway_server, clock, orders):
    heart.beat()
    gateway_server.away_until = 10**9
    live(heart, clock, 3599)
    assert orders == []
    live(heart, clock, 10)
    assert orders[0] == "no answer from the gateway for 3600 s, and no payload"


@pytest.mark.parametrize("status", [401, 410, 422])
def test_an_answer_that_does_not_know_us_is_none(heart, gateway_server, clock, orders, status):
    gateway_server.faults = [("heartbeat", status, 100)]
    live(heart, clock, 3610)
    assert orders


def test_a_payload_may_finish_without_the_gateway_and_no_other_begins(
    heart, gateway_server, clock, orders, drain_file, tmp_path
):
    payload(tmp_path)
    gateway_server.away_until = 10**9
    live(heart, clock, 3590)
    assert not drain_file.exists()
    live(heart, clock, 4 * 3600)
    assert drain_file.exists()
    assert orders == []
    (tmp_path / "proc/70/cmdline").unlink()
    live(heart, clock, 400)
    assert orders


def test_a_gateway_that_was_away_for_an_hour_finds_all_as_before(
    heart, gateway_server, clock, orders, drain_file, tmp_path, console
):
    payload(tmp_path)
    heart.beat()
    gateway_server.away_until = clock.passed + 3700
    live(heart, clock, 3690)
    assert drain_file.exists()
    live(heart, clock, 700)
    assert not drain_file.exists()
    assert orders == []
    assert [note for note in console.notes if "gateway" in note][1:] == ["the gateway answers again"]


def test_a_machine_that_was_paused_for_six_hours_asks_before_it_dies(heart, gateway_server, clock, orders):
    heart.beat()
    clock.passed += 6 * 3600
    gateway_server.faults = [("heartbeat", "cut", 2)]
    live(heart, clock, 1200)
    assert orders == []


def test_the_first_beat_comes_at_once_and_none_after_the_end(heart, gateway_server, clock):
    heart._clock = Impatient(heart, beats=3)
    heart.start()
    heart._thread.join(10)
    assert len(gateway_server.heartbeats) == 3
    heart.close()
    assert not heart._thread.is_alive()


def test_a_thread_that_meets_a_mistake_goes_on(heart, console, monkeypatch):
    heart._clock = Impatient(heart, beats=2)
    monkeypatch.setattr(heart, "tell", lambda: 1 / 0)
    heart.start()
    heart._thread.join(10)
    assert console.notes == ["heartbeat: ZeroDivisionError: division by zero"] * 2


class Impatient:
    """A clock that ends the thread after some beats."""

    def __init__(self, heart, beats):
        self.heart, self.beats = heart, beats

    def monotonic(self):
        return 5000

    def wait(self, event, seconds):
        self.beats -= 1
        if self.beats == 0:
            event.set()


def test_the_heart_stops_at_once_though_its_pause_is_long(heart, gateway_server):
    from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Machine import Clock

    heart._clock = Clock()
    heart.start()
    heart.close()
    assert not heart._thread.is_alive()
