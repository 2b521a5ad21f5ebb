"""The demo as a process, and where it has its labs."""

import os
import subprocess
import sys
from pathlib import Path

from lab.openstack import OpenStackLab

CLONE = Path(__file__).parents[2]
PORT_OFFSET = int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0")) + 1500


def openstack_of(root: Path) -> OpenStackLab:
    """Where a demo with this root has its OpenStack."""
    return OpenStackLab(root.with_name("openstack-e2e"), port_offset=PORT_OFFSET)


def start(root: Path, *options: str, **streams) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIRAC")}
    environment["JENNIFERDIRAC_PORT_OFFSET"] = str(PORT_OFFSET)
    command = [sys.executable, "-m", "lab.demo", "--root", str(root), *options]
    return subprocess.Popen(command, cwd=CLONE, env=environment, text=True, **streams)
