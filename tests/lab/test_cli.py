"""``dirac-admin-cloud`` as an operator types it, on a real service."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
VM = "abcdef" + "0" * 26


@pytest.fixture
def one_vm(dirac):
    """A planned VM of belle at the first site."""
    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
    from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent

    store = VirtualMachineDB().store
    vm_type = VMTypeKey("CLOUD.GRIF.fr", "grif-qemu", "el-1core")
    intent = Intent(VM, vm_type, "belle", 1, 1024, 1, f"cloud://grif-qemu/{VM}", "stamp")
    store.record_intents([intent], datetime.now(UTC))
    store.note(VM, console_tail="booting\x1b[2J and on")
    return store


@pytest.fixture
def command(lab):
    def run(*words: str, user: str = "adm", group: str = "dirac_admin", proxy: str = ""):
        environment = lab.environment(X509_USER_PROXY=proxy or str(lab.proxy(user, group)))
        return subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_vms_lists_what_has_not_ended(one_vm, command):
    shown = command("vms")
    assert shown.returncode == 0, shown.stderr
    assert VM[:12] in shown.stdout and "CLOUD.GRIF.fr/grif-qemu" in shown.stdout
    (record,) = json.loads(command("vms", "--json").stdout)
    assert (record["vm_id"], record["state"]) == (VM, "Planned")
    assert json.loads(command("vms", "--vo", "t2k.org", "--json").stdout) == []
    assert json.loads(command("vms", "--state", "Ended", "--json").stdout) == []


def test_show_takes_the_beginning_of_an_id_and_keeps_escapes_off_the_terminal(one_vm, command):
    shown = command("show", VM[:8])
    assert shown.returncode == 0, shown.stderr
    assert "task queue 1 of belle" in shown.stdout
    assert "booting" in shown.stdout and "\x1b" not in shown.stdout
    assert json.loads(command("show", VM, "--json").stdout)["history"][0]["target"] == "Planned"


def test_kill_decides_the_end_and_records_who_and_why(one_vm, command):
    killed = command("kill", VM, "--reason", "no longer wanted")
    assert killed.returncode == 0, killed.stderr
    record = one_vm.get(VM)
    assert (record.state.value, record.outcome.value) == ("Deleting", "Killed")
    assert record.outcome_reason == "killed by adm: no longer wanted"


def test_status_shows_the_last_cycle(one_vm, command):
    from lab.dirac.director import new_director

    new_director().cycle()
    shown = command("status")
    assert shown.returncode == 0, shown.stderr
    assert one_vm.installation() in shown.stdout
    assert "VCYCLE.Napoli.it/napoli-qemu" in shown.stdout
    reports = json.loads(command("status", "--json").stdout)["reports"]
    assert {(report["ce"], report["vo"]) for report in reports} >= {("grif-qemu", "belle"), ("napoli-qemu", "t2k.org")}


def test_render_shows_the_user_data_and_no_secret(lab, command):
    shown = command("render", "grif-qemu", "el-1core", "--vo", "belle")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("#cloud-config")
    assert "<secret>" in shown.stdout
    assert "PRIVATE KEY" not in shown.stdout
    assert "--wnVO=belle" in shown.stdout


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
def test_mistakes_are_answered_with_what_to_do(dirac, command, words, code, said):
    done = command(*words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_without_the_property_is_refused(dirac, command):
    done = command("vms", user="alice", group="belle_user")
    assert done.returncode == 1
    assert "lacks a property" in done.stderr


def test_without_a_proxy_the_exit_code_says_so(dirac, command, tmp_path):
    done = command("vms", proxy=str(tmp_path / "none"))
    assert done.returncode == 3
    assert "dirac-proxy-info" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_verb_teaches_itself(lab, command):
    for verb in ("status", "vms", "show", "kill", "render"):
        shown = command(verb, "--help")
        assert shown.returncode == 0
        assert f"Example: dirac-admin-cloud {verb}" in shown.stdout


def test_dirac_finds_the_extension_by_its_own_means(lab):
    def found(what: str) -> str:
        command = [sys.executable, "-m", "DIRAC.Core.Utilities.Extensions", what]
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout

    assert "WorkloadManagementSystem VirtualMachineManagerHandler" in found("findServices")
    assert "WorkloadManagementSystem VirtualMachineDB.sql" in found("findDatabases")

    from DIRAC.Core.Utilities.Extensions import extensionsByPriority

    assert extensionsByPriority()[0] == "JenniferDIRAC"
