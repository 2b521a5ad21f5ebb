"""Processes that outlive whoever started them, recorded so that exactly they, and never others, are ended later."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process as it was started. ``started`` names this boot and the start time: a reused pid differs in it. It is ""
    of one that ended at once."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return bool(self.started) and started(self.pid) == self.started

    @property
    def memory_mib(self) -> int:
        """Proportional set size with its children; 0 when they are gone or belong to another user."""
        if not self.alive:
            return 0
        sizes = [_pss_kib(int(path.name)) for path in Path("/proc").glob("[0-9]*") if _session(path) == self.pid]
        return sum(sizes) // 1024


def _session(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(match[1]) if match else 0


def started(pid: int) -> str:
    """Boot and start time of a living process, "" for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


class Processes:
    """The record, one JSON file; the logs of the processes stand in ``log_directory``."""

    def __init__(self, record: Path, log_directory: Path):
        self._record = record
        self._logs = log_directory
        self._children: dict[int, subprocess.Popen] = {}

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], directory: Path
    ) -> subprocess.Popen:
        """Start a process in a session of its own; its output is appended to ``<name>.log``."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with open(self.log(name), "ab") as log:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
            )
        self._children[child.pid] = child
        others = [process for process in self.recorded() if process.name != name or process.alive]
        self._write([*others, Process(name, child.pid, started(child.pid))])
        return child

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def recorded(self) -> list[Process]:
        """Every process that was started and not yet stopped by us, in order of start."""
        try:
            return [Process(**entry) for entry in json.loads(self._record.read_text())]
        except FileNotFoundError:
            return []

    def alive(self) -> list[Process]:
        return [process for process in self.recorded() if process.alive]

    def stop(self, names: Iterable[str] | None = None, patience: float = 8.0) -> None:
        """End those of these names (default: all), latest first: asked, and after ``patience`` seconds forced."""
        names = None if names is None else set(names)
        chosen = [process for process in self.recorded() if names is None or process.name in names]
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
            for process in reversed(chosen):
                if process.alive:
                    with suppress(ProcessLookupError):  # it ended just now
                        os.killpg(process.pid, number)
            _wait_until_gone(chosen, self._children, seconds)
        self._write([process for process in self.recorded() if process not in chosen or process.alive])

    def _write(self, processes: list[Process]) -> None:
        if not processes:
            self._record.unlink(missing_ok=True)
            return
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps([asdict(process) for process in processes], indent=1))
        new.replace(self._record)


def _wait_until_gone(processes: list[Process], children: Mapping[int, subprocess.Popen], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in processes:
            if process.pid in children:
                children[process.pid].poll()  # reaps it
        if not any(process.alive for process in processes):
            return
        time.sleep(0.05)
