"""What a cycle knows once its creates were answered: enough to plan again, in the same cycle, for what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    EndpointKey,
    Outcome,
    RecentEnd,
    Snapshot,
    VirtualMachine,
    VMState,
)


def aftermath(
    snapshot: Snapshot, attempts: Iterable[VirtualMachine], closed: Mapping[EndpointKey, str], now: datetime
) -> Snapshot:
    """The snapshot after these VMs were asked for; planned again at ``now``, its records are judged as before.

    :param attempts: each as its record is: Requested, or Planned while there is no answer, or Ended
    :param closed: endpoints that are not to be asked for more in this cycle, and why
    """
    attempts = tuple(attempts)
    refused = tuple(
        RecentEnd(vm.vm_type, vm.vo, vm.outcome, now, vm.no_room)
        for vm in attempts
        if vm.outcome is not None and (vm.no_room or vm.outcome is Outcome.REJECTED)
    )
    return replace(
        snapshot,
        vms=snapshot.vms + tuple(vm for vm in attempts if vm.state is not VMState.ENDED),
        recent_ends=snapshot.recent_ends + refused,
        endpoints=tuple(
            replace(endpoint, unusable=endpoint.unusable or closed.get(endpoint.key, ""))
            for endpoint in snapshot.endpoints
        ),
    )
