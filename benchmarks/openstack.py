"""How fast the director drives an OpenStack: beside the floor, DIRAC's CloudComputingElement and cobald-tardis.

    ./run benchmark openstack [--servers 100] [--rounds 3]

Two parts, both on the lab's own Nova with hosts that boot nothing, so that the clients are what is measured:

race      Everybody creates, lists and deletes the same servers in the same project, one after the other, in several
          rounds, every other one in the opposite order; the floor and ours twice in each, because one measurement
          scatters by more than what is between them. The floor is bare requests on kept connections with one token;
          'multi-create' is one POST for all (min_count). Requests and logins are counted where they leave the process.
          cobald-tardis comes twice: just started, when all its drones log in at once, and with the token it has; it
          gets an environment of its own the first time.
hanging   A director with nine endpoints, and one with the same nine and a tenth that takes connections and never
          answers; their cycles take turns.

The lab of ./run cloud up is used, or one is brought up and down. Projects and servers are always removed.
Run it on a quiet machine: with 100 servers and 3 rounds it takes about 40 minutes. The exit code is 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import hanging
from benchmarks.race import BARE, LOGIN, Entry, Times, race
from lab.common.errors import LabError
from lab.dirac import home
from lab.openstack import Cloud, OpenStackLab

# its REST client uses async-timeout in a way that later versions refuse
_TARDIS = ("cobald-tardis==0.9.0", "async-timeout<5")
_OURS = "JenniferDIRAC"
_PHASES = ("create", "look", "delete")
_LEAST_RATE = 0.9  # of the floor's
_MOST_SLOWER = 1.05

say = Console(stderr=True, highlight=False, soft_wrap=True).print


@dataclass(frozen=True)
class Goal:
    text: str
    found: str
    met: bool


def main() -> int:
    parser = argparse.ArgumentParser(
        "./run benchmark openstack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=100, help="each contestant creates so many (%(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="of the floor, at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="%(default)s")
    parser.add_argument("--part", choices=("race", "hanging"), action="append", help="only this part; repeatable")
    parser.add_argument(
        "--without", metavar="WORD", action="append", default=[], help="leave out contestants, as tardis"
    )
    parser.add_argument("--json", action="store_true", help="all figures as JSON instead of tables")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # as after Ctrl-C nothing is left behind
    with _lab() as cloud:
        return _measure(cloud, options)


def _measure(cloud: Cloud, options: argparse.Namespace) -> int:
    parts = options.part or ["race", "hanging"]
    record: dict = {"servers": options.servers, "connections": options.connections, "rounds": options.rounds}
    goals: list[Goal] = []
    tables: list[Table] = []
    if "race" in parts:
        times = _race(cloud, options)
        record["race"] = {name: asdict(one) for name, one in times.items()}
        tables += [_speed_table(times, options), _request_table(times, options.servers)]
        goals += _race_goals(times, options.servers)
    if "hanging" in parts:
        comparison = hanging.compare(cloud, options.rounds, say)
        record["hanging"] = asdict(comparison)
        tables.append(_hanging_table(comparison))
        goals += _hanging_goals(comparison)
    record["goals"] = [asdict(goal) for goal in goals]
    if options.json:
        print(json.dumps(record, indent=2))
    else:
        console = Console(width=120)
        for table in tables:
            console.print(table)
        for goal in goals:
            console.print(f"{'[green]met   ' if goal.met else '[red]missed'}[/] {goal.text}: {goal.found}")
    return 0 if all(goal.met for goal in goals) else 1


def _race(cloud: Cloud, options: argparse.Namespace) -> dict[str, Times]:
    entries = [entry for entry in _entries() if not any(word in entry.name for word in options.without)]
    project = cloud.make_project()
    try:
        return race(cloud, project, entries, options.servers, options.connections, options.rounds, say)
    finally:
        cloud.remove_project(project)


def _entries() -> Iterator[Entry]:
    """The floor and ours side by side, so that as little as possible changes between them."""
    ours = Path(sys.executable)
    yield BARE
    yield Entry(_OURS, "ours", ours, turns=BARE.turns)
    yield Entry("multi-create", "multi_create", ours)
    yield Entry("CloudComputingElement", "cloud_ce", ours)
    tardis = _tardis_python()
    yield Entry("cobald-tardis, just started", "tardis", tardis, fresh=True)
    yield Entry("cobald-tardis, logged in", "tardis_logged_in", tardis)


def _tardis_python() -> Path:
    """Its packages exclude ours (pydantic 1), so it has an environment of its own."""
    venv = home() / f"venv-tardis-{sha256(repr((_TARDIS, sys.version)).encode()).hexdigest()[:12]}"
    python = venv / "bin/python"
    if not (venv / ".complete").exists():
        say(f"installing {', '.join(_TARDIS)} into {venv} …")
        uv = Path(sys.executable).with_name("uv")
        for command in (
            ["venv", "--clear", "--python", sys.executable],
            ["pip", "install", "--python", python, *_TARDIS],
        ):
            target = [venv] if command[0] == "venv" else []
            done = subprocess.run([uv, *command, *target], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(
                    f"cobald-tardis could not be installed; leave it out with --without tardis\n{done.stderr}"
                )
        (venv / ".complete").touch()
    return python


@contextmanager
def _lab() -> Iterator[Cloud]:
    """The lab's OpenStack: the one that ``./run cloud up`` left running, or one for this run alone."""
    lab = OpenStackLab()
    if lab.is_up:
        yield lab.cloud
        return
    try:
        lab.up(say)
    except LabError as error:
        raise SystemExit(f"lab: {error}") from None
    try:
        yield lab.cloud
    finally:
        lab.down()


