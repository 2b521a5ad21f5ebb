"""A VM's words in DIRAC's own remote pilot logging: the real service, and the proxies that a VM has."""

import json
import time
import uuid
from datetime import timedelta

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Console import MAX_KEPT_LINES, Console
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotLogging import MAX_LINE, PilotLogging
from JenniferDIRAC.WorkloadManagementSystem.Context.PilotCommand import pilot_logger
from lab.dirac.pilot_logging import PROCESS, logged, pilot_logging


@pytest.fixture(scope="module")
def service(lab):
    with pilot_logging(lab, "belle") as url:
        yield url


class VM:
    """The part of a VM's program that speaks there, with a console of its own."""

    def __init__(self, lab, url, proxy, stamp=None, vo="belle"):
        self.stamp = stamp or uuid.uuid4().hex
        self.console = Console([], vm_id="f" * 32)
        settings = {"url": url, "stamp": self.stamp, "vo": vo}
        self.logging = PilotLogging(settings, str(proxy), str(lab.ca_directory), self.console)
        self.open = logged(lab, "belle", self.stamp)
        self.closed = self.open.with_name(f"{self.stamp}.log")

    @property
    def notes(self):
        return [line for line in self.console.lines if " note " in line]


@pytest.fixture
def limited_proxy(lab, tmp_path):
    """What the director gives a VM."""
    from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices

    path = tmp_path / "proxy.pem"
    path.write_text(DiracServices().pilot_proxy("belle", timedelta(hours=1)).reveal())
    return path


@pytest.fixture
def vm(lab, service, limited_proxy):
    return VM(lab, service, limited_proxy)


def of_the_service(stamp):
    from DIRAC.WorkloadManagementSystem.Client.TornadoPilotLoggingClient import TornadoPilotLoggingClient

    result = TornadoPilotLoggingClient().getLogs(stamp, "belle")
    assert result["OK"], result
    return result["Value"]["StdOut"]


def test_it_is_switched_on_for_a_vo_and_as_for_pilots_for_ces(service, cs):
    assert pilot_logger("belle", "grif-qemu") == service
    assert pilot_logger("t2k.org", "grif-qemu") == ""
    cs({"/Operations/belle/Pilot/RemoteLoggerCEsWhiteList": "other, napoli-qemu"})
    assert pilot_logger("belle", "napoli-qemu") == service
    assert pilot_logger("belle", "grif-qemu") == ""


def test_a_vms_words_are_found_by_its_pilots_stamp(vm):
    vm.console.say("hello", uptime=3.5)
    vm.console.say("pilot-start", disk_mib=900)
    vm.logging.begin()
    assert vm.notes == []
    assert of_the_service(vm.stamp) == "".join(vm.console.lines)
    assert vm.open.read_text() == of_the_service(vm.stamp)


def test_the_vo_is_that_of_the_proxy_whatever_a_vm_says(lab, service):
    vm = VM(lab, service, lab.proxy("pilot", "belle_pilot"), vo="t2k.org")
    vm.console.say("hello")
    vm.logging.begin()
    assert vm.open.read_text() == "".join(vm.console.lines)
    assert not logged(lab, "t2k.org", vm.stamp).exists()


def test_who_is_no_pilot_is_refused(lab, service):
    vm = VM(lab, service, lab.proxy("alice", "belle_user"))
    vm.console.say("hello")
    vm.logging.begin()
    (note,) = vm.notes
    assert "401" in note
    assert not vm.open.exists()


def test_a_refusal_in_an_answer_of_success_is_no_success(lab, service, limited_proxy):
    vm = VM(lab, service, limited_proxy, stamp="no stamp")
    vm.console.say("hello")
    vm.logging.begin()
    (note,) = vm.notes
    assert "Pilot UUID is invalid" in note


def test_a_service_that_is_away_costs_nothing(lab, vm):
    vm.console.say("hello")
    with lab.away(PROCESS):
        began = time.monotonic()
        vm.logging.begin()
        with pytest.raises(OSError):
            vm.logging.end(200, pilot_began=True)
        assert time.monotonic() - began < 2
        (note,) = vm.notes
        assert "remote pilot logging: <urlopen error" in note
    vm.logging.end(500, pilot_began=False)
    assert vm.closed.read_text() == "".join(vm.console.lines)


def test_a_log_that_the_pilot_left_open_gets_the_end_and_is_closed(vm):
    vm.console.say("pilot-start")
    vm.logging.begin()
    vm.console.say("end", code=100)
    vm.logging.end(100, pilot_began=True)
    assert vm.closed.read_text() == "".join(vm.console.lines)
    assert not vm.open.exists()


def test_a_log_that_the_pilot_closed_stays_as_it_was(vm):
    from DIRAC.WorkloadManagementSystem.Client.TornadoPilotLoggingClient import TornadoPilotLoggingClient

    vm.console.say("pilot-start")
    vm.logging.begin()
    pilot = TornadoPilotLoggingClient()
    assert pilot.sendMessage(json.dumps("the pilot's words\n"), vm.stamp, "belle")["OK"]
    assert pilot.finaliseLogs(json.dumps({"retCode": "0"}), vm.stamp, "belle")["OK"]
    vm.console.say("end", code=200)
    with pytest.raises(ValueError, match="getLogs was refused"):
        vm.logging.end(200, pilot_began=True)
    assert vm.closed.read_text() == vm.console.lines[0] + "the pilot's words\n"
    assert not vm.open.exists()


def test_what_is_sent_is_bounded_and_printable(vm):
    vm.console.say("pilot-start", text="x" * 10_000)
    for _ in range(MAX_KEPT_LINES):
        vm.console.note("\x1b[31m\n@jennifer \u202e" + "\u0434" * 10_000)
    vm.logging.begin()
    lines = of_the_service(vm.stamp).splitlines()
    assert len(lines) == MAX_KEPT_LINES
    assert max(map(len, lines)) <= MAX_LINE
    assert all(line.isprintable() and line.isascii() for line in lines)
