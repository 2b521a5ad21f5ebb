"""By what time ages are judged, and which lists of servers are believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    Snapshot,
    VirtualMachine,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

#: States in which a VM with a server is to be found in its endpoint's list.
LISTED_STATES = frozenset({VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING})


@dataclass(frozen=True)
class Watch:
    """The time by which ages are judged, since when somebody looked without a break, and since when the VMs could
    speak without a break (None: they cannot now)."""

    policy: Policy
    now: datetime
    since: datetime | None = None
    gateway_since: datetime | None = None

    def longer(self, start: datetime, timeout: timedelta) -> bool:
        """Whether more than ``timeout`` went by since ``start`` while somebody was looking."""
        return self.now - (start if self.since is None else max(start, self.since)) > timeout

    def silent(self, start: datetime, timeout: timedelta) -> bool:
        """Whether more than ``timeout`` went by since ``start`` while a VM could have spoken to the gateway."""
        return self.gateway_since is not None and self.longer(max(start, self.gateway_since), timeout)

    # Ages of whole lives are not a matter of who was looking: they count from the creation.

    @cached_property
    def expired_before(self) -> datetime:
        """What was made earlier has lived for too long."""
        return self.now - self.policy.max_lifetime

    @cached_property
    def drained_before(self) -> datetime:
        """What was made earlier takes no new payload; what it has then has the drain time-out to finish."""
        return self.now - self.drain_age

    @property
    def drain_age(self) -> timedelta:
        lifetime = self.policy.max_lifetime
        return max(lifetime - self.policy.drain_timeout, lifetime / 2)


def is_suspect(believed: Set[str], listed: Set[str]) -> bool:
    """Whether a complete listing lacks so many servers at once that it is rather the list that is wrong.

    ``believed`` are the ids of an endpoint's VMs in ``LISTED_STATES`` whose record has a server, ``listed`` those of
    the VMs that its list shows.
    """
    return len(believed) > 1 and 2 * len(believed & listed) < len(believed)


def disbelief(endpoint: Endpoint, vms: Iterable[VirtualMachine], watch: Watch) -> str:
    """Why nothing is believed gone on this endpoint's list: "" or how much of it is missing since when."""
    since = endpoint.suspect_since
    if since is None or watch.longer(since, watch.policy.suspect_timeout):
        return ""
    believed = {vm.id for vm in vms if vm.endpoint == endpoint.key and vm.server_id and vm.state in LISTED_STATES}
    missing = len(believed - {server.vm for server in endpoint.servers or ()})
    return f"{missing} of {len(believed)} servers are missing from its list since {since:%Y-%m-%d %H:%M} UTC"


def watches(snapshot: Snapshot, policy: Policy, now: datetime) -> dict[EndpointKey, Watch]:
    """Per endpoint since when it was looked at without a break: by the director, and with a list in answer.

    Where all VMs that ever spoke to the gateway are silent, it is rather the way to the gateway that is broken: an
    endpoint's own where it has several such VMs, else that of all.
    """
    heard: defaultdict[EndpointKey, list[bool]] = defaultdict(list)
    for vm in snapshot.vms:
        if vm.heartbeat_at is not None and vm.said is None and vm.state in LISTED_STATES:
            heard[vm.endpoint].append(now - vm.heartbeat_at <= policy.heartbeat_timeout)
    everybody = [one for some in heard.values() for one in some]

    def reached(where: EndpointKey) -> bool:
        some = heard[where] if len(heard[where]) > 1 else everybody
        return len(some) < 2 or any(some)

    return {
        endpoint.key: Watch(
            policy,
            now,
            max((since for since in (snapshot.watching_since, endpoint.watching_since) if since), default=None),
            snapshot.gateway_since if reached(endpoint.key) else None,
        )
        for endpoint in snapshot.endpoints
    }
