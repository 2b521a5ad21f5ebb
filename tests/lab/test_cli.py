"""``dirac-admin-cloud`` as an operator types it, on a real service."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from lab_world import store

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

VM = "abcdef" + "0" * 26


@pytest.fixture
def one_vm(dirac):
    """A planned VM of belle at the first site."""
    from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent

    vm_type = VMTypeKey("CLOUD.GRIF.fr", "grif-qemu", "el-1core")
    intent = Intent(VM, vm_type, "belle", 1, 1024, 1, f"cloud://grif-qemu/{VM}", "stamp")
    store().record_intents([intent], datetime.now(UTC))
    store().note(VM, console_tail="booting\x1b[2J and on")


def test_vms_lists_what_has_not_ended(one_vm, tell):
    shown = tell("vms")
    assert VM[:12] in shown and "CLOUD.GRIF.fr/grif-qemu" in shown
    (record,) = json.loads(tell("vms", "--json"))
    assert (record["vm_id"], record["state"]) == (VM, "Planned")
    assert json.loads(tell("vms", "--vo", "t2k.org", "--json")) == []
    assert json.loads(tell("vms", "--state", "Ended", "--json")) == []


def test_show_takes_the_beginning_of_an_id_and_keeps_escapes_off_the_terminal(one_vm, tell):
    shown = tell("show", VM[:8])
    assert "task queue 1 of belle" in shown
    assert "booting" in shown and "\x1b" not in shown
    assert json.loads(tell("show", VM, "--json"))["history"][0]["target"] == "Planned"


def test_kill_decides_the_end_and_records_who_and_why(one_vm, tell):
    tell("kill", VM, "--reason", "no longer wanted")
    record = store().get(VM)
    assert (record.state.value, record.outcome.value) == ("Deleting", "Killed")
    assert record.outcome_reason == "killed by adm: no longer wanted"


def test_status_shows_the_last_cycle(one_vm, tell):
    from lab.dirac.director import new_director

    new_director().cycle()
    shown = tell("status")
    assert store().installation() in shown
    assert "VCYCLE.Napoli.it/napoli-qemu" in shown
    reports = json.loads(tell("status", "--json"))["reports"]
    assert {(report["ce"], report["vo"]) for report in reports} >= {("grif-qemu", "belle"), ("napoli-qemu", "t2k.org")}


def test_render_shows_the_user_data_and_no_secret(lab, tell):
    shown = tell("render", "grif-qemu", "el-1core", "--vo", "belle")
    assert shown.startswith("#cloud-config")
    assert "<secret>" in shown
    assert "PRIVATE KEY" not in shown
    assert "--wnVO=belle" in shown


def test_render_writes_a_drive_of_the_same_that_nothing_overwrites(lab, tell, mistake, tmp_path):
    iso = tmp_path / "seed.iso"
    words = ("render", "grif-qemu", "el-1core", "--vo", "belle", "--iso", str(iso))
    assert json.loads(tell(*words, "--json"))["bytes"] == iso.stat().st_size
    seen = tmp_path / "seen"
    extract = ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/user-data", seen]
    subprocess.run(extract, check=True, capture_output=True)
    assert seen.read_text().startswith("#cloud-config")
    assert "PRIVATE KEY" not in seen.read_text()
    mistake(words, 1, "not there yet")


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("show", "123456"), 1, "dirac-admin-cloud vms"),
        (("render", "griff-qemu", "el-1core", "--vo", "belle"), 1, "grif-qemu"),
        (("render", "grif-qemu", "el-1core", "--vo", "lhcb"), 1, "lhcb"),
        (("vms", "--state", "Asleep"), 2, "Asleep"),
        (("vms", "--limit", "0"), 2, "limit"),
        (("kil", VM), 2, "kill"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(dirac, mistake, words, code, said):
    mistake(words, code, said)


@pytest.mark.parametrize("words", [("vms",), ("pause", "-m", "x")])
def test_a_user_without_the_property_sees_nothing_and_pulls_no_lever(dirac, command, words):
    done = command(*words, user="alice", group="belle_user")
    assert done.returncode == 1
    assert "lacks a property" in done.stderr


def test_without_a_proxy_the_exit_code_says_so(dirac, command, tmp_path):
    done = command("vms", proxy=str(tmp_path / "none"))
    assert done.returncode == 3
    assert "dirac-proxy-info" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_verb_teaches_itself_with_examples(lab, tell):
    levers = ("drain", "undrain", "hold", "release", "override", "restore", "pause", "resume", "levers")
    for verb in ("status", "vms", "show", "kill", "render", "why", *levers):
        shown = tell(verb, "--help").splitlines()
        assert any(line.startswith(f"  Example: dirac-admin-cloud {verb}") for line in shown)


def test_dirac_finds_the_extension_by_its_own_means(lab):
    def found(what: str) -> str:
        command = [sys.executable, "-m", "DIRAC.Core.Utilities.Extensions", what]
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout

    assert "WorkloadManagementSystem VirtualMachineManagerHandler" in found("findServices")
    assert "WorkloadManagementSystem VirtualMachineDB.sql" in found("findDatabases")

    from DIRAC.Core.Utilities.Extensions import extensionsByPriority

    assert extensionsByPriority()[0] == "JenniferDIRAC"
