"""The whole life of a VM, run for real in a directory: a real HTTPS server, a real process, another user."""

import getpass
import signal

import pytest
from gateway_server import TICKET
from guest_directory import NORMAL_END, PROXY, VM_ID, pythons, wait_for

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_a_vm_runs_its_pilot_tells_its_end_and_powers_off(vm, python):
    vm.settings["pilot_user"] = getpass.getuser()
    output = vm.live(python)
    assert vm.words[:2] == ["hello", "pilot-start"], output
    assert vm.words[-3:] == ["pilot-end", "end", "end"]
    assert (vm.said.code, vm.said.reason) == (200, "Nothing to do for more than 1 cycles (after 1 job(s))")
    assert parse_console(output, VM_ID).said == vm.said


@pytest.mark.parametrize(
    "broken",
    [
        "Hygiene.remove_secrets = lambda *_: __import__('time').sleep(3600)",
        "os.sync = lambda: __import__('time').sleep(3600)",
        "Hygiene.remove_secrets = None",
        "Life.printable = None",
    ],
    ids=["a hung file", "a hung disk", "a mistake", "another mistake"],
)
def test_the_machine_is_switched_off_whatever_hangs_or_fails_at_the_end(vm, broken):
    vm.live(broken=broken)  # which asserts it


def test_broken_settings_power_the_vm_off_too(vm):
    vm.settings = {}
    vm.live()
    assert "@jennifer unknown end code=500" in vm.console.read_text()


# With a gateway


@pytest.fixture
def told(vm, gateway_server, ca):
    """The same VM, told by a gateway what it has to do."""
    own = {"vm_id": VM_ID, "extra_hosts": vm.settings["extra_hosts"], "max_lifetime": 60, "boot_patience": 900}
    own["gateway"] = {"url": gateway_server.url, "ca": ca.pem, "ticket": "/etc/jennifer/ticket"}
    settings = {
        name: value for name, value in vm.settings.items() if name not in ("vm_id", "extra_hosts", "credential")
    }
    gateway_server.envelope = {"settings": settings, "credential": {"kind": "proxy", "pem": PROXY}}
    gateway_server.clock.off = -1000  # the stand-in's clock, against the VM's
    vm.settings = own
    vm.proxy.unlink()
    vm.ticket = vm.file("etc/jennifer/ticket", TICKET, 0o600)
    vm.file("var/log/cloud-init-output.log", "Cloud-init v. 24.1 running\n")
    yield vm
    assert not vm.ticket.exists()


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_a_vm_with_a_gateway_gets_all_from_it_and_tells_it_all(told, gateway_server, python):
    gateway_server.envelope["settings"]["pilot_user"] = getpass.getuser()
    output = told.live(python)
    assert told.words[:3] == ["hello", "note", "pilot-start"], output
    assert told.words[-4:] == ["pilot-end", "verdict", "end", "end"]
    assert gateway_server.end == {"code": 200, "reason": "Nothing to do for more than 1 cycles (after 1 job(s))"}
    assert gateway_server.logs["pilot"].decode() == told.log
    assert gateway_server.logs["cloud-init"] == b"Cloud-init v. 24.1 running\n"
    words = gateway_server.logs["jennifer"].decode().splitlines()
    assert [line.split()[2] for line in words] == told.words[:-2]
    assert gateway_server.heartbeats[0]["phase"] == "boot"
    assert gateway_server.heartbeats[0]["disk_mib"] > 0
    assert gateway_server.heartbeats[-1]["phase"] == "end"
    assert gateway_server.heartbeats[-1]["notes"] == {"metadata": "closed by nft", "jobs": "1 received, 0 failed"}
    assert "clock set" in output


def test_the_pilot_has_the_proxy_and_nobody_else_a_secret(told, gateway_server, server):
    server.publish(
        "import glob, os, sys\n"
        "print('proxy', open(os.environ['X509_USER_PROXY']).read())\n"
        "for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try:\n"
        "        if b'hunter' + b'2' in open(path, 'rb').read(): print('seen in', path)\n"
        "    except OSError: pass\n" + NORMAL_END
    )
    output = told.live()
    assert "hunter2" in told.log
    assert "seen in" not in told.log
    secrets = ("hunter2", TICKET, gateway_server.session)
    (told.root / "var/log/jennifer/pilot.log").unlink()
    for path in told.root.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_text(errors="replace") for secret in secrets), path
    assert not any(secret in output for secret in secrets)


def test_a_vm_whose_ticket_is_refused_ends_without_a_pilot(told, gateway_server):
    gateway_server.session = "somebody else's"
    told.live()
    assert told.said.code == 500
    assert "the gateway refused the ticket" in told.said.reason
    assert "pilot-start" not in told.words


