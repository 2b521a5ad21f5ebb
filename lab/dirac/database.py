"""The lab's MariaDB: one data directory below the lab's root, no system service touched."""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from lab.dirac.errors import LabError

_SOCKET = "mysql.sock"  # inside the data directory, and named relative to it: a socket's path may have 107 bytes
#: Emptied by ``reset``: what jobs, pilots and virtual machines leave behind.
_WORKING_DATABASES = (
    "JobDB",
    "JobLoggingDB",
    "TaskQueueDB",
    "PilotAgentsDB",
    "SandboxMetadataDB",
    "VirtualMachineDB",
)


class Database:
    """A MariaDB server whose superuser is whoever runs the lab."""

    def __init__(self, directory: Path, port: int, environment: Mapping[str, str]):
        self.directory = directory
        self.port = port
        self._environment = environment
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
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
        ]

    def create(self, databases: Iterable[str]) -> None:
        """The account, the databases, and the tables of those that come with an SQL file."""
        hosts = ("127.0.0.1", "localhost")
        sql = [f"CREATE USER 'Dirac'@'{host}' IDENTIFIED BY 'Dirac';" for host in hosts]
        for name in databases:
            sql.append(f"CREATE DATABASE {name};")
            sql += [f"GRANT ALL ON {name}.* TO 'Dirac'@'{host}';" for host in hosts]
            sql.append(_tables(name))
        self._sql("\n".join(sql))

    def reset(self) -> None:
        """Delete every row of the working databases."""
        names = ", ".join(f"'{name}'" for name in _WORKING_DATABASES)
        statements = self._sql(
            "SELECT CONCAT('DELETE FROM `', table_schema, '`.`', table_name, '`;') FROM information_schema.tables "
            f"WHERE table_type = 'BASE TABLE' AND table_schema IN ({names})"
        )
        self._sql(f"SET FOREIGN_KEY_CHECKS=0;\n{statements}")

    def _sql(self, text: str) -> str:
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


def _tables(database: str) -> str:
    """The SQL file of a database: an extension's before DIRAC's, and often none (the code makes its tables then).

    Without importing DIRAC: it would take its root from an environment that is not yet the lab's.
    """
    packages = {entry.module.split(".")[0] for entry in entry_points(group="dirac")}
    for package in sorted(packages, key="DIRAC".__eq__):
        directory = Path(importlib.util.find_spec(package).origin).parent
        for path in directory.glob(f"*System/DB/{database}.sql"):
            return path.read_text()
    return ""
