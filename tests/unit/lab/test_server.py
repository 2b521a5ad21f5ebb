"""The lab's own rules, without starting a server."""

import fcntl
import os
import signal
import subprocess

import pytest

from lab.common.processes import Processes
from lab.dirac import FOREIGN_VARIABLES, Lab, LabError, server
from lab.openstack import OpenStackLab


def test_without_a_network_a_lab_can_still_be_taken_down(tmp_path, monkeypatch):
    def no_address():
        raise LabError("this machine has no IPv4 address besides loopback")

    monkeypatch.delenv("JENNIFERDIRAC_ADDRESS", raising=False)
    monkeypatch.setattr(server, "host_address", no_address)
    Lab(tmp_path).down()
    with pytest.raises(LabError, match="no IPv4 address"):
        Lab(tmp_path).up()


@pytest.mark.parametrize("kind", [Lab, OpenStackLab])
def test_a_directory_that_is_not_a_labs_is_never_emptied(tmp_path, kind):
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    with pytest.raises(LabError, match="nothing was deleted"):
        kind(tmp_path).up()
    assert precious.read_text() == "years of work"


def test_of_two_who_want_a_root_the_second_is_refused_and_empties_nothing(tmp_path):
    mark, file = tmp_path / ".jenniferdirac-lab", tmp_path / "database"
    file.write_text("in use")
    lab = Lab(tmp_path)
    with mark.open("a") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(LabError, match="another process has the lab"):
            lab.up()
    assert not lab.claimed
    assert file.read_text() == "in use"


def test_what_fails_to_come_up_can_be_brought_up_by_others(tmp_path, monkeypatch):
    monkeypatch.setattr(Lab, "_start_all", lambda *_: (_ for _ in ()).throw(LabError("no luck")))
    first = Lab(tmp_path)
    for lab in (first, Lab(tmp_path)):
        with pytest.raises(LabError, match="no luck"):
            lab.up()
    assert not first.claimed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_cut_the_clean_up_short(tmp_path, monkeypatch, number):
    ended = []

    def end(self):
        os.kill(os.getpid(), number)
        ended.append("all")

    def interrupt(*_):
        raise RuntimeError("interrupted")

    monkeypatch.setattr(Lab, "_end_virtual_machines", end)
    before = signal.signal(number, interrupt)
    try:
        Lab(tmp_path).down()
        assert ended == ["all"]
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)


def test_a_process_that_ends_just_before_its_signal_is_no_failure(tmp_path, monkeypatch):
    processes = Processes(tmp_path / "processes.json", tmp_path / "log")
    child = processes.start("child", ["sleep", "600"], os.environ, tmp_path)
    kill = os.killpg

    def kill_late(pid, number):
        child.kill()
        child.wait()
        kill(pid, number)

    monkeypatch.setattr(os, "killpg", kill_late)
    processes.stop()
    assert processes.recorded() == []


def test_no_process_of_the_lab_sees_a_foreign_credential(tmp_path, monkeypatch):
    for name in FOREIGN_VARIABLES:
        monkeypatch.setenv(name, "/elsewhere")
    told = subprocess.run(["env"], env=Lab(tmp_path).environment(), capture_output=True, text=True, check=True).stdout
    assert "/elsewhere" not in told