def _speed_table(times: dict[str, Times], options: argparse.Namespace) -> Table:
    table = Table(
        title=f"{options.servers} servers, {options.connections} connections, median of {options.rounds} rounds "
        "(seconds; × is the floor's time, of geometric means)"
    )
    for column in ("", "create", "×", "all ACTIVE", "list", "×", "delete", "×", "all gone"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in times.items():
        cells = {phase: f"{median(getattr(one, phase)):.2f}" for phase in (*_PHASES, "active", "gone")}
        slower = {phase: f"{one.slower(times[BARE.name], phase).value:.2f}" for phase in _PHASES}
        table.add_row(
            name,
            cells["create"],
            slower["create"],
            cells["active"],
            cells["look"],
            slower["look"],
            cells["delete"],
            slower["delete"],
            cells["gone"],
        )
    return table


def _request_table(times: dict[str, Times], servers: int) -> Table:
    table = Table(
        "", "create", "status cycle", "delete", "logins in all rounds", title=f"Requests for {servers} servers"
    )
    for name, one in times.items():
        cells = [
            "\n".join(f"{count} {what}" for what, count in one.requests[phase].items() if what != LOGIN)
            for phase in ("create", "cycle", "delete")
        ]
        table.add_row(name, *cells, str(one.logins), end_section=True)
    return table


def _race_goals(times: dict[str, Times], servers: int) -> Iterator[Goal]:
    ours, floor = times[_OURS], times[BARE.name]
    for phase, words in zip(_PHASES, ("creates", "lists", "deletes"), strict=True):
        slower = ours.slower(floor, phase)
        rate, low, high = 1 / slower.value, 1 / slower.high, 1 / slower.low
        text = f"{words} at {_LEAST_RATE} of the floor's rate, as far as so few rounds can tell"
        yield Goal(text, f"{rate:.2f} ({low:.2f} to {high:.2f})", high >= _LEAST_RATE)
    made = ours.requests["create"]
    yield Goal("one POST per server created, and nothing else", str(made), made == {"POST /servers": servers})
    lists = ours.requests["cycle"].get("GET /servers/detail", 0)
    singles = ours.requests["cycle"].get("GET /servers/{id}", 0)
    yield Goal("one list of servers per cycle, and none alone", f"{lists}, {singles}", (lists, singles) == (1, 0))
    yield Goal("one login in its life", str(ours.logins), ours.logins == 1)


def _hanging_table(found: hanging.Comparison) -> Table:
    alone, beside = found.alone, found.beside
    table = Table(title="Nine endpoints, alone and beside one that hangs (median; × of adjacent cycles)")
    for column in ("seconds", "look alone", "beside", "×", "create alone", "beside", "×"):
        table.add_column(column, justify="left" if column == "seconds" else "right")
    for cloud in alone.looks:
        table.add_row(
            cloud,
            *(f"{median(side.looks[cloud]):.3f}" for side in (alone, beside)),
            f"{found.looks[cloud]:.2f}",
            *(f"{median(side.creates[cloud]):.3f}" for side in (alone, beside)),
            f"{found.creates[cloud]:.2f}",
        )
    table.add_section()
    cycles = [f"{median(side.cycles):.3f}" for side in (alone, beside)]
    table.add_row("a cycle", *cycles, f"{found.cycle:.2f}")
    table.add_row("the first cycle", f"{alone.first_cycle:.1f}", f"{beside.first_cycle:.1f}")
    return table


def _hanging_goals(found: hanging.Comparison) -> Iterator[Goal]:
    slower = {"look": median(found.looks.values()), "create": median(found.creates.values()), "cycle": found.cycle}
    for what, ratio in slower.items():
        text = f"beside an endpoint that hangs a {what} of the nine takes {_MOST_SLOWER} of its time at most"
        yield Goal(text, f"{ratio:.2f}", ratio <= _MOST_SLOWER)


if __name__ == "__main__":
    sys.exit(main())
