"""``Lab``: brings the whole DIRAC server up and down."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import psutil

from lab.common.address import host_address, require_free_ports
from lab.common.base import CLONE, FOREIGN_VARIABLES, BaseLab, default_port_offset, home, tail
from lab.common.certificates import make_certificates
from lab.common.errors import LabError
from lab.common.undisturbed import undisturbed
from lab.dirac.configuration import (
    CS_SERVICE,
    MIND_SERVICE,
    USERS,
    Configuration,
    Ports,
    write_configuration,
)
from lab.dirac.database import Database
from lab.pilot.publish import make_repository

__all__ = ["FOREIGN_VARIABLES", "Lab", "LabError", "home"]

_DIRECTOR = "CloudDirector"
_READY_SECONDS = 120.0


class Lab(BaseLab):
    """One DIRAC server: CS, WMS, ProxyManager, ResourceStatus, accounting, MariaDB, pilot file server and gateway.

    :param root: everything it writes; ``<home>/lab`` by default. ``up`` empties it, and refuses a directory that is
        neither empty nor a lab's
    :param images: where QEMU's images are; ``<home>/images`` by default
    :param address: of the services, as virtual machines reach them; found on this machine by default
    :param port_offset: added to every port, 0 or ``JENNIFERDIRAC_PORT_OFFSET`` by default
    """

    MARK = ".jenniferdirac-lab"

    def __init__(
        self,
        root: Path | None = None,
        images: Path | None = None,
        address: str | None = None,
        port_offset: int | None = None,
    ):
        super().__init__(Path(root).absolute() if root else home() / "lab")
        self.images = Path(images).absolute() if images else home() / "images"
        self._address = address
        self.ports = Ports(default_port_offset() if port_offset is None else port_offset)
        #: of everything that ``up`` and ``start_agent`` start; DIRAC's word
        self.log_level = "INFO"
        self._database = Database(self.root / "mysql", self.ports.database, self.environment())

    @cached_property
    def address(self) -> str:
        """Looked for when it is needed: a machine that has lost its network can still take a lab down.

        :raises LabError: this machine has no address that a virtual machine could reach
        """
        return self._address or os.environ.get("JENNIFERDIRAC_ADDRESS") or host_address()

    @property
    def ca_directory(self) -> Path:
        return self.root / "etc/grid-security/certificates"

    @property
    def ca_file(self) -> Path:
        return self.ca_directory / "lab-ca.pem"

    @property
    def is_up(self) -> bool:
        return any(process.name == "services" for process in self.processes.alive())

    def proxy(self, user: str, group: str) -> Path:
        """A local proxy, such as ``proxy("alice", "t2k_user")``; made by ``up``, valid for 3 days."""
        return self.root / "users" / user / f"proxy_{group}.pem"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process on this DIRAC server; ``more`` is added."""
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        search = [str(_bin()), kept.get("PATH", "/usr/bin:/bin"), "/usr/sbin:/sbin"]
        own = {"DIRAC_ROOT_PATH": str(self.root), "DIRAC_NO_CFG": "1", "PATH": ":".join(search)}
        own["PYTHONPATH"] = ":".join(filter(None, [str(CLONE), kept.get("PYTHONPATH", "")]))
        return {**kept, **own, **more}

    def activate(self) -> None:
        """Make this process one of the server's, with the host's credential.

        Call it before anything imports DIRAC, or set ``DIRAC_ROOT_PATH`` to the lab's root before that.

        :raises LabError: no lab is up, or DIRAC was imported with another root
        """
        if not self.is_up:
            raise LabError(f"no lab is up in {self.root}: start it with ./run lab up")
        for name in FOREIGN_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(self.environment())
        import DIRAC

        if Path(DIRAC.rootPath) != self.root:
            raise LabError(f"DIRAC was imported with another root, {DIRAC.rootPath}: set DIRAC_ROOT_PATH before")
        # when DIRAC was imported before ``up``, it found no such file in its root
        DIRAC.initialize(host_credentials=True, extra_config_files=[self.root / "etc/dirac.cfg"])

    def up(
        self,
        extra: Iterable[Path] = (),
        progress: Callable[[str], None] = lambda text: None,
        qemu_sites: bool = True,
    ) -> None:
        """Start everything; 15 s on two quiet cores.

        :param extra: CS files merged over the templates
        :param qemu_sites: whether there are two sites with the embedded cloud
        :raises LabError: a lab runs here, the directory is not a lab's, a port is in use, a process does not come up
        """
        self._progress = progress
        self._claim_root()
        try:
            self._end_virtual_machines()
            self._empty_root("etc", "sandboxes", "qemu")
            self._start_all(extra, qemu_sites)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the lab's processes and virtual machines; the files stay for inspection until the next ``up``.

        Ctrl-C and SIGTERM do not cut it short.

        :raises LabError: a virtual machine could not be ended; everything else is
        """
        with undisturbed():
            self.processes.stop([_DIRECTOR])  # first, or it would start virtual machines behind our back
            try:
                self._end_virtual_machines()
            finally:
                self.processes.stop()
                self._give_up_claim()

    def virtual_machines(self) -> list[str]:
        """The QEMU processes that run from this lab's directory, whether any record knows them or not."""
        here = f"{self.root}/qemu/".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(words[0]).startswith(b"qemu-system") and any(here in word for word in words):
                found.append(f"process {path.parent.name}")
        return found

    def reset(self) -> None:
        """No job, pilot or VM record, and no virtual machine, as after ``up``. 0.2 s."""
        self._end_virtual_machines()
        self._database.reset()

    def start(self, name: str, command: Sequence[str | Path], **environment: str) -> subprocess.Popen:
        """Start a process of the lab's: it is logged to ``log/<name>.log`` and ended by ``down``."""
        return self.processes.start(name, command, self.environment(**environment), self.root)

    def start_agent(
        self, agent: str = f"WorkloadManagement/{_DIRECTOR}", *options: str, **environment: str
    ) -> subprocess.Popen:
        """Start a DIRAC agent as a process of its own (``options`` such as ``-o``, ``MaxCycles=1``)."""
        command = [_bin() / "dirac-agent", agent, *self._log_option, *options]
        return self.start(agent.rpartition("/")[2], command, **environment)

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """End a process of the lab's (``mariadbd``, ``services`` …), and start it again afterwards."""
        process = psutil.Process(next(process.pid for process in self.processes.alive() if process.name == name))
        command = process.cmdline()
        listening = [one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        self.processes.stop([name])
        try:
            yield
        finally:
            self.start(name, command)
            for port in listening:
                self.wait_for_port(name, port)

    def _start_all(self, extra: Iterable[Path], qemu_sites: bool) -> None:
        names = [f"IP:{self.address}", "IP:127.0.0.1", "DNS:localhost", f"DNS:{socket.gethostname()}"]
        make_certificates(self.ca_directory.parent, self.root / "users", USERS, ",".join(names))
        configuration = write_configuration(
            self.root, self.images, self.address, self.ports, extra, qemu_sites, self.log_level
        )
        services = dict(configuration.services)
        ports = self.ports
        require_free_ports([ports.database, ports.opensearch, ports.pilot_files, ports.gateway, *services.values()])
        self._progress("certificates and configuration written")
        # the CS needs no database, so it starts while the database is being made
        cs_port = services.pop(CS_SERVICE)
        self._start_services("configuration", [CS_SERVICE], "--cfg", self.root / "etc/master.cfg")
        self.start("opensearch", [sys.executable, "-m", "lab.dirac.opensearch", str(self.ports.opensearch)])
        self._start_database(configuration)
        self.wait_for_port("opensearch", self.ports.opensearch)
        self.wait_for_port("configuration", cs_port)
        self._progress("configuration service up")
        # JobManager looks for the Mind while it starts, and waits 10 s when it is in the same process
        mind_port = services.pop(MIND_SERVICE)
        self._start_services("mind", [MIND_SERVICE])
        self.wait_for_port("mind", mind_port)
        self.start("executors", [_bin() / "dirac-executor", "WorkloadManagement/Optimizers", *self._log_option])
        self._start_services("services", list(services))
        for port in services.values():
            self.wait_for_port("services", port)
        self._progress(f"{len(services)} services up")
        self.start("gateway", [_bin() / "dirac-cloud-gateway"])
        make_repository(self.root / "pilot/repository")
        (self.root / "pilot/www").mkdir()
        self.start_agent("WorkloadManagement/PilotSyncAgent", "-o", "MaxCycles=1")
        self._run([sys.executable, "-m", "lab.dirac.fill"])
        self._progress("resource status filled, proxies made")
        self._serve_pilot_files()
        self._progress("pilot files served")
        self.wait_for_port("gateway", self.ports.gateway)
        self._progress("gateway up")

    @property
    def _log_option(self) -> tuple[str, str]:
        return "-o", f"LogLevel={self.log_level}"

    def _start_services(self, name: str, services: Sequence[str], *options: str | Path) -> None:
        self.start(name, [_bin() / "dirac-service", *services, *self._log_option, *options])

    def _start_database(self, configuration: Configuration) -> None:
        self._database.install()
        self.start("mariadbd", self._database.command())
        self.wait_for_port("mariadbd", self.ports.database)
        self._database.create(configuration.databases)
        self._progress(f"MariaDB up, {len(configuration.databases)} databases made")

    def _serve_pilot_files(self) -> None:
        """Once DIRAC's agent has made them (its one cycle ran beside ``fill``)."""
        files, end = self.root / "pilot/www", time.monotonic() + _READY_SECONDS
        while any(process.name == "PilotSyncAgent" for process in self.processes.alive()) and time.monotonic() < end:
            time.sleep(0.05)
        self.processes.stop(["PilotSyncAgent"])
        if not (files / "pilot.json").exists():
            log = self.processes.log("PilotSyncAgent")
            raise LabError(f"PilotSyncAgent made no pilot files; the end of {log}:\n{tail(log)}")
        grid_security = self.ca_directory.parent
        command = [sys.executable, "-m", "lab.pilot.serve", "--directory", files, "--port", str(self.ports.pilot_files)]
        command += ["--certificate", grid_security / "hostcert.pem", "--key", grid_security / "hostkey.pem"]
        self.start("pilot-files", command)
        self.wait_for_port("pilot-files", self.ports.pilot_files)

    def _run(self, command: Sequence[str]) -> None:
        """Run a command of the lab's to its end."""
        done = subprocess.run(
            command, env=self.environment(), cwd=self.root, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def _end_virtual_machines(self) -> None:
        from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError
        from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint

        states = [path for path in (self.root / "qemu").glob("*") if path.is_dir()]
        for state in states:
            endpoint = QEMUEndpoint(state.name, state, self.images)
            try:
                for server in endpoint.list_servers():
                    endpoint.delete_server(server.id)
            except CloudError as error:
                raise LabError(f"virtual machines of {state} may still run: {error}") from error


def _bin() -> Path:
    """Where DIRAC's commands are: beside this python, whose link must not be followed out of the venv."""
    return Path(sys.executable).absolute().parent
