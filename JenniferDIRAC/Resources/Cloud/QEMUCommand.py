"""How QEMU is started for a server of the embedded cloud, and why so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from JenniferDIRAC.Resources.Cloud.QEMUAcceleration import QEMU

_DEFAULT_KERNEL_COMMAND_LINE = "root=/dev/vda rw console=ttyS0"


def qemu_command(
    directory: Path, name: str, cores: int, ram_mib: int, image: Path, accelerator: Literal["kvm", "tcg"]
) -> list[str]:
    """The words that start the server of ``directory``, whose name is the server's id.

    :param image: its kernel is booted directly when ``.vmlinuz`` lies beside it
    """
    command = [
        QEMU,
        # First, because it is what the endpoint looks for.
        *("-uuid", directory.name),
        *("-name", name),
        *("-accel", "kvm" if accelerator == "kvm" else "tcg,thread=multi,tb-size=512"),
        # Without KVM no CPU model is faster than another (Python's imports within 10 %); max has all that TCG can do.
        *("-cpu", "host" if accelerator == "kvm" else "max"),
        *("-machine", "q35"),
        *("-smp", str(cores)),
        *("-m", str(ram_mib)),
        *("-nodefaults", "-display", "none", "-no-user-config", "-no-reboot", "-daemonize"),
        # The overlay dies with its server, so nothing is lost by never waiting for the host's disk. Where that is
        # full, the guest gets an error: by default it would be paused for ever.
        *("-drive", f"file={_escaped(directory / 'disk.qcow2')},format=qcow2,if=virtio,cache=unsafe,werror=report"),
        *("-drive", f"file={_escaped(directory / 'seed.iso')},format=raw,if=virtio,readonly=on"),
        # QEMU would announce an IPv6 network that leads nowhere on most hosts.
        *("-nic", "user,model=virtio-net-pci,ipv6=off"),
        *("-device", "virtio-rng-pci"),
        *("-chardev", f"file,id=console,path={_escaped(directory / 'console.log')}", "-serial", "chardev:console"),
    ]
    kernel, initrd, words = (image.with_suffix(suffix) for suffix in (".vmlinuz", ".initrd", ".cmdline"))
    if not kernel.exists():
        # A boot loader of somebody else's image may want a screen.
        command += ["-vga", "std"]
    else:
        append = words.read_text().strip() if words.exists() else _DEFAULT_KERNEL_COMMAND_LINE
        command += ["-kernel", os.fspath(kernel), "-append", append]
        if initrd.exists():
            command += ["-initrd", os.fspath(initrd)]
    return command


def _escaped(path: Path) -> str:
    """A comma in a QEMU option's value is written twice."""
    return os.fspath(path).replace(",", ",,")
