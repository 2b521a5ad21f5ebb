"""VM types that a cloud had no room for: each is left alone for a while, longer with each time in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import RecentEnd, VirtualMachine, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy


@dataclass(frozen=True, slots=True)
class Pause:
    """A VM type is left alone; ``rounds`` times in a row there was no room."""

    left: timedelta
    rounds: int


def pauses(
    ends: Mapping[VMTypeKey, Iterable[RecentEnd]],
    vms: Mapping[VMTypeKey, Iterable[VirtualMachine]],
    policy: Policy,
    now: datetime,
) -> dict[VMTypeKey, Pause]:
    """The VM types that are left alone now.

    A pause begins with an end for want of room; those that follow within it belong to it. The next one after it, with
    no VM of the type come to life in between, makes a pause twice as long.
    """
    found = {}
    for key, of_type in ends.items():
        times = sorted(end.at for end in of_type if end.no_room)
        if times:
            running = (vm.alive_since for vm in vms.get(key, ()) if vm.state is VMState.RUNNING)
            alive = (since for since in running if since <= now)
            pause = _pause(times, max(alive, default=None), policy, now)
            if pause is not None:
                found[key] = pause
    return found


def _pause(times: Iterable[datetime], alive: datetime | None, policy: Policy, now: datetime) -> Pause | None:
    rounds, start, length = 0, now, timedelta(0)
    for at in times:
        if (alive is not None and at < alive) or (rounds and at <= start + length):
            continue
        length = min(2 * length, policy.no_room_ttl_max) if rounds else policy.no_room_ttl
        rounds, start = rounds + 1, at
    # A clock that was set back before it makes no pause.
    if not rounds or not timedelta(0) <= now - start < length:
        return None
    return Pause(start + length - now, rounds)
