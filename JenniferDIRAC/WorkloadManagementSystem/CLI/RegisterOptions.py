"""What the command line of ``register`` says, and what is wrong with it before anybody is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

OFFLINE = "--offline registers without asking the cloud, for a host that cannot reach it."


class NotRegistered(Exception):
    """What stops the registration, for the user; ``usage``: options are missing or wrong."""

    def __init__(self, message: str, usage: bool = False):
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class Wanted:
    """The command line. None: not given."""

    site: str
    ce: str | None = None
    cloud: str | None = None
    vos: str | None = None
    queue: str | None = None
    image: str | None = None
    flavor: str | None = None
    networks: str | None = None
    zones: str | None = None
    key_pair: str | None = None
    security_groups: str | None = None
    max_vms: str | None = None
    max_cores: str | None = None
    max_cpu_time: str | None = None
    cvmfs_proxy: str | None = None
    yes: bool = False
    dry_run: bool = False
    offline: bool = False
    allow: bool = False

    @property
    def values(self) -> dict[str, str]:
        """All that is to be changed, by option of the command."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {_OPTIONS[name]: value for name, value in options.items() if value is not None}


# What makes a value of the CS, except for --ce, which only says where.
_OPTIONS = {
    "cloud": "--cloud",
    "vos": "--vo",
    "queue": "--queue",
    "image": "--image",
    "flavor": "--flavor",
    "networks": "--network",
    "zones": "--zone",
    "key_pair": "--key-pair",
    "security_groups": "--security-group",
    "max_vms": "--max-vms",
    "max_cores": "--max-cores",
    "max_cpu_time": "--max-cpu-time",
    "cvmfs_proxy": "--cvmfs-proxy",
}
# "" removes these; without any of the others there is no endpoint.
_REMOVABLE = ("--network", "--zone", "--key-pair", "--security-group", "--max-vms", "--max-cores", "--cvmfs-proxy")
_NUMBERS = ("--max-vms", "--max-cores")
OF_VM_TYPE = ("--image", "--flavor", "--max-cpu-time")
SHARED = {"--vo": "VO", "--network": "Networks", "--zone": "Zones", "--key-pair": "KeyPair"} | {
    "--security-group": "SecurityGroups"
}
_PROXY = re.compile(r"DIRECT|https?://(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}/?")


def check_given(wanted: Wanted) -> None:
    """:raises NotRegistered: a value that no cloud has to be asked about is wrong"""
    given = wanted.values | ({} if wanted.ce is None else {"--ce": wanted.ce})
    for option, value in given.items():
        if not value.strip() and option not in _REMOVABLE:
            raise NotRegistered(f"{option}: expected a value, found nothing", usage=True)
        if problem := value_problem(option, value):
            raise NotRegistered(f"{option}: {problem}", usage=True)


def value_problem(option: str, value: str) -> str:
    """What is wrong with a value that needs no cloud, or ""."""
    if option in _NUMBERS and value.strip() and not (value.strip().isascii() and value.strip().isdecimal()):
        return f"expected a whole number, found {value}"
    return _proxy_problem(value) if option == "--cvmfs-proxy" else ""


def _proxy_problem(text: str) -> str:
    """What CVMFS would not take for CVMFS_HTTP_PROXY, or "": groups are separated by ``;``, their members by ``|``."""
    for proxy in re.split("[;|]", text) if text else ():
        if not _PROXY.fullmatch(proxy.strip()):
            return (
                f"expected http://host:port or DIRECT (several separated by | or ;), found {proxy.strip() or 'nothing'}"
            )
    return ""
