"""VMs of the gateway, really booted: what a payload can reach there, and a gateway that is away for a while."""

import os
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from one_vm import whole_life

from JenniferDIRAC.Resources.Cloud import QEMUEndpoint as qemu
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import _as_gzip
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState
from lab.dirac import home, jobs
from lab.image import golden_image

# Without KVM on a busy machine; a quiet one needs a tenth of it.
JOB_SECONDS = 600
# How long the gateway is away. An hour works too: the lab's director and VMs have the defaults of an installation.
AWAY_SECONDS = float(os.environ.get("JENNIFERDIRAC_AWAY_SECONDS", "75"))

SNOOP = r"""#!/bin/bash
# Everything that a payload can think of. One line per attempt: what, and what came of it.
try() {
  local what=$1 got
  shift
  got=$("$@" 2>/dev/null | tr -d '\0' | head -c 300)
  echo "$what: $([ -n "$got" ] && echo READ || echo closed)"
}
copies=/var/lib/cloud/instances
echo "as $(id -un)"
try ticket cat /etc/jennifer/ticket
try settings cat /etc/jennifer/vm.json
try user-data bash -c "cat $copies/*/user-data.txt* $copies/*/obj.pkl /var/lib/cloud/seed/*/user-data"
try combined cat /run/cloud-init/combined-cloud-config.json
try sensitive cat /run/cloud-init/instance-data-sensitive.json
try seed bash -c 'cat /dev/vdb /dev/sr0 /dev/disk/by-label/cidata'
try disk head -c 100 /dev/vda
try logs bash -c 'cat /var/log/jennifer/*'
for process in $(grep -lsE 'jennifer-vm' /proc/[0-9]*/cmdline | cut -d/ -f3); do
  [ "$(stat -c %u /proc/$process 2>/dev/null)" = 0 ] || continue
  echo "found process of root"
  try environment cat /proc/$process/environ
  try memory head -c 100 /proc/$process/mem
  try files bash -c "cat /proc/$process/fd/*"
done
echo "arguments: $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -cE '^[A-Za-z0-9_-]{43}$')"
echo "environment words: $(env | grep -cE '=[A-Za-z0-9_-]{43}$')"
echo "pilot's proxy: $(find /var/lib/jennifer -name proxy.pem -printf '%m of %u')"
echo "its directory: $(stat -c '%a of %U' /var/lib/jennifer/pilot)"
touch /var/lib/dirac_drain 2>/dev/null && echo "drain: MADE" || echo "drain: closed"
"""


@pytest.fixture
def director(dirac):
    golden_image(home() / "images")
    dirac.start_agent()
    yield dirac
    dirac.processes.stop(["CloudDirector"])


def store():
    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB

    return VirtualMachineDB().store


def until(done, seconds, what):
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end, what
        time.sleep(1)
    return value


def logs(dirac, vm):
    return {path.stem: path.read_text(errors="replace") for path in (dirac.root / "cloud-logs").glob(f"*/{vm}/*.log")}


def test_a_payload_finds_neither_ticket_nor_session_nor_user_data_nor_anybody_elses_proxy(director):
    job = jobs.submit("belle", SNOOP)
    jobs.wait_for([job], {"Done"}, JOB_SECONDS)
    told = dict(line.split(": ", 1) for line in jobs.output(job, "belle")["std.out"].splitlines() if ": " in line)
    assert "as dirac" in jobs.output(job, "belle")["std.out"]
    assert "found process of root" in jobs.output(job, "belle")["std.out"]
    closed = {"ticket", "settings", "user-data", "combined", "sensitive", "seed", "disk", "logs", "drain"}
    closed |= {"environment", "memory", "files"}
    assert {name: told[name] for name in closed} == dict.fromkeys(closed, "closed")
    assert (told["arguments"], told["environment words"]) == ("0", "0")
    # It is of the pilot's own user, as everywhere with DIRAC's plain inner CE; nobody else may read it.
    assert (told["pilot's proxy"], told["its directory"]) == ("600 of dirac", "700 of dirac")
    (record,) = store().select()
    until(lambda: store().get(record.vm_id).state is VMState.ENDED, 180, "it has not ended")
    said = logs(director, record.vm_id)
    assert said.keys() == {"jennifer", "pilot", "cloud-init"}
    assert "verdict code=200" in said["jennifer"]
    assert "PRIVATE KEY" not in "".join(said.values())


