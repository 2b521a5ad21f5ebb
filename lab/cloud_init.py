"""The real cloud-init as a command, for its schema: unpacked beside the lab, because installed it would run at the
host's next boot.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lab.common.base import home
from lab.common.errors import LabError

PACKAGE = "cloud-init"
_PYTHON = "/usr/bin/python3"  # the distribution's, which its packages of Python modules are for
_SECONDS = 300


def schema_problems(config: Path) -> str:
    """What ``cloud-init schema`` has against a cloud-config; "" if it takes it without a warning.

    :raises LabError: cloud-init cannot be had
    """
    command = [_PYTHON, "-m", "cloudinit.cmd.main", "schema", "--config-file", os.fspath(config)]
    modules = {"PYTHONPATH": os.fspath(unpacked() / "usr/lib/python3/dist-packages")}
    done = subprocess.run(command, env={**os.environ, **modules}, capture_output=True, text=True, timeout=_SECONDS)
    said = done.stdout + done.stderr
    is_valid = done.returncode == 0 and re.search(r"^Valid (cloud-config|schema)", said, re.MULTILINE)
    # Some versions only warn of keys that no module of cloud-init knows.
    return "" if is_valid and not re.search(r"warning|deprecated", said, re.IGNORECASE) else said


@cache
def unpacked() -> Path:
    """The files of the host's suite's cloud-init and of the Python modules that it needs and the host lacks; fetched
    once for each version, which takes seconds and needs no root.

    :raises LabError: apt does not have it
    """
    # A simulation takes the host as it is, and names what an installation would add.
    added = re.findall(r"^Inst (\S+) \(?(?:\[\S+\] \()?(\S+)", _apt("-s", "install", PACKAGE), re.MULTILINE)
    version = dict(added).get(PACKAGE)
    if version is None:
        return Path("/")  # it is installed
    target = home() / f"{PACKAGE}-{re.sub(r'[^A-Za-z0-9.+~-]', '-', version)}"
    home().mkdir(parents=True, exist_ok=True)
    with open(home() / f"{PACKAGE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _unpack([name for name, _ in added if name == PACKAGE or name.startswith("python3-")], target)
    return target


def _unpack(packages: Sequence[str], target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{PACKAGE}-") as directory:
        _apt("download", *packages, directory=directory)
        root = Path(directory, "root")
        for package in Path(directory).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
        shutil.move(root, target)


def _apt(*words: str, directory: str | None = None) -> str:
    command = ["apt-get", "-q", "--no-install-recommends", *words]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise LabError(f"{' '.join(command[:5])} …: {last}; 'apt-get update' as root may help")
    return done.stdout
