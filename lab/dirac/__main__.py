"""``python -m lab.dirac up|status|reset|down``: the lab's DIRAC server by hand."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lab.dirac import Lab, LabError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.dirac", description=__doc__)
    parser.add_argument("action", choices=("up", "status", "reset", "down"))
    parser.add_argument("--root", type=Path, help="the lab's directory (default: <home>/lab)")
    parser.add_argument("--cfg", type=Path, action="append", default=[], help="CS file merged over the lab's (up)")
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        lab = Lab(arguments.root)
        if arguments.action == "up":
            lab.up(arguments.cfg, lambda text: print(f"[{time.monotonic() - start:5.1f} s] {text}", flush=True))
            print(f"DIRAC is up: dips://{lab.address}, files and logs in {lab.root}")
        elif arguments.action == "status":
            return _status(lab)
        elif arguments.action == "reset":
            lab.reset()
        else:
            lab.down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _status(lab: Lab) -> int:
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
