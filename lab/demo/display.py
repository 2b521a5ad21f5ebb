"""Shows the demo while it goes on: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.demo.record import Record, Step

_STYLE = {"Done": "green", "Running": "cyan", "Failed": "red", "Worked": "green"}


_PIPE_WIDTH = 160


def console(to_stderr: bool) -> Console:
    """Of the terminal's width, or wide where there is none: what a pipe cuts off is lost."""
    chosen = Console(file=sys.stderr if to_stderr else sys.stdout, highlight=False)
    return chosen if chosen.is_terminal else Console(file=chosen.file, highlight=False, width=_PIPE_WIDTH)


class Display:
    """A context manager; ``refresh`` after every change of the record."""

    def __init__(self, record: Record, to_stderr: bool):
        self._record = record
        self._console = console(to_stderr)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._started = time.monotonic()
        self._told: dict[str, str] = {}

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._picture())
            self._live.stop()

    def refresh(self) -> None:
        if self._live:
            self._live.update(self._picture())
        else:
            self._tell_changes()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _tell_changes(self) -> None:
        now = {f"step {step.name}": _step_text(step) for step in self._record.steps}
        now |= {f"job {job.id} ({job.vo})": job.status for job in self._record.jobs.values()}
        now |= {
            f"VM {one.id[:8]} ({one.record['vo']}, {one.record['site']})": _vm_text(one) for one in self._machines()
        }
        for name, text in now.items():
            if self._told.get(name) != text:
                self._console.print(
                    f"[{time.monotonic() - self._started:6.1f} s] {name}: {text}", markup=False, soft_wrap=True
                )
        self._told = now

    def _machines(self):
        return sorted(self._record.machines.values(), key=lambda one: one.created)

    def _picture(self) -> Group:
        steps = Table.grid(padding=(0, 2))
        for step in self._record.steps:
            going_on = step.seconds is None
            seconds = time.monotonic() - step.began if step.seconds is None else step.seconds
            mark = Text("…" if going_on else "✓", style="yellow" if going_on else "green")
            steps.add_row(mark, step.name, f"{seconds:6.1f} s", Text(step.note, style="dim"))
        jobs = Table("Job", "VO", "Status", "Site", title="Jobs", title_justify="left", min_width=44)
        for job in self._record.jobs.values():
            jobs.add_row(str(job.id), job.vo, Text(job.status, style=_STYLE.get(job.status, "yellow")), Text(job.site))
        vms = Table("VM", "Site", "VO", "State", "Outcome", title="Virtual machines", title_justify="left")
        for one in self._machines():
            outcome = one.record["outcome"] or ""
            row = (one.id[:8], one.record["site"], one.record["vo"], _state(one))
            vms.add_row(*row, Text(outcome, style=_STYLE.get(outcome, "red")))
        side_by_side = Table.grid(padding=(0, 3))
        side_by_side.add_row(jobs, vms)
        return Group(steps, Text(), side_by_side) if self._record.jobs else Group(steps)


def _step_text(step: Step) -> str:
    return f"{step.note or '…'}" if step.seconds is None else f"done in {step.seconds:.1f} s"


def _state(machine) -> str:
    spoke = machine.first_word is not None and machine.record["state"] in ("Requested", "Booting")
    return "Booting, spoke" if spoke else machine.record["state"]


def _vm_text(machine) -> str:
    outcome = machine.record["outcome"]
    return _state(machine) + (f", {outcome}: {machine.record['outcome_reason']}" if outcome else "")


def final_table(record: Record, console: Console) -> None:
    """Job by job: where it ran, and how long everything took."""
    table = Table("Job", "VO", "Status", "Site", "VM", "Outcome", title="What came of it", title_justify="left")
    names = ("submitted_to_create", "create_to_first_word", "create_to_matched", "create_to_done")
    for title in ("Submitted to create", "Create to first word", "Create to matched", "Create to Done"):
        table.add_column(f"{title} (s)", justify="right")
    for job in record.jobs.values():
        machine, figures = record.machine_of(job), record.figures(job)
        vm = (machine.id[:8], machine.record["outcome"] or machine.record["state"]) if machine else ("", "")
        seconds = [f"{figures[name]:.1f}" if name in figures else "" for name in names]
        table.add_row(str(job.id), job.vo, job.status, Text(job.site), *vm, *seconds)
    if record.jobs:
        console.print(table)
        console.print(f"The director used {record.director_mib} MiB.")
    for problem in record.problems:
        console.print(f"Problem: {problem}", style="red", markup=False, soft_wrap=True)
