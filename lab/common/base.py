"""What the labs have in common: a directory of their own, processes that run from it, and ports to wait for."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, TextIO

from lab.common.errors import LabError
from lab.common.processes import Process, Processes

CLONE = Path(__file__).resolve().parents[2]
#: These would override the labs' own configuration, CA directory and credentials.
FOREIGN_VARIABLES = tuple((CLONE / "lab/foreign_variables.txt").read_text().split())
_READY_SECONDS = 120.0


def home() -> Path:
    """Where the project keeps what it makes on this machine: ``JENNIFERDIRAC_HOME``, else the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("JENNIFERDIRAC_HOME") or Path(cache, "jenniferdirac")).absolute()


def default_port_offset() -> int:
    return int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0"))


def tail(log: Path, lines: int = 20) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


class BaseLab(ABC):
    """A lab below one directory.

    :param root: everything it writes. ``up`` empties it, and refuses a directory that is neither empty nor a lab's
    """

    #: the file that says that the root is such a lab's, and whose lock says that somebody has it
    MARK: ClassVar[str]
    #: how it is taken down by hand
    TAKE_DOWN: ClassVar[str] = "./run down"

    def __init__(self, root: Path):
        self.root = root
        self.processes = Processes(root / "processes.json", root / "log")
        self._progress: Callable[[str], None] = lambda text: None
        self._claim: TextIO | None = None

    @property
    def claimed(self) -> bool:
        """Whether this object has brought the lab up, or tried to: then nobody else can, until ``down``."""
        return self._claim is not None

    def status(self) -> list[Process]:
        return self.processes.recorded()

    @abstractmethod
    def virtual_machines(self) -> list[str]:
        """The guests that run, one text each."""

    def require_down(self) -> None:
        """:raises LabError: processes of this lab run"""
        running = self.processes.alive()
        if running:
            names = ", ".join(f"{process.name} ({process.pid})" for process in running)
            raise LabError(f"a lab is up in {self.root}: {names}. Take it down first: {self.TAKE_DOWN}")

    def wait_for_port(self, name: str, port: int) -> None:
        """:raises LabError: the process ended, or does not listen in time; with the end of its log"""

        def listens() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return True

        self.wait_until(listens, [name], f"{name} does not listen on port {port}")

    def wait_until(
        self, done: Callable[[], bool], names: Iterable[str], complaint: str, seconds: float = _READY_SECONDS
    ) -> None:
        """:raises LabError: one of these processes ended, or it is not done in time; with the end of its log"""
        names, end = list(names), time.monotonic() + seconds
        while not done():
            alive = {process.name for process in self.processes.alive()}
            ended = next((name for name in names if name not in alive), None)
            if ended or time.monotonic() > end:
                log = self.processes.log(ended or names[0])
                what = f"{ended} ended" if ended else f"{complaint} after {seconds:.0f} s"
                raise LabError(f"{what}; the end of {log}:\n{tail(log)}")
            time.sleep(0.05)

    def _claim_root(self) -> None:
        """Lock the root's mark until ``down`` or our end, so that of two who would empty the root only one does."""
        mark = self.root / self.MARK
        self.require_down()
        if self.root.exists() and not mark.exists() and any(self.root.iterdir()):
            raise LabError(f"{self.root} is not empty and not a lab's: nothing was deleted. Choose another directory")
        self.root.mkdir(parents=True, exist_ok=True)
        claim = mark.open("a")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            raise LabError(
                f"another process has the lab in {self.root}. Wait for its end, or {self.TAKE_DOWN}"
            ) from None
        self._claim = claim
        try:
            self.require_down()  # again: it may have come up before we had the lock
        except LabError:
            self._give_up_claim()
            raise

    def _give_up_claim(self) -> None:
        if self._claim:
            self._claim.close()
            self._claim = None

    def _empty_root(self, *directories: str) -> None:
        """Nothing remains but the mark and these new directories."""
        for path in self.root.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != self.MARK:
                path.unlink()
        (self.root / self.MARK).write_text("This directory is emptied by the lab of JenniferDIRAC.\n")
        for name in directories:
            (self.root / name).mkdir(parents=True)
