"""Whether KVM works on this host, proven by booting something with it."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected

QEMU = "qemu-system-x86_64"
PROBE_LIMIT_SECONDS = 3.0

# mov al, 0x10; out 0xf4, al; hlt; jmp to hlt -- and the signature that makes it a boot sector.
_BOOT_SECTOR = bytes.fromhex("b010 e6f4 f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
# QEMU's isa-debug-exit ends with (value << 1) | 1: a status that no failure of QEMU itself has.
_PROBE_PASSED = (0x10 << 1) | 1


def boots_with(accelerator: str, limit_seconds: float = PROBE_LIMIT_SECONDS) -> bool:
    """Boot a 512-byte sector of our own with this QEMU accelerator, for at most ``limit_seconds``."""
    with tempfile.NamedTemporaryFile(prefix="boot-probe-") as sector:
        sector.write(_BOOT_SECTOR)
        sector.flush()
        command = [QEMU, "-accel", accelerator, "-m", "16", "-nodefaults", "-display", "none", "-no-reboot",
                   "-drive", f"file={sector.name},format=raw,if=floppy,readonly=on", "-boot", "a",
                   "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]  # fmt: skip
        try:
            run = subprocess.run(
                command, check=False, timeout=limit_seconds, capture_output=True, stdin=subprocess.DEVNULL
            )
        except (subprocess.TimeoutExpired, OSError):
            return False
    return run.returncode == _PROBE_PASSED


def processor_has_virtualisation(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo names vmx (Intel) or svm (AMD).

    /dev/kvm may open, and even make a VM, on a host that cannot run one: the flag is asked first.
    """
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return not {"vmx", "svm"}.isdisjoint(flags.split())


@cache
def kvm_works() -> bool:
    """The proof, made once per process."""
    return processor_has_virtualisation(Path("/proc/cpuinfo").read_text()) and boots_with("kvm")


def choose_accelerator(wanted: Literal["auto", "kvm", "tcg"]) -> Literal["kvm", "tcg"]:
    """:raises Rejected: KVM is demanded and does not work here"""
    if wanted == "tcg":
        return "tcg"
    if kvm_works():
        return "kvm"
    if wanted == "kvm":
        raise Rejected(
            "acceleration = kvm, but no guest boots with KVM on this host: expected vmx or svm in /proc/cpuinfo and a "
            "usable /dev/kvm. Switch on (nested) virtualisation, add the agent's user to the group kvm, or use auto"
        )
    return "tcg"
