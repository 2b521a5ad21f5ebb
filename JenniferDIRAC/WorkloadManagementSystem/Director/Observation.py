"""What one endpoint's thread brings back from one look at its cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import VMTypeConfig
from JenniferDIRAC.Resources.Cloud.Choice import Choice, choose
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Catalogue,
    CloudEndpoint,
    CloudError,
    Expiry,
    Flavor,
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
    """What a VM type means at this cloud today, or why it means nothing.

    ``max_user_data_bytes`` is the cloud's limit.
    """

    choice: Choice | None = None
    problem: str = ""
    max_user_data_bytes: int = 0

    @property
    def flavor(self) -> Flavor | None:
        return self.choice.flavor if self.choice else None


@dataclass(frozen=True)
class Observation:
    """One listing with its limits, the offerings by queue name, and the consoles worth reading by VM id.

    ``expiries`` None: the cloud was not asked when its credential ends.
    """

    servers: tuple[Server, ...]
    limits: Limits
    offerings: Mapping[str, Offering]
    consoles: Mapping[str, str] = field(default_factory=dict)
    expiries: tuple[Expiry, ...] | None = None


@dataclass(frozen=True)
class Awaited:
    """VMs whose words matter: those that never spoke, and those that have not said why they ended (ids)."""

    first_word: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()


def observe(
    cloud: CloudEndpoint, vm_types: Iterable[VMTypeConfig], awaited: Awaited, ask_expiries: bool = False
) -> Observation:
    """List the servers once, resolve every VM type, and read the consoles that matter.

    A console that cannot be read is no failure: the VM's pilot tells as well. Nor is an account that does not tell.

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
    expiries = _expiries(cloud) if ask_expiries else None
    return Observation(servers, cloud.limits(), offerings, consoles, expiries)


def _expiries(cloud: CloudEndpoint) -> tuple[Expiry, ...]:
    try:
        return cloud.account().expiries
    except CloudError:  # servers were listed, so the credential is good today
        return ()


def _worth_reading(servers: Iterable[Server], awaited: Awaited) -> list[Server]:
    """Servers that stopped come first: their console is about to go with them."""
    ours = [server for server in servers if server.identity is not None]
    ended = [one for one in ours if one.status in _OVER and one.identity.vm in awaited.end]
    silent = [one for one in ours if one.status is ServerStatus.ACTIVE and one.identity.vm in awaited.first_word]
    return ended + silent


def _offering(vm_type: VMTypeConfig, catalogue: Catalogue, max_user_data_bytes: int) -> Offering:
    try:
        return Offering(choose(vm_type, catalogue), max_user_data_bytes=max_user_data_bytes)
    except Rejected as error:
        return Offering(problem=str(error))
