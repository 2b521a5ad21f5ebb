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


def observe(cloud: CloudEndpoint, vm_types: Iterable[VMTypeConfig], waiting_for: Iterable[str]) -> Observation:
    """List the servers once, resolve every VM type, and read the consoles of VMs whose word is waited for.

    ``waiting_for`` are ids of VMs that have not said why they ended. A console that cannot be read is no failure: the
    VM's pilot tells as well.

    :raises CloudError: the cloud did not give a whole listing
    """
    servers = cloud.list_servers()
    wanted = set(waiting_for)
    consoles: dict[str, str] = {}
    for server in servers:
        if len(consoles) == MAX_CONSOLES:
            break
        if server.status not in (ServerStatus.ACTIVE, ServerStatus.STOPPED) or server.identity is None:
            continue
        if server.identity.vm in wanted:
            try:
                consoles[server.identity.vm] = cloud.console_log(server.id)
            except CloudError:
                continue
    catalogue = cloud.catalogue()
    offerings = {vm_type.queue: _offering(vm_type, catalogue, cloud.max_user_data_bytes) for vm_type in vm_types}
    return Observation(servers, cloud.limits(), offerings, consoles)


def _offering(vm_type: VMTypeConfig, catalogue: Catalogue, max_user_data_bytes: int) -> Offering:
    try:
        image, flavor = choose_image(vm_type.image, catalogue), choose_flavor(vm_type.flavor, catalogue)
        return Offering(image, flavor, max_user_data_bytes=max_user_data_bytes)
    except Rejected as error:
        return Offering(problem=str(error))
