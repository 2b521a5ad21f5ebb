"""What one endpoint's thread brings back from one look at its cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import VMTypeConfig
from JenniferDIRAC.Resources.Cloud.Choice import choose_flavor, choose_image
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Catalogue,
    CloudEndpoint,
    CloudError,
    Flavor,
    Image,
    Limits,
    Rejected,
    Server,
    ServerStatus,
)

# A console log costs a call, so only those are read that can change a decision, and so many per cycle at most.
MAX_CONSOLES = 20
_OVER = (ServerStatus.STOPPED, ServerStatus.ERROR)


@dataclass(frozen=True)
class Offering:
    """What a VM type's image and flavor mean at this cloud today, or why they mean nothing.

    ``max_user_data_bytes`` is the cloud's limit.
    """

    image: Image | None = None
    flavor: Flavor | None = None
    problem: str = ""
    max_user_data_bytes: int = 0


@dataclass(frozen=True)
class Observation:
    """One listing with its limits, the offerings by queue name, and the consoles worth reading by VM id."""

    servers: tuple[Server, ...]
    limits: Limits
    offerings: Mapping[str, Offering]
    consoles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Awaited:
    """VMs whose words matter: those that never spoke, and those that have not said why they ended (ids)."""

    first_word: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()


def observe(cloud: CloudEndpoint, vm_types: Iterable[VMTypeConfig], awaited: Awaited) -> Observation:
    """List the servers once, resolve every VM type, and read the consoles that matter.

    A console that cannot be read is no failure: the VM's pilot tells as well.

    :raises CloudError: the cloud did not give a whole listing
    """
    servers = cloud.list_servers()
    catalogue = cloud.catalogue()
    offerings = {vm_type.queue: _offering(vm_type, catalogue, cloud.max_user_data_bytes) for vm_type in vm_types}
    consoles = {}
    for server in _worth_reading(servers, awaited)[:MAX_CONSOLES]:
        try:
            consoles[server.identity.vm] = cloud.console_log(server.id)
        except CloudError:
            continue
    return Observation(servers, cloud.limits(), offerings, consoles)


def _worth_reading(servers: Iterable[Server], awaited: Awaited) -> list[Server]:
    """Servers that stopped come first: their console is about to go with them."""
    ours = [server for server in servers if server.identity is not None]
    ended = [one for one in ours if one.status in _OVER and one.identity.vm in awaited.end]
    silent = [one for one in ours if one.status is ServerStatus.ACTIVE and one.identity.vm in awaited.first_word]
    return ended + silent


def _offering(vm_type: VMTypeConfig, catalogue: Catalogue, max_user_data_bytes: int) -> Offering:
    try:
        image, flavor = choose_image(vm_type.image, catalogue), choose_flavor(vm_type.flavor, catalogue)
        return Offering(image, flavor, max_user_data_bytes=max_user_data_bytes)
    except Rejected as error:
        return Offering(problem=str(error))
