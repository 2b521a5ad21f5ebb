"""The VM records by VM type, those that are plainly at work apart from those that every rule is asked about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    EndpointKey,
    PilotState,
    ServerState,
    Snapshot,
    VirtualMachine,
    VMState,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch


@dataclass(slots=True)
class Fleet:
    """The VMs of one type.

    ``at_work``, almost all of a usual day: such a VM has had a job, its pilot is at work, its server is well, it said
    no end, is young and as its type would boot today, and nobody wants it drained. It stays as it is. To ask each rule
    about each of them would take half of the cycle.
    """

    at_work: list[VirtualMachine] = field(default_factory=list)
    others: list[VirtualMachine] = field(default_factory=list)

    def __iter__(self) -> Iterator[VirtualMachine]:
        return chain(self.at_work, self.others)


def fleets(snapshot: Snapshot, watches: Mapping[EndpointKey, Watch]) -> dict[VMTypeKey, Fleet]:
    """All VMs; without a listing of its endpoint none is plainly at work."""
    by_type: defaultdict[VMTypeKey, list[VirtualMachine]] = defaultdict(list)
    for vm in snapshot.vms:
        by_type[vm.vm_type].append(vm)
    well = {
        endpoint.key: {server.vm: server.id for server in endpoint.servers or () if server.state is ServerState.ACTIVE}
        for endpoint in snapshot.endpoints
    }
    return {
        key: _split(vms, well[key.endpoint], watches[key.endpoint]) if key.endpoint in well else Fleet(others=vms)
        for key, vms in by_type.items()
    }


def _split(vms: list[VirtualMachine], well: Mapping[str, str], watch: Watch) -> Fleet:
    young, heard = watch.drained_before, watch.now - watch.policy.heartbeat_timeout
    running, working = VMState.RUNNING, PilotState.RUNNING
    fleet = Fleet()
    at_work, others = fleet.at_work.append, fleet.others.append
    for vm in vms:
        if (
            vm.state is running
            and vm.jobs > 0
            and vm.pilot is working
            and vm.said is None
            and vm.pilot_finished_at is None
            and vm.created_at >= young
            and (vm.heartbeat_at is None or vm.heartbeat_at > heard)
            and not vm.drain
            and not vm.drifted
            and well.get(vm.id) == vm.server_id
        ):
            at_work(vm)
        else:
            others(vm)
    return fleet
