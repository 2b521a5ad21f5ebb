"""Whose servers a listing shows beside those of our records: strays of ours, and those of other installations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Server, ServerStatus
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    CloudUse,
    Endpoint,
    PilotState,
    UnknownServer,
    VMType,
)


def pilot_reference(ce: str, vm: str) -> str:
    """What DIRAC knows a VM's pilot by."""
    return f"cloud://{ce}/{vm}"


def is_ours(server: Server, installation: str) -> bool:
    return server.identity is not None and server.identity.installation == installation


def strays(servers: Iterable[Server], installation: str, known: Set[str]) -> tuple[Server, ...]:
    """Servers of this installation, by name and metadata, that no record knows (``known``: VM ids), and that stay."""
    return tuple(
        server
        for server in servers
        if is_ours(server, installation)
        and server.identity.vm not in known
        and server.status is not ServerStatus.DELETING
    )


def unknown_server(
    server: Server, ce: str, memory: ListingMemory, facts: Mapping[str, PilotFacts] | None
) -> UnknownServer:
    """A stray as the planner judges it; ``facts`` None: DIRAC could not be asked."""
    identity = server.identity
    pilot = PilotState.NOT_ASKED
    if facts is not None:
        known = facts.get(pilot_reference(ce, identity.vm))
        pilot = known.state if known else PilotState.UNKNOWN
    seen = memory.strikes(server.id)
    return UnknownServer(server.id, identity.vm, identity.vo, identity.cores, seen, server.created_at, pilot)


def with_neighbours(
    endpoint: Endpoint,
    servers: Collection[Server],
    memory: ListingMemory,
    installation: str,
    now: datetime,
) -> Endpoint:
    """The endpoint with what a complete listing shows of other installations; ``memory`` takes it in."""
    foreign = others(servers, installation)
    own = [server.cores for server in servers if is_ours(server, installation)]
    room = has_room(endpoint.vm_types, endpoint.bounds, endpoint.cloud or CloudUse(), len(own), sum(own))
    by_vo: dict[str, set[str]] = {}
    for server in foreign:
        by_vo.setdefault(server.identity.vo.lower(), set()).add(server.id)
    memory.watch_others(by_vo, (vo.lower() for vo in endpoint.shares), room, now)
    return replace(endpoint, others=cores_by_vo(foreign), lendable_since=memory.lendable_since)


def others(servers: Iterable[Server], installation: str) -> tuple[Server, ...]:
    """The servers of other installations of JenniferDIRAC."""
    return tuple(server for server in servers if server.identity and not is_ours(server, installation))


def cores_by_vo(servers: Iterable[Server]) -> Counter[str]:
    cores: Counter[str] = Counter()
    for server in servers:
        cores[server.identity.vo] += server.identity.cores or server.cores
    return cores


def has_room(vm_types: Iterable[VMType], bounds: Bounds, cloud: CloudUse, vms: int, cores: int) -> bool:
    """Whether limits and quota leave room for one more VM of the smallest type; ``vms`` and ``cores`` are ours."""
    smallest = min(vm_types, key=lambda vm_type: (vm_type.cores, vm_type.ram_mib), default=None)
    if smallest is None:
        return False
    return all(
        maximum is None or used + wanted <= maximum
        for maximum, used, wanted in (
            (bounds.max_vms, vms, 1),
            (bounds.max_cores, cores, smallest.cores),
            (cloud.max_instances, cloud.used_instances, 1),
            (cloud.max_cores, cloud.used_cores, smallest.cores),
            (cloud.max_ram_mib, cloud.used_ram_mib, smallest.ram_mib),
        )
    )