def test_a_gateway_that_goes_away_costs_neither_the_payload_nor_its_log(director):
    job = jobs.submit("belle", f"#!/bin/sh\nsleep {min(AWAY_SECONDS / 3, 600):.0f}\necho 'well done'\n")
    jobs.wait_for([job], {"Running"}, JOB_SECONDS)
    (record,) = store().select()
    until(lambda: store().get(record.vm_id).heartbeat_at, 60, "no heartbeat came")
    began = time.monotonic()
    with director.away("gateway"):
        jobs.wait_for([job], {"Done"}, JOB_SECONDS + AWAY_SECONDS)
        time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - began)))
        assert store().get(record.vm_id).state is VMState.RUNNING, store().history(record.vm_id)
        before = logs(director, record.vm_id)
        assert "pilot-end" not in before.get("jennifer", "")
    until(lambda: store().get(record.vm_id).state is VMState.ENDED, 600, "it has not ended")
    ended = store().get(record.vm_id)
    assert (ended.outcome, ended.jobs, ended.said_code) == (Outcome.WORKED, 1, 200)
    said = logs(director, record.vm_id)
    assert "pilot-end exit=0 jobs=1" in said["jennifer"]
    assert "JobAgent" in said["pilot"].splitlines()[-1] or len(said["pilot"]) > len(before.get("pilot", ""))


# The metadata service


class Metadata(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the user-data of this VM")

    def log_message(self, *words):
        """Nothing."""


@contextmanager
def metadata_service():
    """On this host's loopback; a port of it."""
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


TRY = """
import sys, urllib.request
try:
    print(sys.argv[1], urllib.request.urlopen("http://169.254.169.254:%d/", timeout=5).read().decode())
except OSError as error:
    print(sys.argv[1], "is refused")
"""
CLOSE = """
import sys
sys.path.insert(0, "/opt/jennifer/jennifer-vm")
from jennifer_vm.Firewall import ADDRESSES, close_metadata
print("firewall:", close_metadata(ADDRESSES, "/"))
"""


def user_data(port):
    """A VM that asks the metadata service as root and as the pilot's user, before and after it was closed."""
    steps = [
        "python3 /root/try 'before: root'",
        "runuser -u dirac -- python3 - 'before: dirac' </root/try",
        "python3 /root/close",
        "python3 /root/try 'after: root'",
        "runuser -u dirac -- python3 - 'after: dirac' </root/try",
        "poweroff",
    ]
    files = [("/root/try", TRY % port), ("/root/close", CLOSE), ("/opt/jennifer/jennifer-vm", packed_program())]
    config = {
        "write_files": [
            {"path": path, "encoding": "gz+b64", "content": _as_gzip(content), "permissions": "0644"}
            for path, content in files
        ],
        "runcmd": [["bash", "-c", f"({'; '.join(steps)}) >/dev/ttyS0 2>&1"]],
    }
    return b"#cloud-config\n" + yaml.safe_dump(config).encode()


def test_the_metadata_service_is_closed_to_payloads_and_not_to_root(tmp_path, monkeypatch):
    made = qemu.qemu_command
    # QEMU's own network, in which this host's loopback has the address of the metadata service
    network = "user,model=virtio-net-pci,ipv6=off,net=169.254.169.0/24,host=169.254.169.254"
    monkeypatch.setattr(
        qemu,
        "qemu_command",
        lambda *given: [network if word.startswith("user,") else word for word in made(*given)],
    )
    with metadata_service() as port:
        console = whole_life(tmp_path, user_data(port))
    assert "before: root the user-data of this VM" in console
    assert "before: dirac the user-data of this VM" in console
    assert "firewall: ('', 'closed by nft')" in console
    assert "after: root the user-data of this VM" in console
    assert "after: dirac is refused" in console
