"""Whole cycles of a director: 10,000 VMs on 100 endpoints that answer in 0.2 s, with a real MariaDB.

    python -m benchmarks.cycle [--vms 10000] [--endpoints 100] [--queues 500] [--latency 0.2]

Idle cycles change nothing; the busy one starts VMs for waiting jobs at every endpoint. The clouds are FakeEndpoints,
DIRAC answers at once; everything else is the director's own. Run it in the project's environment
(``./run benchmark cycle``), on a quiet machine.
"""

from __future__ import annotations

import argparse
import gc
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, text

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, ServerRequest
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts, Step, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import Director
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, TaskQueue, VMState, VMTypeKey
from lab.common.mariadb import MariaDB

sys.path.append(str(Path(__file__).parents[1] / "tests/unit/WorkloadManagementSystem/Director"))
from director_world import PlainUserData, endpoint_of  # noqa: E402

_VOS = ("belle", "t2k.org", "hyperk.org")
_IDLE_CYCLES = 5
_SLOW_FOR = 10**6  # calls


@dataclass(frozen=True)
class Cost:
    """Of one cycle; rows as MariaDB's handler counts them, index entries included."""

    seconds: float
    cpu: float  # seconds of this process, of all its threads
    rows_read: int
    rows_written: int
    statements: int


class Answers:
    """DIRAC that answers at once: every pilot works on its first job."""

    def __init__(self) -> None:
        self.queues: tuple[TaskQueue, ...] = ()

    def task_queues(self, parameters):
        return Demand(self.queues)

    def pilot_credential(self, vo):
        return "/CN=pilot", f"{vo}_pilot"

    def unusable_endpoints(self, endpoints):
        return {}

    def pilot_facts(self, references):
        return dict.fromkeys(references, PilotFacts(PilotState.RUNNING, 1))


class Quiet:
    def warn(self, *words):
        print(*words, file=sys.stderr)

    error = warn

    def notice(self, *words):
        pass


class Installation:
    """A director with its VMs, all of them at work."""

    def __init__(self, engine: Engine, vms: int, endpoints: int, latency: float):
        self._engine = engine
        self.store = VirtualMachineStore(engine)
        self.dirac = Answers()
        self.configs = tuple(endpoint_of(f"CLOUD.Site{number}.fr") for number in range(endpoints))
        self.clouds = {config.site: FakeEndpoint() for config in self.configs}
        self._fill(vms)
        for cloud in self.clouds.values():
            for call in (Call.LIST, Call.LIMITS, Call.CATALOGUE, Call.CREATE):
                cloud.faults.next(call, Fault.SLOW, _SLOW_FOR, latency)
        config = DirectorConfig.read("CloudDirector", {"VO": ", ".join(_VOS)})
        self.director = Director(
            self.store,
            self.dirac,
            Quiet(),
            now=lambda: datetime.now(UTC),
            read_config=lambda: config,
            read_profile=lambda vo: ProfileConfig(),
            read_sites=lambda: CloudSites(self.configs),
            make_cloud=lambda one: self.clouds[one.site],
            user_data=PlainUserData(),
        )

    def cycle(self) -> Cost:
        before, began, worked = self._status(), time.monotonic(), time.process_time()
        self.director.cycle()
        seconds, cpu, after = time.monotonic() - began, time.process_time() - worked, self._status()
        once_more = self._status()  # what asking costs
        read, written, statements = (after[n] - before[n] - (once_more[n] - after[n]) for n in range(3))
        return Cost(seconds, cpu, read, written, statements)

    def _status(self) -> tuple[int, int, int]:
        with self._engine.connect() as connection:
            status = {
                name: int(value) for name, value in connection.execute(text("SHOW GLOBAL STATUS LIKE 'Handler_%'"))
            }
            ((_, questions),) = connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'"))
        read = sum(value for name, value in status.items() if name.startswith("Handler_read") and "deleted" not in name)
        return read, sum(status[f"Handler_{what}"] for what in ("write", "update", "delete")), int(questions)

    def _fill(self, vms: int) -> None:
        now = datetime.now(UTC) - timedelta(hours=1)
        installation, intents, steps = self.store.installation(), [], []
        for number in range(vms):
            config, vo, vm = self.configs[number % len(self.configs)], _VOS[number % len(_VOS)], uuid.uuid4().hex
            cloud = self.clouds[config.site]
            request = ServerRequest(Identity(installation, vm, vo, 1), cloud.images[0], cloud.flavors[0], b"#\n")
            cloud.boot_time = timedelta(0)
            server, key = cloud.create_server(request), VMTypeKey(config.site, config.ce, "q")
            pilot, told = (f"cloud://{config.ce}/{vm}", uuid.uuid4().hex), ("el9", PlainUserData.version)
            intents.append(Intent(vm, key, vo, 1, 2048, 1, *pilot, *told))
            facts = Facts(server_id=server.id, first_word_at=now, matched_at=now, jobs=1, image="i1", flavor="f1")
            steps.append(Step(vm, VMState.PLANNED, VMState.RUNNING, now, "at work", facts=facts))
        self.store.record_intents(intents, now)
        self.store.move_all(steps)

    def wait_for_jobs(self, queues: int) -> None:
        """So many task queues, each with jobs enough for a VM at several endpoints."""
        everywhere = frozenset(VMTypeKey(config.site, config.ce, "q") for config in self.configs)
        self.dirac.queues = tuple(
            TaskQueue(number, _VOS[number % len(_VOS)], 20, 1, everywhere) for number in range(queues)
        )


@contextmanager
def _database() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="jennifer-cycle-") as root:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
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
                _wait_for_port(port)
                server.sql(
                    "CREATE DATABASE VirtualMachineDB; CREATE USER d@'127.0.0.1'; GRANT ALL ON *.* TO d@'127.0.0.1'"
                )
                engine = create_engine(f"mysql+mysqldb://d@127.0.0.1:{port}/VirtualMachineDB?charset=utf8mb4")
                yield engine
                engine.dispose()
            finally:
                process.terminate()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("mariadbd does not answer")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=100)
    parser.add_argument("--queues", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.2, help="of each call to a cloud, in seconds")
    options = parser.parse_args()
    title = f"{options.vms} VMs, {options.endpoints} endpoints of {options.latency} s, {options.queues} task queues"
    table = Table("Cycle", "Seconds", "CPU", "Rows read", "Rows written", "Statements", title=title)

    def add(name: str, cost: Cost) -> None:
        table.add_row(
            name,
            f"{cost.seconds:.2f}",
            f"{cost.cpu:.2f}",
            str(cost.rows_read),
            str(cost.rows_written),
            str(cost.statements),
        )

    with _database() as engine:
        installation = Installation(engine, options.vms, options.endpoints, options.latency)
        add("first", installation.cycle())
        gc.collect()
        gc.freeze()  # as the agent does
        # Rows that were written a minute ago at most are read again.
        with engine.begin() as connection:
            connection.execute(text("UPDATE VirtualMachines SET touched_at = touched_at - INTERVAL 1 HOUR"))
            connection.execute(text("OPTIMIZE TABLE VirtualMachines"))
        idle = sorted((installation.cycle() for _ in range(_IDLE_CYCLES)), key=lambda cost: cost.seconds)
        add("idle, best", idle[0])
        add("idle, worst", idle[-1])
        installation.wait_for_jobs(options.queues)
        add("busy", installation.cycle())
        add("after it", installation.cycle())
        started = len(installation.store.live()) - options.vms
    Console().print(table)
    print(f"The busy cycles started {started} VMs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
