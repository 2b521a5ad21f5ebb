"""A MariaDB server: one data directory below a lab's root, no system service touched."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.common.errors import LabError

_SOCKET = "mysql.sock"  # inside the data directory, and named relative to it: a socket's path may have 107 bytes


class MariaDB:
    """Its superuser is whoever runs the lab.

    :param options: of ``mariadbd``, beside the lab's own
    """

    def __init__(self, directory: Path, port: int, environment: Mapping[str, str], *options: str):
        self.directory = directory
        self.port = port
        self._environment = environment
        self._options = options
        self._user = pwd.getpwuid(os.getuid()).pw_name

    def install(self) -> None:
        """Make an empty data directory."""
        self.directory.mkdir()
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            "--datadir=.",  # a shell script, in which a space would end the path
            f"--user={self._user}",
            "--force",  # also where the machine's own name means nothing
            "--skip-test-db",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={self._user}",
            *self._options,
        )

    def command(self) -> list[str]:
        """The server's command line. Durability is given up: the data live as long as the lab."""
        return [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.directory}",
            f"--socket={_SOCKET}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--user={self._user}",
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-log-bin",
            "--performance-schema=OFF",
            *self._options,
        ]

    def sql(self, text: str) -> str:
        """What these statements print, without column names.

        :raises LabError: one of them failed
        """
        return self._run("mariadb", "--no-defaults", f"--socket={_SOCKET}", "--skip-column-names", text=text)

    def _run(self, *command: str, text: str | None = None) -> str:
        try:
            done = subprocess.run(
                command,
                input=text,
                capture_output=True,
                text=True,
                env=dict(self._environment),
                cwd=self.directory,
                check=False,
            )
        except FileNotFoundError:
            raise LabError(
                f"{command[0]} is not installed: './run' installs it, or 'apt install mariadb-server'"
            ) from None
        if done.returncode:
            raise LabError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout
