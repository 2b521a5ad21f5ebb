"""Make the pilot files as an installation does: a repository of pilot scripts, and DIRAC's PilotSyncAgent over it.

The agent's cycle writes ``pilot.json`` from the CS, ``pilot.tar`` from the repository, and ``checksums.sha512``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

STANDIN = Path(__file__).parent / "standin"


def make_repository(directory: Path, scripts: Path = STANDIN) -> None:
    """A git repository with the scripts in ``Pilot/`` on branch ``main``, laid out as Pilot 3's own."""
    target = directory / "Pilot"
    target.mkdir(parents=True)
    for script in sorted(scripts.glob("*.py")):
        shutil.copy(script, target)
    identity = ("-c", "user.name=lab", "-c", "user.email=lab@lab.invalid", "-c", "commit.gpgsign=false")
    for words in (("init", "-q", "-b", "main"), ("add", "Pilot"), (*identity, "commit", "-q", "-m", "Pilot scripts")):
        subprocess.run(["git", "-C", str(directory), *words], check=True, capture_output=True)
