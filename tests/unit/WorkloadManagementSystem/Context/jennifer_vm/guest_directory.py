"""A directory that stands for a VM's disk, and the in-VM program run in it: packed, as a VM gets it."""

import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program

VM_ID = "a" * 32
PROXY = "-----BEGIN CERTIFICATE-----\nhunter2\n"
USER = "nobody" if os.geteuid() == 0 else getpass.getuser()
# The system's, because another user may have no way to one below somebody's home directory.
PYTHON = shutil.which("python3", path=os.defpath) or sys.executable
# What the program is in a VM, but for the power switch and for time: pauses are told, and cost none.
DRIVER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from jennifer_vm import Console, Heartbeat, Hygiene, Interrupts, Life, Machine, PilotProcess
root = sys.argv[2]
Life.GRACE = PilotProcess.GRACE = PilotProcess.LAST_WORDS = 1

class Clock(Machine.Clock):
    passed = 0

    def now(self):
        return super().now() + self.passed

    def monotonic(self):
        return super().monotonic() + self.passed

    def sleep(self, seconds):
        print("pause", seconds, flush=True)
        self.passed += seconds

    def wait(self, event, seconds):
        return event.wait(min(seconds, 0.1))

    def set(self, now):
        print("clock set", flush=True)

exec(sys.argv[3])

def power_off():
    # The host may lose patience just now; that must not keep the machine up.
    os.kill(os.getpid(), signal.SIGTERM)
    open(root + "/powered-off", "w").close()

Life.main(root=root, power_off=power_off, clock=Clock())
"""
JOB = "print('2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Received JobID=7, JobType=User, Owner=u')\n"


def stop(message):
    line = f'JobAgent will stop with message "{message}", execution complete.'
    return f"print('2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: {line}')\n"


NORMAL_END = JOB + stop("Nothing to do for more than 1 cycles")


@cache
def program_file():
    """The packed program, where every user may read it."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = directory / "jennifer-vm"
    path.write_bytes(packed_program())
    return path


class GuestDirectory:
    """A VM's disk as cloud-init leaves it."""

    def __init__(self, root, server, trust_anchors):
        self.root = root
        self.settings = {
            "vm_id": VM_ID,
            "pilot_argv": ["-N", "ours", "-o", "two words"],
            "pilot_env": {
                "PILOT_UUID": "jennifer://ours/1",
                "X509_CERT_DIR": "/etc/grid-security/certificates",
                "X509_VOMS_DIR": "/etc/grid-security/vomsdir",
                "X509_VOMSES": "/etc/grid-security/vomses",
            },
            "pilot_file_urls": [server.url],
            "pilot_user": USER,
            "credential": {"kind": "proxy-file", "path": "/etc/jennifer/proxy.pem"},
            "cert_dir": "/etc/grid-security/certificates",
            "trust_anchors": trust_anchors,
            "extra_hosts": ["10.0.2.2 dirac.here.org"],
            "max_lifetime": 60,
        }
        self.console = self.file("dev/ttyS0", "")
        self.file("sys/class/tty/console/active", "tty0 ttyS0\n")
        self.file("etc/hosts", "127.0.0.1 localhost\n")
        self.tool("nft")
        self.proxy = self.file("etc/jennifer/proxy.pem", PROXY, 0o600)
        self.copies = [
            self.file(path, PROXY, 0o600)
            for path in (
                "var/lib/cloud/instances/i-1/user-data.txt",
                "var/lib/cloud/instances/i-1/user-data.txt.i",
                "var/lib/cloud/instances/i-1/cloud-config.txt",
                "var/lib/cloud/instances/i-1/obj.pkl",
                "var/lib/cloud/seed/nocloud/user-data",
                "run/cloud-init/instance-data-sensitive.json",
                "run/cloud-init/combined-cloud-config.json",
            )
        ]
        self.pilot_directory = root / "var/lib/jennifer/pilot"

    def file(self, path, text, mode=0o644):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def tool(self, name, script="exit 0"):
        """A stand-in for a program of the machine's; ``used`` tells with what arguments and words it ran."""
        record = f'echo "$@" >> {self.root}/{name}.used\n'
        return self.file(f"usr/sbin/{name}", f"#!/bin/sh\n{record}{script}\n", 0o755)

    def used(self, name):
        path = self.root / f"{name}.used"
        return path.read_text().splitlines() if path.exists() else []

    def start(self, python=PYTHON, environment=None, broken=""):
        """Run the program; ``broken`` is Python that puts something out of order before."""
        self.file("etc/jennifer/vm.json", json.dumps(self.settings))
        command = [python, "-c", DRIVER, program_file(), str(self.root), broken]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def live(self, python=PYTHON, environment=None, broken=""):
        """The whole life, and what it printed."""
        output, _ = self.start(python, environment, broken).communicate(timeout=60)
        assert self.powered_off
        return output

    @property
    def powered_off(self):
        return (self.root / "powered-off").exists()

    @property
    def said(self):
        return parse_console(self.console.read_text(), VM_ID).said

    @property
    def words(self):
        lines = self.console.read_text().splitlines()
        return [line.split()[2] for line in lines if line.startswith("@jennifer")]

    @property
    def log(self):
        return (self.root / "var/log/jennifer/pilot.log").read_text()


def pythons():
    """Every Python of this host that the program has to run under."""
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(6, 14):
        path = shutil.which(f"python3.{minor}")
        # A version manager's shim may be there without the version.
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            found.setdefault((3, minor), path)
    return sorted(found.items())


def wait_for(process, word):
    """The first line of the program's output with this word."""
    return next(line for line in process.stdout if word in line)


def is_dead(pid):
    """Gone, or a zombie that nobody has reaped."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()
