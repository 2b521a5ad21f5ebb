"""What one endpoint's thread brings back from one look at its cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import VMTypeConfig
from JenniferDIRAC.Resources.Cloud.Choice import Choice, choose
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    Catalogue,
    CloudEndpoint,
    CloudError,
    Expiry,
    Flavor,
    Limits,
    Rejected,
    Server,
    ServerStatus,
    Throttled,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side

# A console log costs a call, so only those are read that can change a decision, and so many per cycle at most.
MAX_CONSOLES = 20
_OVER = (ServerStatus.STOPPED, ServerStatus.ERROR)

Answer = TypeVar("Answer")


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

    ``expiries`` None: the cloud was not asked when its credential ends. ``throttled``: the cloud asked for a pause
    after it had given the list.
    """

    servers: tuple[Server, ...]
    limits: Limits
    offerings: Mapping[str, Offering]
    consoles: Mapping[str, str] = field(default_factory=dict)
    expiries: tuple[Expiry, ...] | None = None
    throttled: Throttled | None = None


@dataclass(frozen=True)
class Awaited:
    """VMs whose words matter: those that never spoke, and those that have not said why they ended (ids).

    ``doubted`` are names of servers that the last list lacked.
    """

    first_word: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()


def observe(
    cloud: CloudEndpoint, vm_types: Iterable[VMTypeConfig], awaited: Awaited, ask_expiries: bool = False
) -> Observation:
    """List the servers once, resolve every VM type, and read the consoles that matter.

    Servers can be looked after without all else: without a catalogue nothing new is started, a console that cannot be
    read is made up for by the VM's pilot, and an account that does not tell tells later.

    :raises CloudError: the cloud did not give a whole listing, or not its limits
    """
    servers = _servers(cloud, awaited.doubted)
    limits = cloud.limits()
    extras = _Extras(cloud)
    catalogue = extras.ask(cloud.catalogue)
    offerings = {vm_type.queue: _offering(vm_type, catalogue, cloud.max_user_data_bytes) for vm_type in vm_types}
    expiries = None
    if ask_expiries:
        account = extras.ask(cloud.account)
        expiries = account.expiries if isinstance(account, Account) else ()
    side_by_side(cloud.parallel_requests, extras.read_console, _worth_reading(servers, awaited)[:MAX_CONSOLES])
    return Observation(servers, limits, offerings, extras.consoles, expiries, extras.throttled)


def _servers(cloud: CloudEndpoint, doubted: Iterable[str]) -> tuple[Server, ...]:
    """The list, and what it lacks of the doubted that are there when they are asked for by name.

    A list that was cut short twice would end the records of VMs at work: what is gone is gone for this question too.
    """
    servers = cloud.list_servers()
    lacking = sorted(set(doubted) - {server.name for server in servers})
    return servers + tuple(server for name in lacking if (server := cloud.find_server(name)) is not None)


class _Extras:
    """What a look asks for beside the list: after a cloud asked for a pause, nothing more."""

    def __init__(self, cloud: CloudEndpoint):
        self._cloud = cloud
        self.consoles: dict[str, str] = {}
        self.throttled: Throttled | None = None

    def ask(self, question: Callable[[], Answer]) -> Answer | CloudError:
        if self.throttled:
            return self.throttled
        try:
            return question()
        except CloudError as error:
            if isinstance(error, Throttled):
                self.throttled = error
            return error

    def read_console(self, server: Server) -> None:
        text = self.ask(partial(self._cloud.console_log, server.id))
        if isinstance(text, str):
            self.consoles[server.identity.vm] = text


def _worth_reading(servers: Iterable[Server], awaited: Awaited) -> list[Server]:
    """Servers that stopped come first: their console is about to go with them."""
    ours = [server for server in servers if server.identity is not None]
    ended = [one for one in ours if one.status in _OVER and one.identity.vm in awaited.end]
    silent = [one for one in ours if one.status is ServerStatus.ACTIVE and one.identity.vm in awaited.first_word]
    return ended + silent


def _offering(vm_type: VMTypeConfig, catalogue: Catalogue | CloudError, max_user_data_bytes: int) -> Offering:
    if isinstance(catalogue, CloudError):
        return Offering(problem=f"what the cloud has is not known: {catalogue}")
    try:
        return Offering(choose(vm_type, catalogue), max_user_data_bytes=max_user_data_bytes)
    except Rejected as error:
        return Offering(problem=str(error))
