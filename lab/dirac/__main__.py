"""``python -m lab.dirac up|status|reset|down``: the lab's DIRAC server by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.common.by_hand import show_status, timed_progress
from lab.dirac import Lab, LabError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.dirac", description=__doc__)
    parser.add_argument("action", choices=("up", "status", "reset", "down"))
    parser.add_argument("--root", type=Path, help="the lab's directory (default: <home>/lab)")
    parser.add_argument("--cfg", type=Path, action="append", default=[], help="CS file merged over the lab's (up)")
    arguments = parser.parse_args()
    try:
        lab = Lab(arguments.root)
        if arguments.action == "up":
            lab.up(arguments.cfg, timed_progress())
            print(f"DIRAC is up: dips://{lab.address}, files and logs in {lab.root}")
        elif arguments.action == "status":
            return show_status(lab)
        elif arguments.action == "reset":
            lab.reset()
        else:
            lab.down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
