"""A real VM with the in-VM program and a gateway: what it is told, what it tells, and what its payload cannot see."""

import base64
import gzip
import json
import re
import sys
import time
import uuid
from pathlib import Path

import pytest
import yaml
from one_vm import whole_life

from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import load_trust_anchors
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program

CONTEXT_TESTS = Path(__file__).parents[1] / "unit/WorkloadManagementSystem/Context"
sys.path += [str(CONTEXT_TESTS), str(CONTEXT_TESTS / "jennifer_vm")]

from gateway_server import TICKET, FakeClock, GatewayServer  # noqa: E402
from pilot_server import CA, PilotServer  # noqa: E402

PROXY = "-----BEGIN CERTIFICATE-----\nhunter2\n"
HOST = "host.test"  # this host, as the VM's network has it at 10.0.2.2
# What a payload that is curious does, and then a JobAgent's words until it is told to drain.
PILOT = r"""
import glob, os, socket, time
print("user", os.getuid(), "clock", int(time.time()))
try:
    socket.create_connection(("169.254.169.254", 80), 5)
    print("METADATA")
except OSError as error:
    print("metadata:", error)
secret = [b"hunter" + b"2", b"t" * 43]
places = ["/etc/jennifer", "/var/lib/cloud", "/run/cloud-init", "/var/log", "/opt/jennifer"]
files = [os.path.join(d, f) for place in places for d, _, names in os.walk(place) for f in names]
files += glob.glob("/dev/vd*") + glob.glob("/dev/sr*") + glob.glob("/proc/[0-9]*/environ")
files += glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/mem")
for path in files:
    try:
        with open(path, "rb") as file:
            content = file.read(10**7)
    except OSError:
        continue
    if any(word in content for word in secret):
        print("SECRET in", path)
print("looked into", len(files))
agent = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: "
print(agent + "Received JobID=7, JobType=User, Owner=u", flush=True)
while not os.path.exists("/var/lib/dirac_drain"):
    time.sleep(0.5)
print(agent + 'JobAgent will stop with message "Node is being drained by an operator", execution complete.')
"""


class SlowClock(FakeClock):
    """This host's time, 100 s ahead of the VM's."""

    def now(self):
        return time.time() + 100


@pytest.fixture
def servers(tmp_path):
    ca = CA("CA of a gateway")
    (tmp_path / "ca.pem").write_text(ca.pem)
    gateway = GatewayServer(ca, tmp_path, uuid.uuid4().hex, SlowClock(), HOST)
    pilot = PilotServer(ca, tmp_path, HOST)
    pilot.publish(PILOT)
    gateway.envelope = {
        "settings": {
            "pilot_argv": [],
            "pilot_env": {},
            "pilot_file_urls": [pilot.url.replace("localhost", HOST)],
            "pilot_user": "dirac",
            "cert_dir": "/etc/grid-security/certificates",
            "trust_anchors": load_trust_anchors(tmp_path / "ca.pem"),
            "max_lifetime": 1000,
            "heartbeat": 5,
        },
        "credential": {"kind": "proxy", "pem": PROXY},
    }
    yield ca, gateway
    gateway.close()
    pilot.close()


def user_data(ca, gateway):
    told = {"url": gateway.url.replace("localhost", HOST), "ca": ca.pem, "ticket": "/etc/jennifer/ticket"}
    settings = {"vm_id": gateway.vm_id, "extra_hosts": [f"10.0.2.2 {HOST}"], "max_lifetime": 1000, "gateway": told}
    files = {
        "/opt/jennifer/jennifer-vm": ("0755", packed_program()),
        "/etc/jennifer/vm.json": ("0600", json.dumps(settings).encode()),
        "/etc/jennifer/ticket": ("0600", TICKET.encode()),
    }
    write = [
        {
            "path": path,
            "permissions": mode,
            "encoding": "gz+b64",
            "content": base64.b64encode(gzip.compress(content)).decode(),
        }
        for path, (mode, content) in files.items()
    ]
    config = {"write_files": write, "runcmd": [["python3", "/opt/jennifer/jennifer-vm"]]}
    return b"#cloud-config\n" + yaml.safe_dump(config).encode()


def test_a_vm_does_as_the_gateway_says_and_its_payload_sees_no_secret(servers, tmp_path):
    ca, gateway = servers

    def drain_at_the_first_job():
        gateway.answer["drain"] = any("jobs" in heartbeat["notes"] for heartbeat in gateway.heartbeats)

    state = tmp_path / "cloud"
    state.mkdir()
    console = whole_life(state, user_data(ca, gateway), gateway.vm_id, drain_at_the_first_job)
    assert gateway.end == {"code": 100, "reason": "Node is being drained by an operator"}, console
    assert "set by the gateway's" in console
    log = gateway.logs["pilot"].decode()
    assert "user 1000" in log
    assert "metadata: " in log
    assert int(re.search(r"looked into (\d+)", log)[1]) > 20
    assert "SECRET" not in log
    assert "METADATA" not in log
    assert gateway.heartbeats[-1]["notes"]["metadata"] == "closed by nft"
    assert {heartbeat["phase"] for heartbeat in gateway.heartbeats} == {"boot", "pilot", "end"}
    for secret in ("hunter2", TICKET, gateway.session):
        assert secret not in console
        assert not any(secret.encode() in log for log in gateway.logs.values())
