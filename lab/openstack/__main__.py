"""``python -m lab.openstack up|status|down``: the lab's OpenStack by hand."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from lab.common.errors import LabError
from lab.openstack import OpenStackLab


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run cloud", description="A real OpenStack on this machine.")
    parser.add_argument("action", choices=("up", "status", "down"))
    parser.add_argument("--root", type=Path, help="the lab's directory (default: <home>/openstack)")
    parser.add_argument("--real", action="store_true", help="up: also a host whose servers boot (as root)")
    arguments = parser.parse_args()
    try:
        lab = OpenStackLab(arguments.root)
        if arguments.action == "up":
            progress = partial(_tell, time.monotonic())
            lab.up(progress, real=arguments.real)
            progress(f"OpenStack is up: {lab.cloud.auth_url}, files and logs in {lab.root}")
        elif arguments.action == "status":
            return _status(lab)
        else:
            lab.down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _tell(start: float, text: str) -> None:
    print(f"[{time.monotonic() - start:5.1f} s] {text}", flush=True)


def _status(lab: OpenStackLab) -> int:
    processes, machines = lab.status(), lab.virtual_machines()
    if not processes and not machines:
        print(f"Nothing runs: {lab.root}")
        return 0
    for process in processes:
        state = f"PSS {process.memory_mib:4d} MiB" if process.alive else "GONE"
        print(f"{process.name:14s} pid {process.pid:7d}  {state}")
    print(f"{'all':14s}              PSS {sum(process.memory_mib for process in processes):4d} MiB  {lab.root}")
    for machine in machines:
        print(f"QEMU {machine}")
    return 0 if processes and all(process.alive for process in processes) else 1


if __name__ == "__main__":
    sys.exit(main())
