"""Processes are ended by what was recorded at their start, never by a number that somebody else has by now."""

import subprocess

import pytest

from lab.common.processes import Process, Processes, started


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def test_a_process_lives_as_long_as_its_number_names_the_same_one(sleeper):
    process = Process("sleeper", sleeper.pid, started(sleeper.pid))
    assert process.alive
    assert not Process("another", sleeper.pid, "an earlier boot/1").alive
    sleeper.kill()
    sleeper.wait()
    assert not process.alive


def test_one_that_ended_before_its_start_was_read_is_not_alive_and_is_let_go(tmp_path):
    processes = Processes(tmp_path / "processes.json", tmp_path)
    child = subprocess.Popen(["true"])
    child.wait()
    ended = Process("ended", child.pid, started(child.pid))
    assert ended.started == "" and not ended.alive
    processes._write([ended])
    processes.stop(patience=0)
    assert processes.recorded() == []
