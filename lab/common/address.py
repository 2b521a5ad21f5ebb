"""The host's address that both this machine and a guest of user-mode QEMU can reach, and who holds a port."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.common.errors import LabError

_TCP_LISTEN = "0A"


def host_address() -> str:
    """The IPv4 address of the default route, else the first global one of any interface.

    A guest of user-mode QEMU reaches every address of its host except the loopback ones.

    :raises LabError: the machine has loopback addresses only
    """
    for address in (_default_route_address(), *_interface_addresses()):
        if address and not ipaddress.ip_address(address).is_loopback:
            return address
    raise LabError(
        "this machine has no IPv4 address besides loopback, and virtual machines could not reach the DIRAC services. "
        "Add one, for instance: ip link add jennifer0 type dummy && ip addr add 10.123.0.1/24 dev jennifer0 && "
        "ip link set jennifer0 up"
    )


def _default_route_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # UDP: chooses a route and sends nothing
        except OSError:
            return ""
        return probe.getsockname()[0]


def _interface_addresses() -> Iterable[str]:
    try:
        listing = subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    for interface in json.loads(listing or "[]"):
        for entry in interface.get("addr_info", ()):
            if entry.get("scope") == "global":
                yield entry["local"]


def require_free_ports(ports: Iterable[int]) -> None:
    """:raises LabError: something listens on one of these TCP ports; names the port and, when visible, the process"""
    for port in sorted(ports):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                raise LabError(
                    f"port {port} is in use by {_listener(port) or 'a process that is not visible to this user'}. "
                    "End it, or move all ports of the lab: JENNIFERDIRAC_PORT_OFFSET is a number added to each of them"
                ) from None


def _listener(port: int) -> str:
    """Process id and command of whatever listens on a TCP port, or "" when it cannot be found."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(Path("/proc/net", table), port)}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
            if match and match[1] in inodes:
                process = link.parents[1]
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:120]})"
        except OSError:
            continue
    return ""


def _listening_inodes(table: Path, port: int) -> Iterable[str]:
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return
    for row in rows:
        fields = row.split()
        if fields[3] == _TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]
