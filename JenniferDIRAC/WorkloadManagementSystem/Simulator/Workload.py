"""The jobs of a simulation: read from a trace or drawn from a scenario; the same seed gives the same jobs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import (
    Burst,
    Campaign,
    Scenario,
    ScenarioError,
    Steady,
    Work,
)

DAY, HOUR = 86400.0, 3600.0
COLUMNS = ("submitted_at", "vo", "jobs", "processors", "seconds")


@dataclass(frozen=True)
class Submission:
    """Jobs submitted at once. ``at`` is in seconds from the beginning, ``seconds`` is how long each job runs."""

    at: float
    vo: str
    seconds: tuple[float, ...]
    processors: int = 1


def generated(scenario: Scenario) -> tuple[Submission, ...]:
    """The scenario's own jobs, by time. Each work has random numbers of its own: another one does not change it."""
    end = scenario.days * DAY
    drawn = [
        submission
        for number, work in enumerate(scenario.workload)
        for submission in _draw(work, Random(f"{scenario.seed}/{number}"), end)
    ]
    return tuple(sorted(drawn, key=lambda one: (one.at, one.vo, one.processors, one.seconds)))


def _draw(work: Work, random: Random, end: float) -> Iterator[Submission]:
    start = work.from_day * DAY
    stop = min(end, end if work.to_day is None else work.to_day * DAY)

    def jobs(number: int) -> tuple[float, ...]:
        return tuple(lognormal(random, work.hours * HOUR, work.spread) for _ in range(number))

    match work:
        case Steady():
            mean = work.hours * HOUR * math.exp(work.spread**2 / 2)
            rate = work.cores / (work.processors * mean)
            at = start + random.expovariate(rate)
            while at < stop:
                yield Submission(at, work.vo, jobs(1), work.processors)
                at += random.expovariate(rate)
        case Burst():
            at = start
            while at < stop:
                yield Submission(at, work.vo, jobs(work.jobs), work.processors)
                if not work.every_hours:
                    return
                at += random.expovariate(1 / (work.every_hours * HOUR))
        case Campaign():
            batches = math.ceil(work.jobs / work.batch)
            for number in range(batches):
                size = min(work.batch, work.jobs - number * work.batch)
                yield Submission(start + number * (stop - start) / batches, work.vo, jobs(size), work.processors)


def lognormal(random: Random, median: float, sigma: float) -> float:
    """A positive number around a median."""
    return median * math.exp(random.gauss(0, sigma)) if sigma else median


def read_trace(file: Path) -> tuple[Submission, ...]:
    """Submissions of a CSV with the columns submitted_at, vo, jobs, processors, seconds.

    ``submitted_at`` is a number of seconds or a time in ISO 8601 (UTC if it has no zone); ``seconds`` is how long each
    of the jobs runs. Times count from the first submission.

    :raises ScenarioError: with the line that cannot be read
    """
    try:
        with file.open(newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise ScenarioError(f"{file}: the first line must name {', '.join(COLUMNS)}; missing: {missing}")
            read = [_row(row, f"{file}, line {rows.line_num}") for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: {error}") from None
    if not read:
        raise ScenarioError(f"{file}: no submission")
    return _from_the_first(read)


def _row(row: dict[str, str], where: str) -> Submission:
    try:
        jobs, processors, seconds = int(row["jobs"]), int(row["processors"]), float(row["seconds"])
        if min(jobs, processors) < 1 or not 0 < seconds < math.inf or not row["vo"]:
            raise ValueError("jobs, processors and seconds must be positive, and vo named")
        return Submission(_moment(row["submitted_at"]), row["vo"], (seconds,) * jobs, processors)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{where}: {error}") from None


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _from_the_first(submissions: Iterable[Submission]) -> tuple[Submission, ...]:
    ordered = sorted(submissions, key=lambda one: one.at)
    first = ordered[0].at
    return tuple(Submission(one.at - first, one.vo, one.seconds, one.processors) for one in ordered)
