"""Ten endpoints of which one hangs, beside the nine others alone: what do the nine notice?"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import Child
from lab.openstack.cloud import IMAGE, Cloud, Project

ENDPOINTS = 9
_VMS = 2  # per endpoint and cycle that creates
_LOOKS = 9  # cycles without creates, to one with them
_HANGING = "Hanging"

Say = Callable[[str], None]


@dataclass
class Side:
    """One director's cycles, in seconds; looks and creates by endpoint. The first cycle, with its logins, is apart."""

    first_cycle: float = 0
    cycles: list[float] = field(default_factory=list)
    looks: dict[str, list[float]] = field(default_factory=dict)
    creates: dict[str, list[float]] = field(default_factory=dict)

    def take(self, seen: dict[str, Any]) -> None:
        self.cycles.append(seen["seconds"])
        for cloud, seconds in seen["looks"].items():
            self.looks.setdefault(cloud, []).append(seconds)
        for cloud, times in seen["creates"].items():
            self.creates.setdefault(cloud, []).extend(times)


@dataclass(frozen=True)
class Comparison:
    """The nine alone, and the nine beside the one that hangs. Their cycles took turns, so each has its counterpart."""

    alone: Side
    beside: Side

    @property
    def cycle(self) -> float:
        return _ratio(self.alone.cycles, self.beside.cycles)

    @property
    def looks(self) -> dict[str, float]:
        """By endpoint, how many times the time of its counterpart a look takes beside the one that hangs."""
        return {cloud: _ratio(times, self.beside.looks[cloud]) for cloud, times in self.alone.looks.items()}

    @property
    def creates(self) -> dict[str, float]:
        return {cloud: _ratio(times, self.beside.creates[cloud]) for cloud, times in self.alone.creates.items()}


def compare(cloud: Cloud, rounds: int, say: Say) -> Comparison:
    """Two directors in two processes; one has an endpoint more, that hangs."""
    with ExitStack() as stack:
        projects = {}
        for number in range(1, ENDPOINTS + 1):
            project = projects[f"Cloud{number}"] = cloud.make_project()
            stack.callback(cloud.remove_project, project)
        clouds_yaml = str(stack.enter_context(_clouds_yaml(cloud, projects)))
        sides = {}
        for name, clouds in (("nine alone", [*projects]), ("nine and one that hangs", [*projects, _HANGING])):
            settings = {"clouds_yaml": clouds_yaml, "clouds": clouds, "image": IMAGE, "vms": _VMS}
            child = stack.enter_context(Child(name, "director", Path(sys.executable), settings))
            sides[child] = Side(first_cycle=_cycle(child, "look")["seconds"])
            say(f"{name}: first cycle {sides[child].first_cycle:.1f} s")
        alone, beside = sides.values()
        for round in range(rounds):
            for step in range(1 + _LOOKS):
                for child in [*sides][:: -1 if (round + step) % 2 else 1]:
                    sides[child].take(_cycle(child, "look" if step else "create"))
            times = f"{median(alone.cycles):.2f} s, beside the one that hangs {median(beside.cycles):.2f} s"
            say(f"round {round + 1} of {rounds}: a cycle of nine endpoints {times}")
        return Comparison(alone, beside)


def _ratio(alone: list[float], beside: list[float]) -> float:
    return median(b / a for a, b in zip(alone, beside, strict=True))


def _cycle(child: Child, order: str) -> dict[str, Any]:
    return child.order(order)["value"]


@contextmanager
def _clouds_yaml(cloud: Cloud, projects: dict[str, Project]) -> Iterator[Path]:
    """Entries of the nine, and of one whose Keystone takes every connection and never says a word."""
    clouds = {name: cloud.password_entry(project) for name, project in projects.items()}
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent, tempfile.TemporaryDirectory() as directory:
        hanging = next(iter(clouds.values()))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v3"
        clouds[_HANGING] = {**hanging, "auth": {**hanging["auth"], "auth_url": url}}
        path = Path(directory, "clouds.yaml")
        path.touch(0o600)
        path.write_text(json.dumps({"clouds": clouds}))
        yield path
