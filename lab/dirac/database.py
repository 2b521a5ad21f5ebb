"""The DIRAC lab's databases."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from lab.common.mariadb import MariaDB

#: Emptied by ``reset``: what jobs, pilots and virtual machines leave behind.
_WORKING_DATABASES = (
    "JobDB",
    "JobLoggingDB",
    "TaskQueueDB",
    "PilotAgentsDB",
    "SandboxMetadataDB",
    "VirtualMachineDB",
)


class Database(MariaDB):
    """DIRAC's databases on it."""

    def __init__(self, directory: Path, port: int, environment: Mapping[str, str]):
        super().__init__(directory, port, environment, "--innodb-buffer-pool-size=64M")

    def create(self, databases: Iterable[str]) -> None:
        """The account, the databases, and the tables of those that come with an SQL file."""
        hosts = ("127.0.0.1", "localhost")
        sql = [f"CREATE USER 'Dirac'@'{host}' IDENTIFIED BY 'Dirac';" for host in hosts]
        for name in databases:
            sql.append(f"CREATE DATABASE {name};")
            sql += [f"GRANT ALL ON {name}.* TO 'Dirac'@'{host}';" for host in hosts]
            sql.append(_tables(name))
        self.sql("\n".join(sql))

    def reset(self) -> None:
        """Delete every row of the working databases, but that the gateway is there: it says so twice a minute only."""
        names = ", ".join(f"'{name}'" for name in _WORKING_DATABASES)
        statements = self.sql(
            "SELECT CONCAT('DELETE FROM `', table_schema, '`.`', table_name, '`;') FROM information_schema.tables "
            f"WHERE table_type = 'BASE TABLE' AND table_schema IN ({names}) AND table_name <> 'Gateways'"
        )
        self.sql(f"SET FOREIGN_KEY_CHECKS=0;\n{statements}")


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
