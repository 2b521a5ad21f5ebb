"""``OpenStackLab``: brings a whole OpenStack up and down."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lab.common.address import require_free_ports
from lab.common.base import BaseLab, default_port_offset, home, tail
from lab.common.certificates import make_certificates
from lab.common.errors import LabError
from lab.common.mariadb import MariaDB
from lab.common.undisturbed import undisturbed
from lab.image import golden_image
from lab.openstack import fill
from lab.openstack.cloud import PASSWORD, REAL_ZONE, Cloud
from lab.openstack.configuration import TEMPLATES, Ports, write, write_configuration
from lab.openstack.environment import HERE, Environment, digest
from lab.openstack.prepared import Prepared
from lab.openstack.real import DEFAULT_SUBNET, HOST, RealHost

_DATABASES = ("keystone", "glance", "placement", "nova_api", "nova_cell0", "nova_cell1", "neutron")
_FAKE_HOSTS = ("fake1", "fake2")
_STOP_SECONDS = 3.0  # nothing has to be saved


class OpenStackLab(BaseLab):
    """Keystone, Glance, Placement, Neutron, Nova with fake hosts, and an OIDC provider with Keystone's federation.

    On a fake host servers become ACTIVE and boot nothing; on a real one, which is on request, they boot.

    :param root: everything it writes; ``<home>/openstack`` by default. ``up`` empties it, and refuses a directory that
        is neither empty nor such a lab's
    :param port_offset: added to every port, 0 or ``JENNIFERDIRAC_PORT_OFFSET`` by default
    """

    MARK = ".jenniferdirac-openstack"

    def __init__(self, root: Path | None = None, port_offset: int | None = None):
        super().__init__(Path(root).absolute() if root else home() / "openstack")
        self._offset = default_port_offset() if port_offset is None else port_offset
        self.ports = Ports.moved(self._offset)
        self._environment = Environment()
        self._real_host = RealHost(self.root)

    @property
    def is_up(self) -> bool:
        return any(process.name == "keystone" for process in self.processes.alive())

    @property
    def cloud(self) -> Cloud:
        ports = self.ports
        return Cloud(ports.keystone, ports.token, ports.oidc, self._ca_file, ports.other_token)

    def up(self, progress: Callable[[str], None] = lambda text: None, real: bool = False) -> None:
        """Start everything.

        :param real: also a host whose servers boot, in the zone ``real``, and the golden image; for root only
        :raises LabError: a lab runs here, the directory is not a lab's, a port is in use, a process does not come up,
            or this machine or user cannot have a real host
        """
        self._progress = progress
        if real:
            RealHost.require_possible()
        self._claim_root()
        try:
            image = golden_image(self._images, progress) if real else None
            self._environment.make(progress)
            self._end_guests()
            self._empty_root("etc", "lock", "apache", "rabbit", "glance")
            self._start_all(image)
            self.cloud.save(self.root)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the lab's processes and guests; the files stay for inspection until the next ``up``.

        Ctrl-C and SIGTERM do not cut it short.

        :raises LabError: the real host's bridge could not be removed; everything else is gone
        """
        with undisturbed():
            Cloud.forget(self.root)
            self.processes.stop(patience=_STOP_SECONDS)
            try:
                self._end_guests()
            finally:
                self._give_up_claim()

    def virtual_machines(self) -> list[str]:
        """The guests of the real host that run, whether Nova knows them or not."""
        return [f"process {pid}" for pid in self._real_host.guests()]

    def consoles(self) -> Iterable[Path]:
        """The files that the consoles of the real host's guests are written to."""
        return (self.root / "state" / HOST / "instances").glob("*/console.log")

    def _end_guests(self) -> None:
        self._real_host.end_guests()
        self._real_host.remove_bridge()

    @property
    def _images(self) -> Path:
        return home() / "images"

    @property
    def _ca_file(self) -> Path:
        return self.root / "tls/certificates/lab-ca.pem"

    @property
    def _database(self) -> MariaDB:
        options = ("--innodb-doublewrite=0", "--innodb-file-per-table=0", "--innodb-buffer-pool-size=256M")
        limits = ("--innodb-log-file-size=16M", "--max-connections=400", "--skip-name-resolve")
        return MariaDB(self.root / "mysql", self.ports.database, self._environment.variables(), *options, *limits)

    def _start_all(self, golden: Path | None) -> None:
        require_free_ports(self.ports.all())
        subnet = self._make_bridge() if golden else DEFAULT_SUBNET
        plain, wanted = self._prepared(real=False), self._prepared(real=golden is not None)
        found = next((prepared for prepared in (wanted, plain) if prepared.restore(self.root)), None)
        write_configuration(self.root, self._environment.path, self.ports)
        self._start_rabbit()
        self._start_oidc_provider()
        self._start_database(new=found is None)
        self._progress("MariaDB up" + (", with a prepared cloud" if found else ""))
        if found:
            self._database.sql(found.statements(self._offset))
        else:
            self._make_schemas()
            self._progress("schemas made")
        began = self._database.sql("SELECT UTC_TIMESTAMP()").strip()
        self._start_apis()
        if not found:
            fill.make_services(self.cloud, self.ports)
            fill.make_federation(self.cloud)
        self._progress("Keystone up")
        zones = {fill.FAKE_ZONE: _FAKE_HOSTS} | ({REAL_ZONE: (HOST,)} if golden else {})
        self._start_nova_hosts(real=golden is not None)
        self._wait_for_apis()
        self._start_apache()
        self._progress("all APIs up")
        if found is not wanted:
            self._wait_for_reports(zones, began)
            self._run("discover-hosts", [self._nova_manage("cell_v2", "discover_hosts")])
            fill.make_zones(self.cloud, zones)
            if not found:
                fill.make_flavors(self.cloud)
            self._keep(wanted)
            self._progress("cloud prepared")
        self._fill(subnet, golden)
        self._wait_for_reports(zones, began)
        self._progress("network, images and hosts up")

    def _make_bridge(self) -> str:
        subnet = self._real_host.choose_subnet()
        self._real_host.make_bridge(subnet)
        return subnet

    def _fill(self, subnet: str, golden: Path | None) -> None:
        """What is not prepared: the addresses are chosen anew, and images lie in this root."""
        cloud = self.cloud
        fill.make_network(cloud, subnet)
        fill.make_image(cloud)
        if golden:
            fill.make_golden_image(cloud, golden)
        fill.wake(cloud)

    def _prepared(self, real: bool) -> Prepared:
        """Everything that stands in the databases comes from these."""
        sources = [TEMPLATES, *(HERE / name for name in ("fill.py", "server.py", "configuration.py", "cloud.py"))]
        names = (self._environment.path.name, *([socket.gethostname()] if real else []))
        return Prepared("real" if real else "plain", digest(sources, *names))

    def _keep(self, prepared: Prepared) -> None:
        """The services bear that the database is away for a second."""
        self.processes.stop(["mariadbd"])
        try:
            prepared.keep(self.root, self._offset)
        finally:
            self._start_database(new=False)

    def _start(self, name: str, *command: str | Path, **variables: str) -> subprocess.Popen:
        return self.processes.start(name, command, self._environment.variables(**variables), self.root)

    def _start_database(self, new: bool) -> None:
        if new:
            self._database.install()
        self._start("mariadbd", *self._database.command())
        self.wait_for_port("mariadbd", self.ports.database)
        if new:
            account = f"CREATE USER os@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO os@'127.0.0.1';"
            databases = [f"CREATE DATABASE {name} CHARACTER SET utf8mb3;" for name in _DATABASES]
            self._database.sql("\n".join([account, *databases]))

    def _start_rabbit(self) -> None:
        """With an epmd of its own: RabbitMQ would start one that outlives it."""
        self._start("epmd", "epmd", "-address", "127.0.0.1", "-port", str(self.ports.epmd))
        self.wait_for_port("epmd", self.ports.epmd)
        directory = self.root / "rabbit"
        self._start(
            "rabbitmq",
            "/usr/lib/rabbitmq/bin/rabbitmq-server",
            HOME=str(directory),
            ERL_EPMD_PORT=str(self.ports.epmd),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME=f"jennifer{self._offset}@localhost",
            RABBITMQ_DIST_PORT=str(self.ports.erlang),
            RABBITMQ_CONFIG_FILE=str(directory / "rabbitmq.conf"),
            RABBITMQ_MNESIA_BASE=str(directory / "mnesia"),
            RABBITMQ_LOG_BASE=str(self.root / "log"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(directory / "enabled_plugins"),
            RABBITMQ_CONF_ENV_FILE="/dev/null",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        )

    def _start_oidc_provider(self) -> None:
        tls = self.root / "tls"
        make_certificates(tls, tls / "users", (), "IP:127.0.0.1,DNS:localhost")
        pair = (tls / "hostcert.pem", tls / "hostkey.pem")
        self._start("oidc", self._environment.node, self._environment.oidc_provider, str(self.ports.oidc), *pair)

    def _start_apache(self) -> None:
        self.wait_for_port("oidc", self.ports.oidc)
        self._start("apache", "apache2", "-f", self.root / "etc/apache.conf", "-DFOREGROUND")
        for port in (self.ports.token, self.ports.other_token):
            self.wait_for_port("apache", port)

    def _make_schemas(self) -> None:
        """All at once."""
        etc, url = self.root / "etc", self.cloud.auth_url
        urls = [word for kind in ("admin", "internal", "public") for word in (f"--bootstrap-{kind}-url", f"{url}/")]
        keystone = ["keystone-manage", "--config-file", etc / "keystone/keystone.conf"]
        glance = ["glance-manage", "--config-file", etc / "glance/glance-api.conf"]
        placement = ["placement-manage", "--config-file", etc / "placement/placement.conf"]
        neutron = ["neutron-db-manage", *self._neutron_files(), "upgrade", "heads"]
        account = f"os:{PASSWORD}@127.0.0.1:{self.ports.database}"
        cell0 = f"mysql+pymysql://{account}/nova_cell0?charset=utf8mb3"
        bootstrap = ["bootstrap", "--bootstrap-password", PASSWORD, *urls, "--bootstrap-region-id", "RegionOne"]
        chains = {
            "keystone-schema": [[*keystone, "db_sync"], [*keystone, *bootstrap]],
            "glance-schema": [[*glance, "db_sync"]],
            "placement-schema": [[*placement, "db", "sync"]],
            "nova-schema": [
                self._nova_manage("api_db", "sync"),
                self._nova_manage("cell_v2", "map_cell0", "--database_connection", cell0),
                self._nova_manage("db", "sync"),
                self._nova_manage("cell_v2", "create_cell", "--name", "cell1"),
            ],
            "neutron-schema": [neutron],
        }
        started = {name: self._start_chain(name, chain) for name, chain in chains.items()}
        for name, child in started.items():
            self._finish_chain(name, child)

    def _run(self, name: str, chain: Sequence[Sequence[str | Path]]) -> None:
        self._finish_chain(name, self._start_chain(name, chain))

    def _start_chain(self, name: str, chain: Sequence[Sequence[str | Path]]) -> subprocess.Popen:
        """Commands one after the other."""
        script = " && ".join(shlex.join(map(str, command)) for command in chain)
        return self._start(name, "sh", "-c", script)

    def _finish_chain(self, name: str, child: subprocess.Popen) -> None:
        code = child.wait()
        self.processes.stop([name])
        if code:
            log = self.processes.log(name)
            raise LabError(f"{name} failed; the end of {log}:\n{tail(log)}")

    def _nova_manage(self, *words: str) -> list[str | Path]:
        return ["nova-manage", "--config-file", self.root / "etc/nova/nova.conf", *words]

    def _neutron_files(self) -> list[str | Path]:
        directory = self.root / "etc/neutron"
        return ["--config-file", directory / "neutron.conf", "--config-file", directory / "ml2_conf.ini"]

    def _start_apis(self) -> None:
        """The APIs; it returns once Keystone and Placement answer, which Nova's other services ask first."""
        etc = self.root / "etc"
        keystone = {"OS_KEYSTONE_CONFIG_DIR": str(etc / "keystone"), "OS_KEYSTONE_CONFIG_FILES": "keystone.conf"}
        paste = self._environment.path / "etc/nova/api-paste.ini"
        nova = {"OS_NOVA_CONFIG_DIR": str(etc / "nova"), "OS_NOVA_CONFIG_FILES": f"{paste};nova.conf"}
        neutron = {
            "OS_NEUTRON_CONFIG_DIR": str(etc / "neutron"),
            "OS_NEUTRON_CONFIG_FILES": "neutron.conf;ml2_conf.ini",
        }
        self._serve("keystone", self.ports.keystone, "keystone.wsgi.api", **keystone)
        self._serve(
            "placement", self.ports.placement, "placement.wsgi.api", OS_PLACEMENT_CONFIG_DIR=str(etc / "placement")
        )
        self.wait_for_port("rabbitmq", self.ports.rabbit)
        self._serve("nova-api", self.ports.nova, "nova.wsgi.osapi_compute", **nova)
        self._serve("neutron", self.ports.neutron, "neutron.wsgi.api", **neutron)
        self._serve("glance", self.ports.glance, "glance.wsgi.api", OS_GLANCE_CONFIG_DIR=str(etc / "glance"))
        self.wait_for_port("keystone", self.ports.keystone)
        self.wait_for_port("placement", self.ports.placement)

    def _wait_for_apis(self) -> None:
        ports = self.ports
        for name, port in (("glance", ports.glance), ("neutron", ports.neutron), ("nova-api", ports.nova)):
            self.wait_for_port(name, port)

    def _serve(self, name: str, port: int, module: str, **variables: str) -> None:
        self._start(
            name, self._environment.python, "-m", "openstack_lab.wsgi", module, f"127.0.0.1:{port}", **variables
        )

    def _start_nova_hosts(self, real: bool) -> None:
        """With the conductor and the scheduler."""
        self._start_nova("conductor")
        self._start_nova("scheduler")
        for host in _FAKE_HOSTS:
            file = self.root / f"etc/nova/{host}.conf"
            write(file, "fake_host.conf", {"host": host, "root": self.root})
            (self.root / "state" / host).mkdir(parents=True, exist_ok=True)
            self._start_nova("compute", host, file)
        if real:
            self._start_real_host()

    def _start_real_host(self) -> None:
        self._real_host.write_configuration(self.ports.consoles)
        libvirtd = self._start("libvirtd", *self._real_host.libvirt_command)
        self.wait_until(lambda: self._real_host.is_listening, ["libvirtd"], "libvirtd does not listen")
        command = self._nova_command("compute", self.root / f"etc/nova/{HOST}.conf")
        self._start(HOST, *self._real_host.beside(libvirtd.pid, command))

    def _start_nova(self, service: str, name: str = "", *files: Path) -> None:
        self._start(name or f"nova-{service}", *self._nova_command(service, *files))

    def _nova_command(self, service: str, *files: Path) -> list[str | Path]:
        options = [word for file in (self.root / "etc/nova/nova.conf", *files) for word in ("--config-file", file)]
        return [self._environment.python, "-m", "openstack_lab.nova", service, *options]

    def _wait_for_reports(self, zones: Mapping[str, Iterable[str]], began: str) -> None:
        """Until conductor, scheduler and hosts have told that they live, since this moment of the database's."""
        query = (
            "SELECT COUNT(*) FROM nova_cell1.services WHERE deleted = 0 AND "
            f"`binary` IN ('nova-conductor', 'nova-scheduler', 'nova-compute') AND updated_at >= '{began}'"
        )
        names = ["nova-conductor", "nova-scheduler", *(host for hosts in zones.values() for host in hosts)]
        self.wait_until(lambda: int(self._database.sql(query)) >= len(names), names, "Nova's services do not report")
