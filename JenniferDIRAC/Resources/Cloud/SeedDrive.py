"""The NoCloud seed: a small ISO from which cloud-init reads who the server is and its user-data."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

_XORRISO = ("xorriso", "-as", "genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock")


def write_seed(target: Path, instance_id: str, hostname: str, user_data: bytes) -> None:
    """Write ``target`` (mode 0600; its directory must be private, for user-data may hold secrets).

    :raises FileNotFoundError: xorriso is not installed
    :raises subprocess.CalledProcessError: xorriso failed, its words in ``stderr``
    """
    with tempfile.TemporaryDirectory(prefix=".seed-", dir=target.parent) as directory:
        # YAML is a superset of JSON, and JSON quotes itself.
        Path(directory, "meta-data").write_text(json.dumps({"instance-id": instance_id, "local-hostname": hostname}))
        Path(directory, "user-data").write_bytes(user_data)
        target.touch(mode=0o600)
        subprocess.run([*_XORRISO, "-output", os.fspath(target), directory], check=True, capture_output=True, text=True)
    target.chmod(0o600)