def test_a_vm_that_no_gateway_answers_ends_when_its_patience_does(told, gateway_server):
    gateway_server.away_until = 10**9
    told.settings["max_lifetime"] = 10**6
    told.live()
    assert told.said.code == 500
    assert "cannot redeem the ticket" in told.said.reason


def test_a_gateway_that_fails_all_the_time_harms_no_pilot(told, gateway_server):
    gateway_server.faults = [
        fault
        for operation in ("redeem", "heartbeat", "logs", "end")
        for fault in ((operation, "lose", 1), (operation, 503, 1), (operation, "cut", 1))
    ]
    gateway_server.envelope["settings"]["max_lifetime"] = 100000
    told.live()
    assert told.said.code == 200
    assert gateway_server.end["code"] == 200
    assert gateway_server.logs["pilot"].decode() == told.log


def test_a_gateway_that_comes_back_after_the_payload_gets_all(told, gateway_server, server):
    server.publish("import time\ntime.sleep(1)\n" + NORMAL_END)
    gateway_server.envelope["settings"].update(max_lifetime=10**6, lease=10**5)
    process = told.start()
    wait_for(process, "pilot-start")
    gateway_server.away_until = 10**9
    wait_for(process, "verdict")
    for _ in range(60):
        wait_for(process, "pause")
    gateway_server.away_until = 0
    process.communicate(timeout=60)
    assert told.said.code == 200
    assert gateway_server.end["code"] == 200
    assert gateway_server.logs["pilot"].decode() == told.log
    assert b"verdict code=200" in gateway_server.logs["jennifer"]


def test_a_gateway_that_goes_for_good_does_not_keep_the_vm_up(told, gateway_server, server):
    server.publish("import time\ntime.sleep(1)\n" + NORMAL_END)
    gateway_server.envelope["settings"]["max_lifetime"] = 10**6
    process = told.start()
    wait_for(process, "pilot-start")
    gateway_server.away_until = 10**9
    process.communicate(timeout=60)
    assert told.powered_off
    assert told.said.code == 200
    assert gateway_server.end is None
    assert "the gateway does not have all" in told.console.read_text()


def test_a_deadline_stops_the_pilot(told, gateway_server, server):
    server.publish("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    process = told.start()
    wait_for(process, "pilot-start")
    gateway_server.answer["deadline"] = gateway_server.clock.now() + 1000
    process.communicate(timeout=60)
    assert told.powered_off
    assert (gateway_server.end["code"], told.said.code) == (100, 100)
    assert told.said.reason == "reached the deadline that the gateway set"


def test_a_stop_by_the_host_is_told_to_the_gateway_too(told, gateway_server, server):
    server.publish("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    process = told.start()
    wait_for(process, "pilot-start")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert gateway_server.end == {"code": 100, "reason": "asked to stop by the host (signal 15)"}


def test_a_host_that_wants_its_machine_back_cuts_the_farewell_short(told, gateway_server, server):
    server.publish(NORMAL_END)
    gateway_server.faults = [("logs", 503, 10**6)]
    gateway_server.envelope["settings"]["max_lifetime"] = 10**9
    gateway_server.envelope["settings"]["lease"] = 10**8
    process = told.start()
    wait_for(process, "verdict")
    wait_for(process, "pause")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert told.powered_off
    assert gateway_server.end is not None, output[-3000:]
    assert gateway_server.end["code"] == 200


def test_a_disk_that_is_too_small_ends_the_vm(told, gateway_server):
    gateway_server.envelope["settings"]["min_disk_mib"] = 10**9
    told.live()
    assert gateway_server.end["code"] == 500
    assert "MiB of disk are free for the pilot, and 1000000000 are needed" in gateway_server.end["reason"]


def test_a_metadata_service_that_stays_open_is_said_and_no_end(told, gateway_server):
    told.tool("nft", "exit 1")
    told.live()
    assert told.said.code == 200
    assert "the metadata service is open to payloads" in told.console.read_text()
    assert gateway_server.heartbeats[-1]["notes"]["metadata"].startswith("open: 169.254.169.254: no nft that works")


def test_cvmfs_that_is_missing_ends_the_vm(told, gateway_server):
    gateway_server.envelope["settings"]["cvmfs"] = {"repositories": ["belle.cern.ch"], "proxies": [], "shoal": ""}
    told.live()
    assert gateway_server.end == {"code": 500, "reason": "CVMFS is not installed, and belle.cern.ch is wanted"}


def test_cvmfs_is_configured_before_the_pilot_starts(told, gateway_server):
    told.tool("cvmfs_config")
    gateway_server.envelope["settings"]["cvmfs"] = {"repositories": ["belle.cern.ch"]}
    told.live()
    assert told.used("cvmfs_config") == ["probe belle.cern.ch"]
    assert gateway_server.heartbeats[-1]["notes"]["cvmfs"] == "DIRECT"
    assert told.words.index("pilot-start") > told.words.index("note")
