"""The demo's options. ``./run demo --help`` runs this alone, with any Python: nothing has to be set up for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lab.vos import VOS


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """``words`` are those of the command line by default."""
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="A real DIRAC server, the CloudDirector as a real agent, one job for each VO, and real virtual "
        "machines for them. Exit code 0: every job is Done and nothing is left behind.",
    )
    parser.add_argument(
        "--cloud",
        choices=("qemu", "openstack"),
        default="qemu",
        help="what starts the virtual machines: QEMU by itself at two sites, or a real OpenStack's Nova at one, which "
        "needs root (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the timeline of every job and VM (progress to stderr)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything up, also after a failure; ./run down takes it down"
    )
    parser.add_argument("--debug", action="store_true", help="log everything at debug level; the logs are in ROOT/log")
    parser.add_argument("--vo", action="append", choices=list(VOS), help="only jobs of this VO; may be repeated")
    parser.add_argument(
        "--pilot",
        metavar="URL",
        help="git repository of another pilot, such as the real Pilot 3 (default: the stand-in)",
    )
    parser.add_argument("--pilot-branch", metavar="NAME", default="master", help="its branch (default: %(default)s)")
    parser.add_argument("--root", type=Path, help="the lab's directory, which is emptied (default: <home>/lab)")
    return parser.parse_args(words)


if __name__ == "__main__":
    parse()
