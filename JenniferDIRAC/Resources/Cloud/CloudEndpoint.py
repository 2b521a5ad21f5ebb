"""The contract between the director and a cloud: values, typed errors, and seven calls.

One ``CloudEndpoint`` is one project (tenancy) in one region of one cloud. Adapters translate their library's
exceptions into the errors below in one place; callers decide by type, never by text.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property

NAME_PREFIX = "jennifer"
# A name is ours when it has this form and the metadata say the same installation and VM.
_NAME = re.compile(r"^jennifer-(?P<installation>[0-9a-f]{8})-(?P<vm>[0-9a-f]{32})$")

META_INSTALLATION = "jennifer_installation"
META_VM = "jennifer_vm"
META_VO = "jennifer_vo"
META_CORES = "jennifer_cores"


class CloudError(Exception):
    """Anything a cloud can do to us. ``str()`` is for an operator and never holds a secret."""


class QuotaExceeded(CloudError):
    """The project is full. This is not a failure of the endpoint."""


class NoCapacity(CloudError):
    """The cloud has no room for this offering just now; another offering may work."""


class Rejected(CloudError):
    """Our configuration is wrong (image, flavor, network, user-data …): stop and tell."""


class AuthenticationFailed(CloudError):
    """The credential is missing, wrong or expired."""


class Throttled(CloudError):
    """The cloud asks us to slow down; ``retry_after`` is in seconds, None when it did not say."""

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(CloudError):
    """No answer, or one that makes no sense; nothing is known about the request's effect on reads."""


class AmbiguousOutcome(CloudError):
    """A create that may or may not have made a server: find it by name before doing anything else."""


class ServerNotFound(CloudError):
    """The cloud answers, and does not know this server."""


class ServerStatus(str, Enum):
    """A server's life as every cloud can tell it."""

    BUILDING = "BUILDING"
    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"
    ERROR = "ERROR"
    DELETING = "DELETING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Flavor:
    """What a server is made of. RAM in MiB, disk in GiB (0: no disk of its own)."""

    id: str
    name: str
    cores: int
    ram_mib: int
    disk_gib: int = 0


@dataclass(frozen=True)
class Image:
    """What a server boots from; ``properties`` are the cloud's own (os_distro, os_version …)."""

    id: str
    name: str
    created_at: datetime | None = None
    owner: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    min_ram_mib: int = 0
    min_disk_gib: int = 0


@dataclass(frozen=True)
class Network:
    """What a server may be attached to.

    ``external``: a provider's network to the outside (Neutron's ``router:external``); ``shared``: everybody's, else the
    project's own. ``subnets`` are the ranges of addresses (CIDR); a network without any gives a server no address.
    """

    id: str
    name: str
    external: bool = False
    shared: bool = False
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """All that may be chosen from at an endpoint."""

    flavors: tuple[Flavor, ...] = ()
    images: tuple[Image, ...] = ()
    networks: tuple[Network, ...] = ()
    key_pairs: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


#: So long before its end a credential is worth a word, and so long before it an alarm.
EXPIRY_WARNING = timedelta(days=28)
EXPIRY_ALARM = timedelta(days=7)


@dataclass(frozen=True)
class Expiry:
    """When something that we log in with ends; ``at`` None: it does not tell."""

    what: str
    at: datetime | None

    def is_near(self, now: datetime, margin: timedelta = EXPIRY_WARNING) -> bool:
        return self.at is not None and self.at - now <= margin

    def words(self, now: datetime) -> str:
        """How long it still lasts, for an operator."""
        if self.at is None:
            return f"{self.what}: it does not tell when it ends"
        when = f"{self.at:%Y-%m-%d %H:%M} UTC"
        if self.at <= now:
            return f"{self.what} ended on {when}"
        return f"{self.what} ends in {(self.at - now).days} days, on {when}"


