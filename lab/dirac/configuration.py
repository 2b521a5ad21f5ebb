"""The lab's configuration files: the served CS, and the local ``dirac.cfg`` of server and clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from diraccfg import CFG

from lab.common.certificates import DN_PREFIX
from lab.vos import VOS

NAME = "Lab"
USERS = ("adm", "alice", "pilot")
CS_SERVICE = "Configuration/Server"
MIND_SERVICE = "WorkloadManagement/OptimizationMind"
PILOT_LOGGING_SERVICE = "WorkloadManagement/TornadoPilotLogging"

_DATABASE_PORT, _OPENSEARCH_PORT, _PILOT_FILES_PORT, _SANDBOX_PORT, _GATEWAY_PORT = 3307, 9201, 9190, 9196, 9164
_PILOT_LOGGING_PORT = 8443
_GATEWAY = "CloudGateway"  # has a section like a service, and is none of DIRAC's


@dataclass(frozen=True)
class Ports:
    """The lab's TCP ports, all moved by one offset so that two labs can stand side by side."""

    offset: int = 0

    @property
    def database(self) -> int:
        return _DATABASE_PORT + self.offset

    @property
    def opensearch(self) -> int:
        return _OPENSEARCH_PORT + self.offset

    @property
    def pilot_files(self) -> int:
        return _PILOT_FILES_PORT + self.offset

    @property
    def gateway(self) -> int:
        return _GATEWAY_PORT + self.offset

    @property
    def pilot_logging(self) -> int:
        return _PILOT_LOGGING_PORT + self.offset


@dataclass(frozen=True)
class Configuration:
    """What the written CS says that ``up`` has to start: databases, and the port of each service."""

    databases: tuple[str, ...]
    services: Mapping[str, int]


def user_group(vo: str) -> str:
    return f"{VOS[vo]}_user"


def write_configuration(
    root: Path,
    images: Path,
    address: str,
    ports: Ports,
    extra: Iterable[Path],
    qemu_sites: bool,
    log_level: str = "INFO",
) -> Configuration:
    """Write ``etc/Lab.cfg`` (served), ``etc/master.cfg`` (the CS service's own) and ``etc/dirac.cfg`` (everybody's).

    :param log_level: of the gateway, which takes it from the CS
    """
    cfg = CFG()
    for template in ("central.cfg.in", "qemu_sites.cfg.in") if qemu_sites else ("central.cfg.in",):
        part = CFG()
        part.loadFromBuffer(_template(template, root, images, address, ports, log_level))
        cfg = cfg.mergeWith(part)
    cfg = cfg.mergeWith(CFG().loadFromDict(_registry()))
    for path in extra:
        cfg = cfg.mergeWith(CFG().loadFromFile(str(path)))
    tree = cfg.getAsDict()
    services = _place_services(tree["Systems"], address, ports.offset)
    etc = root / "etc"
    CFG().loadFromDict(tree).writeToFile(str(etc / f"{NAME}.cfg"))
    server_url = f"dips://{address}:{services[CS_SERVICE]}/{CS_SERVICE}"
    grid_security = etc / "grid-security"
    local = {
        "DIRAC": {
            # the CS publishes its own URL with this; the machine's name means nothing inside a virtual machine
            "Hostname": address,
            "Configuration": {"Servers": server_url, "Name": NAME},
            "Security": {
                "CALocation": str(grid_security / "certificates"),
                "CertFile": str(grid_security / "hostcert.pem"),
                "KeyFile": str(grid_security / "hostkey.pem"),
            },
        }
    }
    CFG().loadFromDict(local).writeToFile(str(etc / "dirac.cfg"))
    own = {"Configuration": {"Services": {"Server": tree["Systems"]["Configuration"]["Services"]["Server"]}}}
    master = {"DIRAC": {"Configuration": {"Master": "yes", "Name": NAME}}, "Systems": own}
    CFG().loadFromDict(master).writeToFile(str(etc / "master.cfg"))
    databases = tuple(
        name
        for system in tree["Systems"].values()
        if isinstance(system, dict)
        for name in system.get("Databases", {})
        if name != "JobParametersDB"  # the only one that lives in OpenSearch
    )
    return Configuration(databases, services)


def _template(name: str, root: Path, images: Path, address: str, ports: Ports, log_level: str) -> str:
    text = (Path(__file__).parent / name).read_text()
    values = {
        "ROOT": root,
        "IMAGES": images,
        "ADDRESS": address,
        "DN": DN_PREFIX,
        "DATABASE_PORT": ports.database,
        "OPENSEARCH_PORT": ports.opensearch,
        "PILOT_FILES_PORT": ports.pilot_files,
        "GATEWAY_PORT": ports.gateway,
        "SANDBOX_PORT": _SANDBOX_PORT + ports.offset,
        "DIRAC_VERSION": version("DIRAC"),
        "LOG_LEVEL": log_level,
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def _registry() -> dict:
    """VOs, users and groups; ``/DIRAC/VirtualOrganization`` stays unset, or Operations(vo=…) would ignore its VO."""
    groups, operations = {}, {}
    for vo, stem in VOS.items():
        groups[f"{stem}_user"] = {"Users": "alice", "Properties": "NormalUser", "VO": vo}
        groups[f"{stem}_pilot"] = {"Users": "pilot", "Properties": "GenericPilot, LimitedDelegation", "VO": vo}
        operations[vo] = {"Pilot": {"GenericPilotGroup": f"{stem}_pilot", "GenericPilotUser": "pilot"}}
    return {
        "Registry": {
            "VO": {vo: {"VOAdmin": "adm"} for vo in VOS},
            "Users": {user: {"DN": DN_PREFIX + user, "Email": f"{user}@lab.invalid"} for user in USERS},
            "Groups": groups,
        },
        "Operations": operations,
        "DiracX": {"DisabledVOs": ", ".join(VOS)},
    }


def _place_services(systems: dict, address: str, offset: int) -> dict[str, int]:
    """Move the port of every service, write its URL, and return ``{"System/Service": port}`` of those of DISET."""
    ports = {}
    for system, content in systems.items():
        if not isinstance(content, dict):
            continue
        for service, options in content.get("Services", {}).items():
            if "Port" not in options or service == _GATEWAY:
                continue
            port = int(options["Port"]) + offset
            options["Port"] = str(port)
            protocol = options.get("Protocol", "dips")
            content.setdefault("URLs", {})[service] = f"{protocol}://{address}:{port}/{system}/{service}"
            if protocol == "dips":
                ports[f"{system}/{service}"] = port
    return ports
