"""``python -m lab.openstack up|status|down``: the lab's OpenStack by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.common.by_hand import show_status, timed_progress
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
            progress = timed_progress()
            lab.up(progress, real=arguments.real)
            progress(f"OpenStack is up: {lab.cloud.auth_url}, files and logs in {lab.root}")
        elif arguments.action == "status":
            return show_status(lab)
        else:
            lab.down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
