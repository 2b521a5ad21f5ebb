"""Runs a provisioner through a simulated world; time jumps over cycles that cannot differ from the last."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Measure import Measure
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

_TELL_EVERY = 0.5  # seconds of real time


class Provisioner(Protocol):
    """Who starts VMs. ``polling``: seconds between cycles."""

    name: str
    polling: float

    def cycle(self) -> bool:
        """One cycle; whether the next may do something though nothing changes in the world."""

    def outcomes(self) -> Counter[str]:
        """How its VMs ended, where it keeps a record of it."""

    def wakes_at(self) -> float | None:
        """When, at the latest, a cycle may differ though nothing changes in the world; seconds, None: never."""


@dataclass
class Result:
    """One run. ``calls`` are those to the clouds, those of cycles that were not run included; ``seconds`` is how long
    it took."""

    name: str
    measure: Measure
    calls: Counter[Call] = field(default_factory=Counter)
    cycles: int = 0
    skipped: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


def run(
    world: World, provisioner: Provisioner, progress: Callable[[float], None] | None = None, every_cycle: bool = False
) -> Result:
    """From now to the scenario's end. ``progress`` is told the part done; ``every_cycle``: none is skipped."""
    began = told = time.monotonic()
    result = Result(provisioner.name, world.measure)
    end, polling = world.scenario.days * 86400, provisioner.polling
    tick = 0
    while tick * polling <= end:
        world.advance(tick * polling)
        sights, calls = world.sights, _calls(world)
        goes_on = provisioner.cycle() or every_cycle
        result.cycles += 1
        this_cycle = _calls(world) - calls
        result.calls += this_cycle
        upcoming = tick + 1
        if not goes_on:
            upcoming = _sleep(world, provisioner, sights, tick, end)
            result.skipped += upcoming - tick - 1
            for call, number in this_cycle.items():  # a cycle that cannot differ asks the same
                result.calls[call] += number * (upcoming - tick - 1)
        tick = upcoming
        if progress and time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            progress(min(1.0, tick * polling / end))
    world.advance(end)
    world.measure.finish()
    result.outcomes = provisioner.outcomes()
    result.seconds = time.monotonic() - began
    return result


def _sleep(world: World, provisioner: Provisioner, sights: int, tick: int, end: float) -> int:
    """Let time pass until something can be seen, or a time-out ends; the number of the next cycle."""
    wake = provisioner.wakes_at()
    limit = end + provisioner.polling if wake is None else wake
    while world.sights == sights and (event := world.next_event) is not None and event <= limit:
        world.step()
    until = world.seconds if world.sights != sights else limit
    return max(tick + 1, math.ceil(until / provisioner.polling))


def _calls(world: World) -> Counter[Call]:
    total: Counter[Call] = Counter()
    for cloud in world.clouds.values():
        total += cloud.calls
    return total
