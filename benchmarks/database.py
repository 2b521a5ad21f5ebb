"""A MariaDB of one's own for as long as something is measured: durable as in production, and gone afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine

from lab.common.mariadb import MariaDB


@contextmanager
def database() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="jennifer-database-") as root:
        port = free_port()
        server = MariaDB(
            Path(root) / "data",
            port,
            os.environ,
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
        )
        server.install()
        with subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for_port(port, "mariadbd")
                server.sql(
                    "CREATE DATABASE VirtualMachineDB; CREATE USER d@'127.0.0.1'; GRANT ALL ON *.* TO d@'127.0.0.1'"
                )
                engine = create_engine(f"mysql+mysqldb://d@127.0.0.1:{port}/VirtualMachineDB?charset=utf8mb4")
                yield engine
                engine.dispose()
            finally:
                process.terminate()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return free.getsockname()[1]


def wait_for_port(port: int, who: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{who} does not answer")
