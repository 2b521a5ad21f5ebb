"""What the looks of one cycle brought back from all clouds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation, Offering
from JenniferDIRAC.WorkloadManagementSystem.Director.Tenancy import is_ours
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, ServerState, ServerView, VMTypeKey


@dataclass(frozen=True)
class CloudsSeen:
    """``looks``: of each endpoint that was looked at what was seen, or why nothing was; an endpoint that was not looked
    at is not in it. ``installation`` tells which servers are ours."""

    looks: Mapping[EndpointKey, Observation | Exception]
    installation: str

    @cached_property
    def listed(self) -> dict[EndpointKey, Observation]:
        """The looks that gave a complete list."""
        return {key: look for key, look in self.looks.items() if isinstance(look, Observation)}

    @cached_property
    def ours(self) -> dict[EndpointKey, tuple[ServerView, ...]]:
        """Our servers in each complete list."""
        return {
            key: tuple(
                ServerView(one.id, one.identity.vm, ServerState(one.status.value), one.fault, one.lacks_room)
                for one in look.servers
                if is_ours(one, self.installation)
            )
            for key, look in self.listed.items()
        }

    @cached_property
    def vms(self) -> frozenset[str]:
        """The VMs (ids) of which a server is listed."""
        return frozenset(server.vm for servers in self.ours.values() for server in servers)

    @cached_property
    def without_room(self) -> frozenset[str]:
        """The VMs (ids) whose server says that its cloud has no room for it."""
        return frozenset(server.vm for servers in self.ours.values() for server in servers if server.lacks_room)

    @cached_property
    def offerings(self) -> dict[VMTypeKey, Offering]:
        """What each VM type means at its cloud today, as far as that could be asked."""
        return {
            VMTypeKey(key.site, key.ce, queue): offering
            for key, look in self.listed.items()
            for queue, offering in look.offerings.items()
        }

    @cached_property
    def consoles(self) -> dict[str, str]:
        """The consoles that were read, by VM id."""
        return {vm: text for look in self.listed.values() for vm, text in look.consoles.items()}
