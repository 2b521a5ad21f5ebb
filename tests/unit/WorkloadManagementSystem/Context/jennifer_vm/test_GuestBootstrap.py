"""A VM whose user-data bring no program, run for real in a directory: the bootstrap gets it, and becomes it."""

import base64
import getpass
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from guest_directory import PROXY, VM_ID, pythons

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import BOOTSTRAP, packed_bootstrap, packed_program

IN_USER_DATA = ("vm_id", "extra_hosts", "max_lifetime")


@pytest.fixture
def world(vm, gateway_server, ca):
    """A VM of the template minimal, before the bootstrap, and its gateway."""
    vm.settings |= {"pilot_user": getpass.getuser(), "extra_hosts": ["10.0.2.2 dirac.here.org"]}
    gateway_server.envelope = {
        "settings": {name: value for name, value in vm.settings.items() if name not in ("vm_id", "credential")},
        "credential": {"kind": "proxy", "pem": PROXY},
        "program": base64.b64encode(packed_program()).decode(),
    }
    told = {name: vm.settings[name] for name in IN_USER_DATA}
    access = {"url": gateway_server.url, "ticket": "/etc/jennifer/ticket", "ca": ca.pem}
    vm.file("etc/jennifer/vm.json", json.dumps(told | {"boot_patience": 0, "gateway": access}), 0o600)
    vm.file("etc/jennifer/ticket", gateway_server.ticket, 0o600)
    vm.file("dev/console", "")
    (vm.root / "run").mkdir(exist_ok=True)
    (vm.root / "opt/jennifer").mkdir(parents=True)
    vm.proxy.unlink()
    return vm


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_a_console_is_a_terminal(world, gateway_server, python):
    master, slave = pty.openpty()
    (world.root / "dev/console").unlink()
    (world.root / "dev/console").symlink_to(os.ttyname(slave))
    output = live(world, python)
    assert gateway_server.end["code"] == 200, output
    assert f"@jennifer {VM_ID} hello" in os.read(master, 1000).decode()
    os.close(master)
    os.close(slave)


def begin(vm, python=sys.executable, **kwargs):
    start = vm.root / "opt/jennifer/start"
    start.write_bytes(packed_bootstrap())
    command = [python, start, "--root", str(vm.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)


def live(vm, python=sys.executable):
    output, _ = begin(vm, python).communicate(timeout=60)
    return output


def said(vm):
    return parse_console((vm.root / "dev/console").read_text(), VM_ID).said


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_the_program_of_the_envelope_lives_the_whole_life(world, gateway_server, python):
    output = live(world, python)
    assert "this is a trial: the machine stays on" in output
    assert gateway_server.end["code"] == 200, output
    assert (world.root / "opt/jennifer/jennifer-vm").read_bytes() == packed_program()
    assert [operation for _, operation in gateway_server.requests].count("redeem") == 1
    assert gateway_server.heartbeats, "the session of the bootstrap is the program's"


def test_nothing_of_it_is_left_in_a_file(world, gateway_server):
    live(world)
    secrets = [word.encode() for word in (gateway_server.ticket, gateway_server.session, "hunter2")]
    files = [path for path in world.root.rglob("*") if path.is_file() and path not in world.copies]
    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []
    assert list((world.root / "run").rglob("*.json")) == []


def test_session_and_credential_stand_in_no_argument_list_and_no_environment(world, gateway_server, server):
    server.publish("import time; print('waiting', flush=True); time.sleep(60)\n")
    process = begin(world)
    for line in process.stdout:
        if "pilot-start" in line:
            break
    try:
        seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        assert b"--redeemed" in seen[0]
        secrets = [gateway_server.ticket, gateway_server.session, "hunter2"]
        assert not [secret for secret in secrets if any(secret.encode() in text for text in seen)]
        assert os.readlink(f"/proc/{process.pid}/fd/0") == "/dev/null"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_director_hears_of_it_before_the_gateway_answers(world, gateway_server):
    gateway_server.faults = [("redeem", 503, 9)]
    live(world)
    assert parse_console((world.root / "dev/console").read_text(), VM_ID).spoke


@pytest.mark.parametrize(("fault", "told"), [(403, "403"), (503, "503"), ("cut", "RemoteDisconnected")])
def test_refused_or_out_of_patience_it_ends_and_says_why(world, gateway_server, fault, told):
    gateway_server.faults = [("redeem", fault, 9)]
    assert "this is a trial" not in live(world)
    assert said(world).code == 500
    assert told in said(world).reason


def test_a_refusal_is_final_however_much_patience_is_left(world, gateway_server):
    settings = json.loads((world.root / "etc/jennifer/vm.json").read_text())
    world.file("etc/jennifer/vm.json", json.dumps(settings | {"boot_patience": 900}))
    gateway_server.faults = [("redeem", 403, 1)]
    live(world)
    assert len(gateway_server.requests) == 1


def test_a_gateway_that_nobody_vouches_for_gets_no_ticket(world, gateway_server):
    settings = json.loads((world.root / "etc/jennifer/vm.json").read_text())
    settings["gateway"]["ca"] = ""
    world.file("etc/jennifer/vm.json", json.dumps(settings))
    live(world)
    assert "CERTIFICATE_VERIFY_FAILED" in said(world).reason
    assert gateway_server.requests == []


def test_an_envelope_without_a_program_ends_it(world, gateway_server):
    del gateway_server.envelope["program"]
    live(world)
    assert said(world).code == 500
    assert "program" in said(world).reason


def test_the_bootstrap_is_short_and_runs_on_python_3_6(tmp_path):
    code = tmp_path / "start.py"
    code.write_bytes(packed_bootstrap())
    assert b"redeem" in code.read_bytes() and len(code.read_bytes()) < len(BOOTSTRAP.read_bytes()) * 0.8
    vermin = Path(sys.executable).with_name("vermin")
    checked = subprocess.run([vermin, "-t=3.6-", "--no-tips", "--violations", code], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
