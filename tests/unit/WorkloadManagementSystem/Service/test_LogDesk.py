"""Operators read the logs that VMs sent to the gateway."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import UnknownVM, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Service.LogDesk import LogDesk, NoLog

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
VM = "abcdef01" * 4


@pytest.fixture
def store(tmp_path):
    store = VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))
    place = VMTypeKey("CLOUD.GRIF.fr", "grif-cloud", "el9-4core")
    store.record_intents([Intent(VM, place, "belle", 4, 8192, 7, f"cloud://grif-cloud/{VM}", "0" * 32)], NOW)
    return store


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "cloud-logs" / VM[:2] / VM
    directory.mkdir(parents=True)
    (directory / "pilot.log").write_text("".join(f"line {number:02}\n" for number in range(10)))
    (directory / "jennifer.log").write_text("hello \x1b[2J world\nhalf a li")
    return tmp_path / "cloud-logs"


@pytest.fixture
def desk(store, root):
    return LogDesk(store, lambda: root)


def test_a_vms_logs_are_listed_with_their_sizes(desk):
    record, logs = desk.logs(VM[:8])
    assert record.vm_id == VM
    assert [(log.label, log.size) for log in logs] == [("jennifer", 26), ("pilot", 80)]


def test_a_log_is_read_in_pieces_of_whole_lines(desk):
    first = desk.read(VM, "pilot", 0, 20)
    assert (first["text"], first["next"], first["size"]) == ("line 00\nline 01\n", 16, 80)
    assert desk.read(VM, "pilot", 16, 8)["text"] == "line 02\n"


def test_a_line_that_is_longer_than_a_piece_is_read_all_the_same(desk):
    assert desk.read(VM, "pilot", 0, 4)["next"] == 4


def test_what_is_there_of_the_last_line_is_shown(desk):
    assert desk.read(VM, "jennifer", 0, 1000)["text"].endswith("half a li")


def test_the_end_of_a_log_begins_with_a_line(desk):
    piece = desk.read(VM, "pilot", -20, 1000)
    assert (piece["text"], piece["next"]) == ("line 08\nline 09\n", 80)
    assert desk.read(VM, "pilot", -1000, 1000)["text"].startswith("line 00")


def test_no_terminal_acts_upon_what_a_vm_wrote(desk):
    assert "\x1b" not in desk.read(VM, "jennifer", 0, 1000)["text"]


def test_a_log_that_grows_is_followed_from_where_it_was(desk, root):
    at = desk.read(VM, "pilot", 0, 1000)["next"]
    assert desk.read(VM, "pilot", at, 1000)["text"] == ""
    with (root / VM[:2] / VM / "pilot.log").open("a") as log:
        log.write("more\n")
    assert desk.read(VM, "pilot", at, 1000)["text"] == "more\n"


def test_a_log_that_is_not_there_is_told_with_those_that_are(desk):
    with pytest.raises(NoLog, match="sent no log 'pilott'; it sent: jennifer, pilot"):
        desk.read(VM, "pilott", 0, 10)


@pytest.mark.parametrize("label", ["../pilot", "pilot.log", "/etc/passwd", "", "a" * 100])
def test_no_label_leads_elsewhere(desk, label):
    with pytest.raises(NoLog, match="sent no log"):
        desk.read(VM, label, 0, 10)


def test_a_vm_that_nobody_knows_has_no_logs(desk):
    with pytest.raises(UnknownVM):
        desk.logs("f" * 32)


def test_a_directory_that_is_elsewhere_is_told_with_its_option(store, tmp_path):
    with pytest.raises(NoLog, match=r"no directory .*/none here: .* LogPath in /Systems/.*/CloudGateway"):
        LogDesk(store, lambda: tmp_path / "none").logs(VM)


def test_whether_more_may_come_is_told(store, desk):
    assert not desk.read(VM, "pilot", 0, 10)["ended"]
    store.request_kill(VM, "adm", "", NOW)
    store.move(VM, VMState.DELETING, VMState.ENDED, NOW, "gone")
    assert desk.read(VM, "pilot", 0, 10)["ended"]
