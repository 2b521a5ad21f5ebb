"""The golden image: built once for each content by ``build.sh``, and linked to where an endpoint looks for images."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lab.dirac.errors import LabError

_BUILD = Path(__file__).with_name("build.sh")


def golden_image(images: Path, progress: Callable[[str], None] = lambda text: None) -> Path:
    """Build the image unless it is there, and put it into ``images`` as ``golden.*``; 2 minutes, or none.

    :raises LabError: the build failed; the text is the end of what it said
    """
    cache = images.parent / "image"
    command = [str(_BUILD), str(cache)]
    if os.geteuid() != 0:
        command = ["sudo", "--preserve-env", f"PATH={os.environ['PATH']}", *command]
    environment = {**os.environ, "PYTHON": sys.executable}
    said: list[str] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as build:
        for line in build.stderr or ():
            said.append(line.strip())
            progress(line.strip())
        result = (build.stdout.read() if build.stdout else "").strip()
    if build.returncode != 0:
        raise LabError("the golden image could not be built:\n" + "\n".join(said[-15:] or ["it said nothing"]))
    images.mkdir(parents=True, exist_ok=True)
    for file in Path(result).glob("golden.*"):
        link = images / f".{file.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        link.replace(images / file.name)
    return images / "golden.qcow2"
