"""The pilot's files: fetched from a server that is trusted, checked, unpacked nowhere else."""

import tarfile
from http.client import BadStatusLine, IncompleteRead

import pytest
from guest_directory import NORMAL_END
from pilot_server import CA

from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import load_trust_anchors
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import PilotFiles


def test_a_server_that_is_down_is_passed_over(vm):
    vm.settings["pilot_file_urls"].insert(0, "https://localhost:1")
    assert "pause" not in vm.live()
    assert vm.said.code == 200


def test_no_server_at_all_is_told_after_several_rounds(vm):
    vm.settings["pilot_file_urls"] = ["https://localhost:1"]
    assert [line for line in vm.live().splitlines() if "pause" in line] == ["pause 5", "pause 15", "pause 45"]
    assert vm.said.code == 500
    assert "cannot fetch the pilot" in vm.said.reason
    assert "https://localhost:1" in vm.said.reason


def test_a_server_that_no_ca_vouches_for_is_not_trusted(vm, tmp_path):
    (tmp_path / "other.pem").write_text(CA("Another CA").pem)
    vm.settings["trust_anchors"] = load_trust_anchors(tmp_path / "other.pem")
    vm.live()
    assert vm.said.code == 500
    assert "certificate" in vm.said.reason.lower()
    assert not (vm.pilot_directory / "dirac-pilot.py").exists()


@pytest.mark.parametrize("name", ["pilot.tar", "pilot.json"])
def test_a_file_that_was_changed_on_the_way_is_not_run(vm, server, name):
    with (server.directory / name).open("ab") as file:
        file.write(b"\0")
    vm.live()
    assert vm.said.code == 500
    assert f"{name} does not have the checksum" in vm.said.reason
    assert not (vm.root / "var/log/jennifer/pilot.log").exists()


def test_a_file_without_a_checksum_is_not_run(vm, server):
    (server.directory / "checksums.sha512").write_text("")
    vm.live()
    assert "does not list pilot.json" in vm.said.reason


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("/tmp/evil"),
        member("a/../../evil"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "dirac-pilot.py"),
        member("device", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_an_archive_that_reaches_outside_is_refused(vm, server, evil):
    server.publish(NORMAL_END, (evil,))
    vm.live()
    assert vm.said.code == 600
    assert "refused the member" in vm.said.reason


def test_a_server_that_speaks_no_http_costs_a_try_and_not_the_vm(tmp_path, clock, monkeypatch):
    answers = [BadStatusLine("garbage"), IncompleteRead(b"half"), {"pilot.tar": b"whole"}]

    def fetch_checked(url, context):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(PilotFiles, "fetch_checked", fetch_checked)
    PilotFiles.fetch_pilot(["https://one", "https://two"], str(tmp_path), "/nowhere", clock)
    assert (tmp_path / "pilot.tar").read_bytes() == b"whole"