@dataclass(frozen=True)
class Account:
    """Who we are at the cloud, for people; nothing here is secret.

    ``projects`` are the (id, name) of all that the credential may use, where it can tell.
    """

    user: str = ""
    project_id: str = ""
    project: str = ""
    region: str = ""
    url: str = ""
    projects: tuple[tuple[str, str], ...] = ()
    expiries: tuple[Expiry, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Which VM of which installation a server is: what its name and its metadata both say.

    ``installation`` and ``vm`` are UUIDs as 32 hexadecimal digits.
    """

    installation: str
    vm: str
    vo: str
    cores: int

    @property
    def name(self) -> str:
        return f"{NAME_PREFIX}-{self.installation[:8]}-{self.vm}"

    @property
    def metadata(self) -> dict[str, str]:
        return {META_INSTALLATION: self.installation, META_VM: self.vm, META_VO: self.vo, META_CORES: str(self.cores)}

    @classmethod
    def of(cls, name: str, metadata: Mapping[str, str]) -> Identity | None:
        """The identity that name *and* metadata agree upon, or None for a server that is not from JenniferDIRAC."""
        match = _NAME.match(name)
        if match is None:
            return None
        installation, vm = metadata.get(META_INSTALLATION, ""), metadata.get(META_VM, "")
        if match["vm"] != vm or not installation.startswith(match["installation"]):
            return None
        cores = metadata.get(META_CORES, "")
        return cls(installation, vm, metadata.get(META_VO, ""), int(cores) if cores.isdecimal() else 0)


@dataclass(frozen=True)
class Server:
    """A machine as the cloud lists it.

    ``fault`` is the cloud's own text for ERROR; ``lacks_room`` says that it is for want of room, which another offering
    may have, and not for anything wrong.
    """

    id: str
    name: str
    status: ServerStatus
    metadata: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0
    ram_mib: int = 0
    created_at: datetime | None = None
    fault: str = ""
    lacks_room: bool = False

    @cached_property
    def identity(self) -> Identity | None:
        return Identity.of(self.name, self.metadata)


@dataclass(frozen=True)
class Leftover:
    """What a server left behind when it was deleted, and the project still has and pays for; ``kind`` is for people."""

    kind: str
    id: str
    server_id: str


@dataclass(frozen=True)
class ServerRequest:
    """Everything one create call needs. ``user_data`` may hold secrets, so it stays out of ``repr``.

    ``networks`` empty leaves the choice to the cloud; ``boot_volume_gib`` 0 boots from the flavor's own disk.
    """

    identity: Identity
    image: Image
    flavor: Flavor
    user_data: bytes = field(repr=False)
    networks: tuple[Network, ...] = ()
    security_groups: tuple[str, ...] = ()
    key_pair: str = ""
    zone: str = ""
    boot_volume_gib: int = 0
    description: str = ""


@dataclass(frozen=True)
class Limits:
    """Quota and use of the whole project, by us and by others; None means the cloud sets no limit."""

    max_instances: int | None = None
    max_cores: int | None = None
    max_ram_mib: int | None = None
    used_instances: int = 0
    used_cores: int = 0
    used_ram_mib: int = 0


class CloudEndpoint(ABC):
    """One project of one cloud. One task at a time uses an instance; ``create_server``, ``delete_server`` and
    ``console_log`` may be called by ``parallel_requests`` of its threads at once."""

    #: The largest user-data the cloud takes, in bytes before any encoding (Nova: 65535 bytes of base64).
    max_user_data_bytes: int = 49149
    #: How many creates, deletes or consoles at once the cloud answers faster than one after the other.
    parallel_requests: int = 1

    @abstractmethod
    def list_servers(self) -> tuple[Server, ...]:
        """All servers of JenniferDIRAC in the project, whichever installation made them, in one logical call.

        Foreign servers may be listed or left out; ``limits`` counts them. Raises rather than returns a part.
        """

    @abstractmethod
    def create_server(self, request: ServerRequest) -> Server:
        """Send exactly one create request, never retried by any layer below.

        :raises QuotaExceeded, NoCapacity, Rejected, AuthenticationFailed, Throttled: nothing was made
        :raises Unreachable: the request was never sent (connection refused)
        :raises AmbiguousOutcome: a time-out or a 5xx; the server may exist
        """

    @abstractmethod
    def find_server(self, name: str) -> Server | None:
        """The server of that exact name, or None: settles an ambiguous create."""

    @abstractmethod
    def delete_server(self, server_id: str) -> None:
        """Ask for a server's end. A server that does not exist is a success."""

    @abstractmethod
    def limits(self) -> Limits:
        """Quota and use of the project."""

    @abstractmethod
    def catalogue(self) -> Catalogue:
        """Flavors, images, networks, key pairs, zones and security groups to choose from; may be some minutes old."""

    def account(self) -> Account:
        """Who we are there, and until when."""
        return Account()

    def leftovers(self, server_ids: Collection[str]) -> tuple[Leftover, ...]:
        """What these servers, which were ours and are gone, left behind; nothing where a cloud leaves nothing."""
        return ()

    def delete_leftover(self, leftover: Leftover) -> None:
        """Delete it. One that does not exist is a success."""
        raise NotImplementedError(f"{type(self).__name__} finds no leftovers, so it deletes none")

    @abstractmethod
    def console_log(self, server_id: str, max_bytes: int = 65536) -> str:
        """The last ``max_bytes`` of the serial console. Untrusted text: never interpret, always escape.

        :raises ServerNotFound: there is no such server
        """
