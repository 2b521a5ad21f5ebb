"""A process of its own for whatever is measured, so that it shares no interpreter with what measures it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).parents[1]


class Child(AbstractContextManager):
    """Runs a module of ``benchmarks.contestants`` in an environment that may be another's.

    :param settings: handed over on standard input, where no list of processes shows a password
    """

    def __init__(self, name: str, module: str, python: Path, settings: dict[str, Any]):
        self.name = name
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.contestants.{module}"],
            cwd=_CLONE,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin and self._process.stdout  # as asked for above
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self._write(json.dumps(settings))

    def order(self, what: str) -> dict[str, Any]:
        """What came of it: ``seconds``, ``value``, ``requests``.

        :raises SystemExit: with the last words of a child that failed
        """
        self._write(what)
        answer = self._answers.readline()
        if not answer:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"{self.name} could not {what}:\n{self._log.read().decode(errors='replace')[-3000:]}")
        return json.loads(answer)

    def _write(self, line: str) -> None:
        try:
            self._orders.write(line + "\n")
        except BrokenPipeError:
            pass  # its last words are read with the answer that it does not give

    def __exit__(self, *exc) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


def _environment() -> dict[str, str]:
    """Without what would lead to another cloud."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return {**mine, "PYTHONPATH": str(_CLONE), "DIRAC_NO_CFG": "1"}
