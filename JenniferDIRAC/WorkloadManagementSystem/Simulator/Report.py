"""What a run came to, in figures: for people as a table, for programs as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Scenario
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Simulation import Result

HOUR = 3600


@dataclass(frozen=True)
class Figures:
    """One run's figures. Hours are core-hours, ``*_percent`` parts of those held, waits in minutes.

    ``vms_needed`` are the VMs that ran at least one job: any other one was started for nothing, whatever the work was.
    ``share_accuracy_percent`` by endpoint: 100 less half the sum of how far each VO's part of the use is from its
    share, over the time in which all VOs with a share there had jobs waiting; absent where that never was so.
    """

    policy: str
    vms_started: int
    vms_needed: int
    started_per_needed: float | None
    core_hours_held: float
    busy_percent: float
    boot_percent: float
    idle_percent: float
    tail_percent: float
    failed_percent: float
    lost_percent: float
    wasted_core_hours: float
    jobs_submitted: int
    jobs_done: int
    wait_median: float | None
    wait_90_percent: float | None
    first_match_median: float | None
    share_accuracy_percent: dict[str, float]
    largest_cores: dict[str, int]
    outcomes: dict[str, int]
    calls: dict[str, int]
    cycles_run: int
    cycles_skipped: int
    seconds: float


def figures(result: Result) -> Figures:
    """The figures of a run that is over."""
    measure, waste = result.measure, result.measure.waste
    started, needed = sum(measure.started.values()), sum(measure.needed.values())

    def percent(part: float) -> float:
        return round(100 * part / waste.held, 2) if waste.held else 0.0

    return Figures(
        policy=result.name,
        vms_started=started,
        vms_needed=needed,
        started_per_needed=round(started / needed, 3) if needed else None,
        core_hours_held=round(waste.held / HOUR, 1),
        busy_percent=percent(waste.busy),
        boot_percent=percent(waste.boot),
        idle_percent=percent(waste.idle),
        tail_percent=percent(waste.tail),
        failed_percent=percent(waste.failed),
        lost_percent=percent(waste.lost),
        wasted_core_hours=round((waste.held - waste.busy) / HOUR, 1),
        jobs_submitted=sum(measure.jobs_submitted.values()),
        jobs_done=measure.jobs_done,
        wait_median=_minutes(measure.waits, 0.5),
        wait_90_percent=_minutes(measure.waits, 0.9),
        first_match_median=_minutes(list(measure.first_matches.values()), 0.5),
        share_accuracy_percent=_share_accuracy(result),
        largest_cores={str(key): cores for key, cores in sorted(measure.largest.items())},
        outcomes=dict(sorted(result.outcomes.items())),
        calls={call.value: number for call, number in sorted(result.calls.items())},
        cycles_run=result.cycles,
        cycles_skipped=result.skipped,
        seconds=round(result.seconds, 1),
    )


def as_json(scenario: Scenario, runs: Sequence[Figures]) -> dict[str, Any]:
    return {
        "about": scenario.about,
        "days": scenario.days,
        "seed": scenario.seed,
        "runs": [asdict(run) for run in runs],
    }


def print_figures(scenario: Scenario, runs: Sequence[Figures], console: Console) -> None:
    """One column per run."""
    table = Table(title=f"{scenario.about or 'scenario'}: {scenario.days:g} days, seed {scenario.seed}")
    table.add_column("")
    for run in runs:
        table.add_column(run.policy, justify="right")
    for label, cell in _ROWS:
        table.add_row(label, *(cell(run) for run in runs))
    endpoints = sorted({key for run in runs for key in run.share_accuracy_percent})
    for key in endpoints:
        cells = (run.share_accuracy_percent.get(key) for run in runs)
        table.add_row(f"shares held at {key}", *("-" if cell is None else f"{cell:.1f} %" for cell in cells))
    for outcome in sorted({name for run in runs for name in run.outcomes}):
        table.add_row(f"VMs {outcome}", *(str(run.outcomes.get(outcome, 0)) for run in runs))
    for call in sorted({name for run in runs for name in run.calls}):
        table.add_row(f"calls of {call}", *(f"{run.calls.get(call, 0):,}" for run in runs))
    console.print(table)
    for run in runs:
        speed = scenario.days / max(run.seconds, 0.05)
        console.print(f"{run.policy}: {run.seconds:.0f} s, {speed:.1f} days a second", markup=False)


def _minutes(waits: list[float], part: float) -> float | None:
    ordered = sorted(waits)
    return round(ordered[min(len(ordered) - 1, math.floor(part * len(ordered)))] / 60, 1) if ordered else None


def _share_accuracy(result: Result) -> dict[str, float]:
    measure = result.measure
    accuracy = {}
    for key, shares in measure.shares.items():
        used = {vo: measure.hungry_use[key, vo] for vo in shares}
        if total := sum(used.values()):
            wanted = sum(shares.values())
            off = sum(abs(used[vo] / total - share / wanted) for vo, share in shares.items())
            accuracy[str(key)] = round(100 * (1 - off / 2), 1)
    return accuracy


def _time(minutes: float | None) -> str:
    return "-" if minutes is None else f"{minutes:.1f} min"


_ROWS = (
    ("VMs started", lambda run: str(run.vms_started)),
    ("VMs needed (that ran a job)", lambda run: str(run.vms_needed)),
    ("started per needed", lambda run: "-" if run.started_per_needed is None else f"{run.started_per_needed:.3f}"),
    ("core-hours held", lambda run: f"{run.core_hours_held:,.0f}"),
    ("  used by jobs", lambda run: f"{run.busy_percent:.2f} %"),
    ("  boot", lambda run: f"{run.boot_percent:.2f} %"),
    ("  idle before and between jobs", lambda run: f"{run.idle_percent:.2f} %"),
    ("  after the last job", lambda run: f"{run.tail_percent:.2f} %"),
    ("  VMs without any job", lambda run: f"{run.failed_percent:.2f} %"),
    ("  of jobs that were lost", lambda run: f"{run.lost_percent:.2f} %"),
    ("core-hours wasted", lambda run: f"{run.wasted_core_hours:,.1f}"),
    ("jobs submitted", lambda run: str(run.jobs_submitted)),
    ("jobs done", lambda run: str(run.jobs_done)),
    ("waiting time, median", lambda run: _time(run.wait_median)),
    ("waiting time, 90 %", lambda run: _time(run.wait_90_percent)),
    ("first match where no VM was, median", lambda run: _time(run.first_match_median)),
)
