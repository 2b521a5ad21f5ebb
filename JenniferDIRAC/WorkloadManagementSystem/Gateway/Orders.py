"""What a VM is told when it sends a heartbeat: pure, from its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import SessionState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

_POLICY = Policy()


@dataclass(frozen=True)
class LifeLimits:
    """The director's time-outs that VMs hear of."""

    drain_timeout: timedelta = _POLICY.drain_timeout
    max_lifetime: timedelta = _POLICY.max_lifetime


def orders(vm: SessionState, limits: LifeLimits) -> tuple[bool, datetime | None]:
    """Whether it is to take no new payload, and when it has to be off; None: at no time that is known."""
    match vm.state:
        case VMState.DRAINING:
            return True, min(vm.since + limits.drain_timeout, vm.created_at + limits.max_lifetime)
        case VMState.DELETING | VMState.ENDED:  # its server is being deleted: let it say its last words
            return True, vm.since
    return False, None
