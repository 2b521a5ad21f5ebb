"""The embedded cloud: virtual machines of the local host, run by QEMU without root, libvirt or a bridge.

A server is a directory below ``state_directory``, named after its id; a QEMU process belongs to it when that id is the
``-uuid`` of its command line. So nothing that could go stale is stored: after a crash of ours at any moment the
directory and the process table still tell which servers exist and which run. QEMU runs in a session of its own and
outlives the director (under systemd: set ``KillMode=process`` for the agent's unit).
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Catalogue,
    CloudEndpoint,
    CloudError,
    Flavor,
    Image,
    Limits,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    Server,
    ServerNotFound,
    ServerRequest,
    ServerStatus,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.QEMUAcceleration import choose_accelerator
from JenniferDIRAC.Resources.Cloud.QEMUCommand import qemu_command
from JenniferDIRAC.Resources.Cloud.SeedDrive import write_seed

# Left to the host: its own services, and QEMU's memory beyond that of the guest.
RESERVED_RAM_MIB = 1024
# A create takes about a second; a directory older than this without a trace of QEMU is what a crash left.
BUILD_TIMEOUT = timedelta(minutes=1)
# From SIGTERM to SIGKILL, and from SIGKILL to giving up.
STOP_SECONDS = 5.0

_SERVER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# As qemu-img and xorriso say it.
_FULL = re.compile(f"{os.strerror(errno.ENOSPC)}|exceeds free space on media")
_RUBBISH = ".rubbish-"
_LIVE = (ServerStatus.BUILDING, ServerStatus.ACTIVE)


@dataclass(frozen=True)
class _Record:
    """What ``server.json`` keeps; ``created_at`` is ISO 8601 in UTC."""

    name: str
    metadata: Mapping[str, str]
    image: str
    flavor: str
    cores: int
    ram_mib: int
    created_at: str


class QEMUEndpoint(CloudEndpoint):
    """The local host as a cloud.

    :param name: the endpoint's name, for messages
    :param state_directory: where the servers live; one directory is one project
    :param image_directory: its ``*.qcow2`` are the images. ``X.vmlinuz`` and ``X.initrd`` beside ``X.qcow2`` make a
        direct kernel boot with the words of ``X.cmdline``, ``X.json`` holds the image's properties
    :param acceleration: ``auto`` takes KVM when a boot probe proves it and TCG, QEMU's emulation, otherwise
    :param max_cores: fewer than the host's; ``max_ram_mib`` likewise. An endpoint knows only its own servers: endpoints
        that share a host each offer all of it, unless QuotaCores and QuotaRAM divide it among them
    """

    #: No cloud stands between us and the seed drive; the limit only stops a mistake.
    max_user_data_bytes = 1024 * 1024

    def __init__(
        self,
        name: str,
        state_directory: Path,
        image_directory: Path,
        *,
        acceleration: Literal["auto", "kvm", "tcg"] = "auto",
        max_cores: int | None = None,
        max_ram_mib: int | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ):
        self.name = name
        self._state = Path(state_directory).absolute()
        self._images = Path(image_directory).absolute()
        self._acceleration = acceleration
        self._max_cores = max_cores
        self._max_ram_mib = max_ram_mib
        self._now = now

    def list_servers(self) -> tuple[Server, ...]:
        # Processes last: a server whose QEMU starts in between must not look like one that has stopped.
        seen = [(directory, record, _has_started(directory)) for directory, record in self._records()]
        running = _processes()
        return tuple(self._server(*server, alive=bool(running[server[0].name])) for server in seen)

    def find_server(self, name: str) -> Server | None:
        return next((server for server in self.list_servers() if server.name == name), None)

    def create_server(self, request: ServerRequest) -> Server:
        accelerator = choose_accelerator(self._acceleration)
        if len(request.user_data) > self.max_user_data_bytes:
            raise Rejected(
                f"{self.name}: user-data has {len(request.user_data)} bytes, {self.max_user_data_bytes} are allowed"
            )
        self._check_quota(request.flavor)
        image = self._usable_image(request.image)
        record = _Record(
            name=request.identity.name,
            metadata=request.identity.metadata,
            image=request.image.id,
            flavor=request.flavor.id,
            cores=request.flavor.cores,
            ram_mib=request.flavor.ram_mib,
            created_at=self._now().isoformat(),
        )
        server_id = str(uuid.uuid4())
        directory = self._state / server_id
        try:
            with self._explained():
                self._sweep()
                self._record_intent(directory, record)
                _create_disk(directory / "disk.qcow2", image, request.flavor)
                write_seed(directory / "seed.iso", server_id, record.name, request.user_data)
                _run(qemu_command(directory, record.name, record.cores, record.ram_mib, image, accelerator))
            server = self._server(directory, record, True, alive=bool(_processes()[server_id]))
            if server.status is not ServerStatus.ACTIVE:
                raise Rejected(f"{self.name}: QEMU ended at once; its console: {self.console_log(server_id, 1000)!r}")
        except CloudError:
            self.delete_server(server_id)
            raise
        return server

    def delete_server(self, server_id: str) -> None:
        if not _SERVER_ID.fullmatch(server_id):
            return
        with self._explained():
            for pid in _processes()[server_id]:
                self._stop(server_id, pid)
            # One rename, so that nobody sees half a server and a crash leaves only rubbish that the next sweep finds.
            doomed = self._state / f"{_RUBBISH}{uuid.uuid4().hex}"
            try:
                (self._state / server_id).rename(doomed)
            except FileNotFoundError:
                return
        shutil.rmtree(doomed, ignore_errors=True)

    def limits(self) -> Limits:
        cores = len(os.sched_getaffinity(0))
        ram_mib = max(0, _host_ram_mib() - RESERVED_RAM_MIB)
        used = [server for server in self.list_servers() if server.status in _LIVE]
        return Limits(
            max_instances=None,
            max_cores=cores if self._max_cores is None else min(cores, self._max_cores),
            max_ram_mib=ram_mib if self._max_ram_mib is None else min(ram_mib, self._max_ram_mib),
            used_instances=len(used),
            used_cores=sum(server.cores for server in used),
            used_ram_mib=sum(server.ram_mib for server in used),
        )

    def catalogue(self) -> Catalogue:
        images = tuple(_image(path) for path in sorted(self._images.glob("*.qcow2")))
        limits = self.limits()
        rams = [ram_mib for ram_mib in (512 << n for n in range(20)) if ram_mib <= (limits.max_ram_mib or 0)]
        flavors = tuple(
            Flavor(id=f"c{cores}.m{ram_mib}", name=f"c{cores}.m{ram_mib}", cores=cores, ram_mib=ram_mib)
            for cores in range(1, (limits.max_cores or 0) + 1)
            for ram_mib in rams
        )
        return Catalogue(flavors=flavors, images=images)

    def console_log(self, server_id: str, max_bytes: int = 65536) -> str:
        directory = self._state / server_id
        if not _SERVER_ID.fullmatch(server_id) or not directory.is_dir():
            raise ServerNotFound(f"{self.name}: no server {server_id}")
        try:
            with (directory / "console.log").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - max_bytes))
                return log.read(max_bytes).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unreachable(f"{self.name}: cannot read the console of {server_id}: {error.strerror}") from error

    def _records(self) -> Iterator[tuple[Path, _Record]]:
        """Every server there is. A directory of ours without a readable record means that the list is not whole."""
        try:
            directories = sorted(path for path in self._state.iterdir() if _SERVER_ID.fullmatch(path.name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unreachable(f"{self.name}: cannot list {self._state}: {error.strerror}") from error
        for directory in directories:
            try:
                yield directory, _Record(**json.loads((directory / "server.json").read_text()))
            except FileNotFoundError:
                if directory.exists():
                    raise Unreachable(f"{self.name}: {directory} has no server.json; remove it by hand") from None
            except (OSError, ValueError, TypeError) as error:
                raise Unreachable(f"{self.name}: cannot read {directory}/server.json: {error}") from error

    def _server(self, directory: Path, record: _Record, has_started: bool, *, alive: bool) -> Server:
        created_at = datetime.fromisoformat(record.created_at)
        fault = ""
        if alive:
            status = ServerStatus.ACTIVE
        elif has_started:
            status = ServerStatus.STOPPED
        elif self._now() - created_at < BUILD_TIMEOUT:
            status = ServerStatus.BUILDING
        else:
            status, fault = ServerStatus.ERROR, "its creation was interrupted before QEMU started"
        return Server(
            id=directory.name,
            name=record.name,
            status=status,
            metadata=record.metadata,
            cores=record.cores,
            ram_mib=record.ram_mib,
            created_at=created_at,
            fault=fault,
        )

    def _check_quota(self, flavor: Flavor) -> None:
        limits = self.limits()
        for word, used, more, most in (
            ("cores", limits.used_cores, flavor.cores, limits.max_cores),
            ("MiB of RAM", limits.used_ram_mib, flavor.ram_mib, limits.max_ram_mib),
        ):
            if used + more > most:
                raise QuotaExceeded(f"{self.name}: {used} of {most} {word} are in use, {more} more were asked for")

    def _usable_image(self, image: Image) -> Path:
        path = Path(image.id) if os.path.isabs(image.id) else self._images / f"{image.id}.qcow2"
        with self._explained():
            if not path.is_file():
                raise Rejected(f"{self.name}: image {image.id}: there is no file {path}")
            if not os.access(path, os.R_OK):
                raise Rejected(f"{self.name}: image {image.id}: {path} cannot be read by uid {os.geteuid()}")
            found = json.loads(_run(["qemu-img", "info", "--output=json", os.fspath(path)]))["format"]
        if found != "qcow2":
            raise Rejected(f"{self.name}: image {image.id}: expected a qcow2 image, {path} is {found}")
        return path

    def _record_intent(self, directory: Path, record: _Record) -> None:
        """Make the server's directory, with its record in it, in one step."""
        draft = self._state / f"{_RUBBISH}{uuid.uuid4().hex}"
        draft.mkdir(mode=0o700, parents=True)
        with (draft / "server.json").open("w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(directory)

    def _sweep(self) -> None:
        """Remove what crashes in the middle of a create or a delete left."""
        for path in self._state.glob(f"{_RUBBISH}*"):
            try:
                age = self._now().timestamp() - path.stat().st_mtime
            except FileNotFoundError:
                continue
            if age > BUILD_TIMEOUT.total_seconds():
                shutil.rmtree(path, ignore_errors=True)

    def _stop(self, server_id: str, pid: int) -> None:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # The descriptor holds the process fast; only now is it certain that the number was not reused.
            if _server_id_of(pid) != server_id:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    signal.pidfd_send_signal(process, number)
                except ProcessLookupError:
                    return
                except PermissionError as error:
                    raise Rejected(
                        f"{self.name}: QEMU {pid} of server {server_id} belongs to another user than uid {os.geteuid()}"
                    ) from error
                if select.select([process], [], [], STOP_SECONDS)[0]:
                    return
        finally:
            os.close(process)
        raise Unreachable(f"{self.name}: QEMU {pid} of server {server_id} does not end, not even by SIGKILL")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The one place where failures of the host and of its programs become the contract's errors."""
        try:
            yield
        except FileNotFoundError as error:
            raise Rejected(
                f"{self.name}: {error.filename} was not found; the QEMU cloud needs the packages qemu-system-x86, "
                "qemu-utils and xorriso"
            ) from error
        except subprocess.CalledProcessError as error:
            program, words = Path(error.cmd[0]).name, (error.stderr or "").strip()
            if _FULL.search(words):
                raise NoCapacity(f"{self.name}: the disk below {self._state} is full") from error
            raise Rejected(f"{self.name}: {program} failed with status {error.returncode}: {words}") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoCapacity(f"{self.name}: the disk below {self._state} is full") from error
            raise Rejected(f"{self.name}: {error.filename or self._state}: {error.strerror}") from error


def _run(command: list[str]) -> str:
    """Never through a shell, and never with our standard input, which QEMU would keep."""
    run = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return run.stdout


def _create_disk(disk: Path, image: Path, flavor: Flavor) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", os.fspath(image), "-F", "qcow2", os.fspath(disk)]
    _run(command + ([f"{flavor.disk_gib}G"] if flavor.disk_gib else []))


def _has_started(directory: Path) -> bool:
    """QEMU makes the console's file before anything else."""
    return (directory / "console.log").exists()


def _processes() -> defaultdict[str, list[int]]:
    """The QEMU processes of this host by their ``-uuid``."""
    found = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (server_id := _server_id_of(int(entry))):
            found[server_id].append(int(entry))
    return found


def _server_id_of(pid: int) -> str | None:
    """The ``-uuid`` of a QEMU process; None for any other, and for a dead one whose parent has not asked for it yet."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if not os.path.basename(words[0]).startswith(b"qemu-system") or len(words) < 3 or words[1] != b"-uuid":
        return None
    return words[2].decode(errors="replace")


def _image(path: Path) -> Image:
    sidecar = path.with_suffix(".json")
    try:
        properties = json.loads(sidecar.read_text()) if sidecar.exists() else {}
    except ValueError as error:
        raise Rejected(f"{sidecar}: expected the image's properties as JSON, found {error}") from error
    created_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Image(id=path.stem, name=path.stem, created_at=created_at, properties=properties)


def _host_ram_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)
