"""Canary: what the VMs of a VM type are told for a VO has changed, so one VM tries it before the rest get it.

A VM type that never worked for a VO is no canary; of that ``Health`` takes care.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import Scope
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Outcome,
    PilotState,
    VirtualMachine,
    VMState,
    VMTypeKey,
)

GOOD_OUTCOMES = (Outcome.WORKED, Outcome.NO_WORK)
ERROR_CODE = 400  # HSF codes from here on are errors
_OVER = (VMState.DELETING, VMState.ENDED)
_COMING = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING)


def lived(vm: VirtualMachine) -> bool:
    """Whether it came to life well: it had a job, its pilot was seen at work, or it ended in good order.

    A pilot that DIRAC came to know late may be at work by our own word only.
    """
    if vm.jobs > 0 or (vm.pilot is PilotState.RUNNING and vm.jobs_known):
        return True
    return vm.outcome in GOOD_OUTCOMES and vm.outcome_code < ERROR_CODE


def canaries(
    untried: Mapping[Scope, str], vms: Mapping[VMTypeKey, Iterable[VirtualMachine]]
) -> dict[Scope, VirtualMachine]:
    """The VM that tries each version now, where there is one; the VMs by VM type."""
    trying: dict[Scope, VirtualMachine] = {}
    for key in {key for key, _ in untried}:
        for vm in vms.get(key, ()):
            scope = key, vm.vo.lower()
            if vm.version == untried.get(scope) and vm.state not in _OVER and not lived(vm):
                trying[scope] = min(vm, trying.get(scope, vm), key=lambda one: (one.created_at, one.id))
    return trying


def words(version: str, canary: VirtualMachine | None) -> str:
    """Why the rest wait; ``canary`` None: its VM is only being started."""
    if canary is None:
        which = "it is started in this cycle"
    elif canary.state in _COMING:
        which = f"VM {canary.id[:8]} is on its way"
    else:
        held = f", {canary.held}" if canary.held else ""
        which = f"VM {canary.id[:8]} is {canary.state.value} and its pilot was not seen at work yet{held}"
    return f"its context changed ({version}): one VM tries it before the rest get it; {which}"
