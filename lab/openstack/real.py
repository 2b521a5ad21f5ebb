"""A host whose servers boot: libvirt with files of its own, a bridge, and the golden image.

libvirtd runs in a mount namespace where its directories are those below the lab's root: nothing of the machine's
libvirt is touched, and every guest that it knows is the lab's.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from JenniferDIRAC.Resources.Cloud.QEMUAcceleration import kvm_works
from lab.common.errors import LabError
from lab.openstack.configuration import write

HOST = "qemu1"
SUBNET_VARIABLE = "JENNIFERDIRAC_CLOUD_SUBNET"
DEFAULT_SUBNET = "10.77"
_PROGRAMS = ("libvirtd", "qemu-img", "genisoimage", "ip", "unshare", "nsenter", "mount")
_CONSOLES = 100  # as many guests at most
_PLACES = ("etc/libvirt/hooks", "run/libvirt", "var/lib/libvirt", "var/log/libvirt")


class RealHost:
    """Below this root. Only root can run it, for the bridge, tap devices and mounts."""

    def __init__(self, root: Path):
        self.root = root
        # an interface's name has 15 characters
        self.bridge = f"jennifer{hashlib.sha256(os.fsencode(root)).hexdigest()[:6]}"

    @staticmethod
    def require_possible() -> None:
        """:raises LabError: this user cannot run such a host, or a program is missing"""
        if os.geteuid() != 0:
            raise LabError(
                "a host with real guests needs root (a bridge, tap devices, mounts): run the same command as root. "
                "Without --real the cloud needs nobody special"
            )
        missing = [name for name in _PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
        if missing:
            raise LabError(f"not installed: {', '.join(missing)}. './run cloud' installs what a real host needs")

    def choose_subnet(self) -> str:
        """The first two numbers of addresses that nothing else on this machine uses.

        :raises LabError: those of ``JENNIFERDIRAC_CLOUD_SUBNET`` are in use
        """
        self.remove_bridge()  # what a killed lab left
        return choose_subnet(_routes(), os.environ.get(SUBNET_VARIABLE))

    def write_configuration(self, first_console_port: int) -> None:
        directory = self.root / "libvirt"
        for place in _PLACES:
            (directory / place).mkdir(parents=True)
        etc = directory / "etc/libvirt"
        write(etc / "libvirtd.conf", "libvirtd.conf", {"uuid": uuid.uuid4()})
        write(etc / "qemu.conf", "qemu.conf", {})
        hook = etc / "hooks/qemu"
        write(hook, "libvirt_hook", {"bridge": self.bridge})
        hook.chmod(0o755)
        write(directory / "libvirtd.sh", "libvirtd.sh", {"root": self.root})
        for name in (f"{HOST}/instances", "libvirt"):
            (self.root / "state" / name).mkdir(parents=True, exist_ok=True)
        accelerator = ("kvm", "host-passthrough") if kvm_works() else ("qemu", "host-model")
        values = {
            "host": HOST,
            "root": self.root,
            "accelerator": accelerator[0],
            "cpu_mode": accelerator[1],
            "console_ports": (first_console_port, first_console_port + _CONSOLES - 1),
        }
        write(self.root / f"etc/nova/{HOST}.conf", "real_host.conf", values)

    @property
    def libvirt_command(self) -> list[str | Path]:
        return ["unshare", "--mount", "--propagation", "private", "sh", self.root / "libvirt/libvirtd.sh"]

    @property
    def is_listening(self) -> bool:
        return (self.root / "libvirt/run/libvirt/libvirt-sock").exists()

    @staticmethod
    def beside(pid: int, command: Sequence[str | Path]) -> list[str | Path]:
        """The same command with libvirtd's files in the usual places."""
        return ["nsenter", f"--mount=/proc/{pid}/ns/mnt", *command]

    def make_bridge(self, subnet: str) -> None:
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("addr", "add", f"{subnet}.0.1/16", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def remove_bridge(self) -> None:
        """With the tap devices that are still attached."""
        if not Path("/sys/class/net", self.bridge).exists():
            return
        for port in Path("/sys/class/net", self.bridge, "brif").iterdir():
            _ip("link", "del", port.name)
        _ip("link", "del", self.bridge)

    def end_guests(self) -> None:
        """Those that run from this root, whether libvirt knows them or not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.guests():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            end = time.monotonic() + 3
            while self.guests() and time.monotonic() < end:
                time.sleep(0.05)

    def guests(self) -> list[int]:
        """Processes of QEMU."""
        here, found = os.fsencode(self.root / "state" / HOST / "instances"), []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                text = path.read_bytes()
                if os.path.basename(text.split(b"\0")[0]).startswith(b"qemu-system") and here in text:
                    found.append(int(path.parent.name))
        return found


def choose_subnet(used: Iterable[ipaddress.IPv4Network], wanted: str | None) -> str:
    """:raises LabError: what is wanted is no pair of numbers, or in use"""
    used = list(used)
    default = int(DEFAULT_SUBNET.partition(".")[2])
    for candidate in [wanted] if wanted else [f"10.{number}" for number in range(default, default + 20)]:
        try:
            network = ipaddress.IPv4Network(f"{candidate}.0.0/16")
        except ValueError:
            raise LabError(f"{SUBNET_VARIABLE}={wanted}: expected two numbers, such as {DEFAULT_SUBNET}") from None
        clash = next((other for other in used if other.overlaps(network)), None)
        if not clash:
            return candidate
    raise LabError(
        f"{network} of the servers' network overlaps {clash}, which this machine has. "
        f"Choose another with {SUBNET_VARIABLE}, such as {SUBNET_VARIABLE}=10.123"
    )


def _routes() -> list[ipaddress.IPv4Network]:
    """What this machine reaches otherwise than by its default route."""
    routes = json.loads(_ip("-j", "-4", "route") or "[]")
    return [ipaddress.IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout
