"""DIRAC gets the output of a VM's pilot, once."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import LogStore, Quotas
from JenniferDIRAC.WorkloadManagementSystem.Gateway.PilotOutputs import PilotOutputs
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState, VMTypeKey

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
VM = "abcdef01" * 4
REFERENCE = f"cloud://grif-cloud/{VM}"


class Pilots:
    """What PilotAgentsDB does with outputs."""

    def __init__(self):
        self.outputs, self.refusal, self.known, self.away = {}, "", {REFERENCE}, False

    def getPilotOutput(self, reference):
        if self.away:
            return {"OK": False, "Message": "( 2013 : Lost connection to server )"}
        if reference not in self.outputs:
            return {"OK": False, "Message": f"PilotJobReference {reference} not found"}
        return {"OK": True, "Value": self.outputs[reference]}

    def storePilotOutput(self, reference, output, error):
        if self.away:  # DIRAC takes its own failed query for an unknown pilot
            return {"OK": False, "Message": f"Pilot reference not found {reference}"}
        if self.refusal or reference not in self.known:
            return {"OK": False, "Message": self.refusal or f"Pilot reference not found {reference}"}
        assert reference not in self.outputs  # the database takes them once
        self.outputs[reference] = (output, error)
        return {"OK": True, "Value": 1}


class Scene:
    def __init__(self, tmp_path):
        self.store = VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))
        place = VMTypeKey("CLOUD.GRIF.fr", "grif-cloud", "el9-4core")
        self.store.record_intents([Intent(VM, place, "belle", 4, 8192, 7, REFERENCE, "0" * 32)], NOW)
        self.store.sessions.keep(VM, "a" * 64, b"sealed", timedelta(hours=1))
        mib = 2**20
        self.logs = LogStore(tmp_path / "logs", Quotas(64 * mib, 16, 128 * mib, 1024 * mib), 100 * mib)
        self.pilots, self.warnings = Pilots(), []
        self.time = 0.0
        self.outputs = PilotOutputs(self.store, self.logs, self.pilots, self.warnings.append, lambda: self.time)

    def write(self, label, data):
        self.logs.append(VM, label, 0, data)

    def say_the_end(self):
        at = self.store.clock() - timedelta(minutes=6)
        self.store.note(VM, said_code=200, said_reason="done", pilot_finished_at=at)

    def end(self):
        self.store.request_kill(VM, "adm", "", NOW)
        self.store.move(VM, VMState.DELETING, VMState.ENDED, NOW, "gone")

    def handed_over(self):
        self.outputs.hand_over()
        return self.pilots.outputs.get(REFERENCE)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_when_the_vm_has_told_its_end_dirac_gets_the_pilots_output_and_what_the_vm_said(scene):
    scene.write("pilot", b"pilot output\n")
    scene.write("jennifer", b"hello\n")
    assert scene.handed_over() is None
    scene.say_the_end()
    output, error = scene.handed_over()
    assert output == "pilot output\n"
    assert f"jennifer.log of VM {VM}" in error and "hello" in error


def test_dirac_is_given_it_once_whatever_comes_later(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.handed_over()
    scene.end()
    assert scene.handed_over()[0] == "pilot output\n"


def test_another_gateway_may_have_given_it(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.pilots.outputs[REFERENCE] = ("theirs", "")
    assert scene.handed_over() == ("theirs", "")
    assert scene.store.sessions.to_hand_over(10) == ()


def test_logs_may_come_for_a_while_after_a_vm_told_its_end(scene):
    scene.write("pilot", b"the beginning\n")
    scene.store.note(VM, said_code=100, said_reason="asked to stop", pilot_finished_at=scene.store.clock())
    assert scene.handed_over() is None
    scene.logs.append(VM, "pilot", len(b"the beginning\n"), b"the end\n")
    scene.end()
    assert scene.handed_over()[0] == "the beginning\nthe end\n"


def test_while_diracs_database_is_away_no_output_is_given_up(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.pilots.away = True
    assert scene.handed_over() is None
    assert "Lost connection" in scene.warnings[0]
    scene.pilots.away, scene.time = False, 601.0
    assert scene.handed_over()[0] == "pilot output\n"


def test_logs_that_cannot_be_read_now_are_read_later(scene, monkeypatch):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    with monkeypatch.context() as patched:
        patched.setattr(LogStore, "tail", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        assert scene.handed_over() is None
    scene.time = 601.0
    assert scene.handed_over()[0] == "pilot output\n"


def test_outputs_that_dirac_never_takes_do_not_block_others(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.pilots.refusal = "too large"
    scene.outputs.hand_over()
    assert scene.store.sessions.to_hand_over(10, without=[VM]) == ()


def test_a_vm_that_was_killed_leaves_what_it_had_sent(scene):
    scene.write("pilot", b"half of it")
    scene.end()
    assert scene.handed_over()[0] == "half of it"


def test_one_that_never_spoke_leaves_its_console(scene):
    scene.store.note(VM, console_tail="Kernel \x1b[2Jpanic")
    scene.end()
    output, error = scene.handed_over()
    assert output == ""
    assert "panic" in error and "\x1b" not in error


def test_what_dirac_does_not_take_now_it_gets_later(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.pilots.refusal = "MySQL is away"
    assert scene.handed_over() is None
    assert "MySQL is away" in scene.warnings[0]
    scene.pilots.refusal = ""
    assert scene.handed_over() is None
    scene.time += 601
    assert scene.handed_over()


def test_a_pilot_that_dirac_never_knew_is_not_offered_for_ever(scene):
    scene.write("pilot", b"pilot output\n")
    scene.say_the_end()
    scene.pilots.known.clear()
    scene.outputs.hand_over()
    assert scene.store.sessions.to_hand_over(10) == ()
    assert scene.warnings == []


def test_of_a_long_output_dirac_gets_the_end(scene):
    scene.write("pilot", b"x" * 2**20)
    scene.logs.append(VM, "pilot", 2**20, b"\nthe last line\n")
    scene.say_the_end()
    output, _ = scene.handed_over()
    assert output == "the last line\n"
