"""The gateway with 2,000 VMs: heartbeats and uploads over TLS against a gateway's own process and a real MariaDB.

    ./run benchmark gateway [--vms 2000] [--uploads 50] [--mib 8] [--json]

usual       each VM sends a heartbeat on a connection of its own, at twenty times the usual rate: 2,000 in 15 s for
            2,000 in 300 s
rush        the same, 50 at a time and as fast as can be: as when the gateway comes back after a pause
uploads     50 VMs send a log of 8 MiB each, in pieces of 1 MiB, at once; with a rate per VM that hinders nobody
both        the heartbeats of "usual" while the uploads are sent once more; the figures are the heartbeats'

Latencies are those of a VM: from the connection's first packet to the end of the answer, TLS handshake included (of an
upload: of one piece on a connection that stands). Clients and database share the machine's processors with the
gateway, so that they are longer than on a host of its own. CPU and memory are the gateway's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, insert

from benchmarks.database import database, free_port, wait_for_port
from JenniferDIRAC.ConfigurationSystem.GatewayConfig import GatewayConfig
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import GatewaySession
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Step, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Application import Parts, make_app
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Listener import Listener, open_ear, room_for
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import LogStore, Quotas
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Orders import LifeLimits
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState, VMTypeKey
from lab.common.certificates import make_certificates

_MIB = 2**20
_HEARTBEAT, _FASTER, _AT_ONCE = 300, 20, 50
_BEAT = json.dumps(
    {"phase": "pilot", "uptime": 12345.6, "load": [3.9, 4.0, 3.8], "jobs": 4, "disk_mib": 51234, "memory_mib": 2048}
).encode()


@dataclass(frozen=True)
class Figures:
    """Latencies in milliseconds, CPU in seconds, memory (the most so far) in MiB."""

    name: str
    requests: int
    failed: int
    seconds: float
    p50: float
    p95: float
    p99: float
    worst: float
    cpu: float
    memory: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Gateway:
    """The gateway's process, as its VMs and the kernel see it."""

    def __init__(self, process: subprocess.Popen, port: int, trust: ssl.SSLContext):
        self._process, self._port, self._trust = process, port, trust

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust, server_hostname="localhost")

    async def beat(self, vm: tuple[str, str]) -> tuple[float, bool]:
        """Milliseconds, and whether it was answered as it should be."""
        began = time.perf_counter()
        reader, writer = await self.connect()
        status = await _ask(reader, writer, "POST", vm, "heartbeat", _BEAT, "application/json")
        writer.close()
        return 1000 * (time.perf_counter() - began), status == 200

    async def upload(self, vm: tuple[str, str], mib: int, name: str) -> list[tuple[float, bool]]:
        reader, writer = await self.connect()
        piece, done = os.urandom(_MIB), []
        for number in range(mib):
            began = time.perf_counter()
            what = f"logs/{name}?offset={number * _MIB}"
            status = await _ask(reader, writer, "PUT", vm, what, piece, "application/octet-stream")
            done.append((1000 * (time.perf_counter() - began), status == 200))
        writer.close()
        return done

    def cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def _ask(reader, writer, method: str, vm: tuple[str, str], what: str, body: bytes, kind: str) -> int:
    head = (
        f"{method} /vm/v1/{vm[0]}/{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {vm[1]}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(answer.split(b" ", 2)[1])


async def _usual(gateway: Gateway, vms: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    """All heartbeats, spread evenly, each at its own time whether the last one was answered or not."""
    apart = _HEARTBEAT / _FASTER / len(vms)
    began, tasks = time.monotonic(), []
    for number, vm in enumerate(vms):
        await asyncio.sleep(max(0.0, began + number * apart - time.monotonic()))
        tasks.append(asyncio.create_task(gateway.beat(vm)))
    return await asyncio.gather(*tasks)


async def _rush(gateway: Gateway, vms: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    left = iter(vms)

    async def worker() -> list[tuple[float, bool]]:
        return [await gateway.beat(vm) for vm in left]

    return [one for done in await asyncio.gather(*(worker() for _ in range(_AT_ONCE))) for one in done]


async def _uploads(gateway: Gateway, vms: list[tuple[str, str]], mib: int, name: str) -> list[tuple[float, bool]]:
    return [one for done in await asyncio.gather(*(gateway.upload(vm, mib, name) for vm in vms)) for one in done]


def _measured(gateway: Gateway, name: str, do: Callable[[], Awaitable[list[tuple[float, bool]]]]) -> Figures:
    cpu, began = gateway.cpu(), time.monotonic()
    answers = asyncio.run(_awaited(do))
    seconds = time.monotonic() - began
    times = sorted(milliseconds for milliseconds, _ in answers)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.95, 0.99))
    failed = sum(not good for _, good in answers)
    used = gateway.cpu() - cpu
    return Figures(name, len(answers), failed, seconds, p50, p95, p99, times[-1], used, gateway.memory())


async def _awaited(do: Callable[[], Awaitable[list[tuple[float, bool]]]]) -> list[tuple[float, bool]]:
    return await do()


async def _both(gateway: Gateway, vms: list[tuple[str, str]], uploads: int, mib: int) -> list[tuple[float, bool]]:
    """The heartbeats'."""
    sending = asyncio.create_task(_uploads(gateway, vms[:uploads], mib, "jennifer"))
    beats = await _usual(gateway, vms)
    await sending
    return beats


def _vms(engine: Engine, number: int) -> list[tuple[str, str]]:
    """VMs at work, each with its session."""
    store, now, key = VirtualMachineStore(engine), datetime.now(UTC), VMTypeKey("CLOUD.GRIF.fr", "grif", "el9")
    vms = [(uuid.uuid4().hex, secrets.token_urlsafe(32)) for _ in range(number)]
    store.record_intents([Intent(vm, key, "belle", 1, 2048, 1, f"cloud://grif/{vm}", "0" * 32) for vm, _ in vms], now)
    store.move_all([Step(vm, VMState.PLANNED, VMState.RUNNING, now, "at work") for vm, _ in vms])
    begun = {"ticket": "0" * 64, "expires_at": now + timedelta(hours=1), "redeemed_at": now}
    with engine.begin() as connection:
        rows = [{"vm_id": vm, "digest": digest(session), **begun} for vm, session in vms]
        connection.execute(insert(GatewaySession.__table__), rows)
    return vms


@contextmanager
def _gateway(engine: Engine, root: Path) -> Iterator[Gateway]:
    make_certificates(root / "security", root / "users", (), "IP:127.0.0.1,DNS:localhost")
    port = free_port()
    settings = {"database": str(engine.url), "root": str(root), "port": port}
    environment = os.environ | {"DIRAC_NO_CFG": "1"}
    command = [sys.executable, "-m", "benchmarks.gateway", "--serve", json.dumps(settings)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment) as process:
        try:
            wait_for_port(port, "the gateway")
            trust = ssl.create_default_context(cafile=root / "security/certificates/lab-ca.pem")
            yield Gateway(process, port, trust)
        finally:
            process.terminate()


def _serve(settings: dict) -> None:
    """The gateway's own process: as dirac-cloud-gateway runs it, without a DIRAC around it."""

    class Quiet:
        def __getattr__(self, level):
            return (lambda *words: print(*words, file=sys.stderr)) if level == "error" else lambda *words: None

    root, config, log = Path(settings["root"]), GatewayConfig.read("CloudGateway", {}), Quiet()
    store = VirtualMachineStore(create_engine(settings["database"], pool_pre_ping=True))
    logs = LogStore(root / "logs", Quotas.of(config), 1024 * _MIB)
    app = make_app(Parts(store.sessions, logs, LifeLimits, log, time.time, config.chunk_time))
    certificate = HostCertificate(root / "security/hostcert.pem", root / "security/hostkey.pem")
    connections = room_for(config.max_connections)
    Listener(app, certificate, open_ear(settings["port"]), connections, log).listen()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=2000)
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--mib", type=int, default=8, help="of each upload")
    parser.add_argument("--json", action="store_true", help="all figures as JSON instead of a table")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(json.loads(options.serve))
        return 0
    with database() as engine, tempfile.TemporaryDirectory(prefix="jennifer-gateway-") as root:
        vms = _vms(engine, options.vms)
        with _gateway(engine, Path(root)) as gateway:
            sending = vms[: options.uploads]
            figures = [
                _measured(gateway, "usual", lambda: _usual(gateway, vms)),
                _measured(gateway, "rush", lambda: _rush(gateway, vms)),
                _measured(gateway, "uploads", lambda: _uploads(gateway, sending, options.mib, "pilot")),
                _measured(gateway, "both", lambda: _both(gateway, vms, options.uploads, options.mib)),
            ]
    if options.json:
        print(json.dumps([asdict(one) | {"rate": one.rate} for one in figures], indent=2))
    else:
        _show(figures, f"{options.vms} VMs; {options.uploads} uploads of {options.mib} MiB")
    return 1 if any(one.failed for one in figures) else 0


def _show(figures: list[Figures], title: str) -> None:
    columns = ("", "Requests", "Failed", "1/s", "p50 ms", "p95 ms", "p99 ms", "worst", "CPU s", "MiB")
    table = Table(*columns, title=title)
    for one in figures:
        times = (f"{value:.0f}" for value in (one.rate, one.p50, one.p95, one.p99, one.worst))
        table.add_row(one.name, str(one.requests), str(one.failed), *times, f"{one.cpu:.1f}", f"{one.memory:.0f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
