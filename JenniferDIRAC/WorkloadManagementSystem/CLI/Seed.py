"""``render --iso``: user-data as a drive, for machines that no director starts."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

from JenniferDIRAC.Resources.Cloud.SeedDrive import write_seed


def check_target(iso: Path) -> None:
    """:raises OSError: the drive cannot be written there; nothing is overwritten"""
    if iso.exists():
        raise FileExistsError(f"{iso}: expected a file that is not there yet")
    if not iso.absolute().parent.is_dir():
        raise FileNotFoundError(f"{iso}: expected a directory to write it in, found none")


def write_drive(iso: Path, user_data: bytes) -> dict[str, Any]:
    """Write the drive, and tell what was written; each is another machine's to cloud-init, which acts once on each.

    :raises OSError: it cannot be written, the text says why
    """
    instance = f"nobody-{uuid.uuid4().hex}"
    try:
        write_seed(iso.absolute(), instance, instance[:24], user_data)
    except FileNotFoundError:
        iso.unlink(missing_ok=True)
        raise FileNotFoundError("xorriso is not here, which writes drives: install the package xorriso") from None
    except subprocess.CalledProcessError as error:
        iso.unlink(missing_ok=True)
        raise OSError(f"xorriso could not write {iso}: {error.stderr.strip()[-300:]}") from None
    return {"iso": str(iso), "instance": instance, "bytes": iso.stat().st_size}
