"""The golden image: built once for each content by ``build.sh``, and linked to where an endpoint looks for images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.common.errors import LabError

_BUILD = Path(__file__).with_name("build.sh")


def golden_image(images: Path, progress: Callable[[str], None] = lambda text: None) -> Path:
    """Build the image unless it is there, and put it into ``images`` as ``golden.*``; 2 minutes, or none.

    Only the building needs root, by ``sudo`` for anybody else.

    :raises LabError: the build failed; the text is the end of what it said
    """
    cache = images.parent / "image"
    environment = {**os.environ, "PYTHON": sys.executable}
    result = _told([_BUILD, "--where", cache], environment, progress)
    if not result.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [_BUILD, cache]
        if os.geteuid() != 0:
            own = [f"{name}={environment[name]}" for name in ("PATH", "PYTHON")]
            owner = f"OWNER={os.getuid()}:{os.getgid()}"
            command = ["sudo", "-n", "--preserve-env", "env", *own, owner, *command]
        result = _told(command, environment, progress)
    images.mkdir(parents=True, exist_ok=True)
    for file in result.glob("golden.*"):
        link = images / f".{file.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        link.replace(images / file.name)
    return images / "golden.qcow2"


def _told(command: Sequence[str | Path], environment: Mapping[str, str], progress: Callable[[str], None]) -> Path:
    """The path that the command prints; what it says on standard error is progress."""
    said: list[str] = []
    try:
        build = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        raise LabError(f"building the golden image needs root, and there is no {command[0]}") from None
    with build:
        for line in build.stderr or ():
            said.append(line.strip())
            progress(line.strip())
        result = (build.stdout.read() if build.stdout else "").strip()
    if build.returncode != 0:
        hint = "; it needs root once: run 'sudo -v' first" if command[0] == "sudo" else ""
        raise LabError(f"the golden image could not be built{hint}\n" + "\n".join(said[-15:] or ["it said nothing"]))
    return Path(result)
