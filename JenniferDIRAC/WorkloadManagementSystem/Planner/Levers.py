"""Operators' levers as values of a snapshot, so that the rest of the planner meets a drained or held VM, or another
limit, and need not know how it came to be so. What PAUSE and DRAIN keep from being started stands in the snapshot's
levers for whoever starts VMs (``pausing``, ``draining``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    Endpoint,
    EndpointKey,
    Lever,
    LeverKind,
    Snapshot,
    VirtualMachine,
    VMType,
    VMTypeKey,
)

#: The options that OVERRIDE knows, and the fields of Bounds that they set; a share is none of them.
BOUNDS = {
    "MaxVMs": "max_vms",
    "MaxCores": "max_cores",
    "SoftMaxVMs": "soft_max_vms",
    "SoftMaxCores": "soft_max_cores",
}
SHARE = "Share"
OPTIONS = (*BOUNDS, SHARE)

_DONE = {
    LeverKind.PAUSE: "paused",
    LeverKind.DRAIN: "drained",
    LeverKind.HOLD: "held",
    LeverKind.OVERRIDE: "set",
}


def apply_levers(snapshot: Snapshot, now: datetime) -> Snapshot:
    """The snapshot as the levers that stand make it; without one it is the same object."""
    levers = [lever for lever in standing(snapshot.levers, now) if lever.kind is not LeverKind.PAUSE]
    if not levers:
        return snapshot
    # The newest tells its reason.
    drains = [lever for lever in reversed(levers) if lever.kind is LeverKind.DRAIN]
    holds = [lever for lever in reversed(levers) if lever.kind is LeverKind.HOLD and lever.vm]
    overrides = [lever for lever in levers if lever.kind is LeverKind.OVERRIDE and not lever.vm]
    vos = {vo.lower(): vo for vo in (*snapshot.refused_vos, *snapshot.vos)}
    return replace(
        snapshot,
        endpoints=tuple(_endpoint(endpoint, overrides, vos) for endpoint in snapshot.endpoints),
        vms=tuple(_vm(vm, drains, holds, now) for vm in snapshot.vms) if drains or holds else snapshot.vms,
        vo_bounds=_vo_bounds(snapshot.vo_bounds, [one for one in overrides if not _place(one)], vos),
    )


def standing(levers: Iterable[Lever], now: datetime) -> tuple[Lever, ...]:
    """Those that are not over, the oldest first."""
    stand = (lever for lever in levers if lever.until is None or now < lever.until)
    return tuple(sorted(stand, key=lambda lever: (lever.since, lever.id)))


def told(lever: Lever, now: datetime) -> str:
    """Who did what until when, and why, such as "drained by anna until 18:00 UTC: disk migration"."""
    until = ""
    if lever.until is not None:
        day = "%H:%M" if lever.until.date() == now.date() else "%Y-%m-%d %H:%M"
        until = f" until {lever.until:{day}} UTC"
    return f"{_DONE[lever.kind]} by {lever.who}{until}" + (f": {lever.why}" if lever.why else "")


def pausing(levers: Iterable[Lever], now: datetime) -> Lever | None:
    """The lever that stops every create, if there is one: of several the one that lasts longest."""
    return _longest(lever for lever in standing(levers, now) if lever.kind is LeverKind.PAUSE)


def draining(levers: Iterable[Lever], vm_type: VMTypeKey, vo: str, now: datetime) -> Lever | None:
    """The lever that keeps VMs of this type from being started for this VO; of several the one that lasts longest."""
    drains = (lever for lever in standing(levers, now) if lever.kind is LeverKind.DRAIN)
    return _longest(lever for lever in drains if covers(lever, vm_type, vo, ""))


def covers(lever: Lever, vm_type: VMTypeKey, vo: str, vm: str) -> bool:
    """Whether each field that the lever names is that VM's."""
    return (
        _is(lever, vm_type.endpoint)
        and lever.queue in ("", vm_type.queue)
        and lever.vo.lower() in ("", vo.lower())
        and lever.vm in ("", vm)
    )


def concerns(lever: Lever, endpoint: EndpointKey) -> bool:
    """Whether the lever changes something at that endpoint; one of a single VM does not count."""
    return _is(lever, endpoint) and not lever.vm


def _longest(levers: Iterable[Lever]) -> Lever | None:
    return max(levers, key=lambda lever: (lever.until is None, lever.until or lever.since, lever.id), default=None)


def _is(lever: Lever, endpoint: EndpointKey) -> bool:
    return lever.site in ("", endpoint.site) and lever.ce in ("", endpoint.ce)


def _place(lever: Lever) -> str:
    return lever.site or lever.ce or lever.queue


def _endpoint(endpoint: Endpoint, overrides: Sequence[Lever], vos: Mapping[str, str]) -> Endpoint:
    overrides = [lever for lever in overrides if concerns(lever, endpoint.key)]
    if not overrides:
        return endpoint
    whole = [lever for lever in overrides if not lever.queue]
    return replace(
        endpoint,
        bounds=_bounds(endpoint.bounds, [lever for lever in whole if not lever.vo]),
        vo_bounds=_vo_bounds(endpoint.vo_bounds, [lever for lever in whole if _place(lever)], vos),
        shares=_shares(endpoint.shares, whole, vos),
        vm_types=tuple(_vm_type(vm_type, overrides) for vm_type in endpoint.vm_types),
    )


def _vm_type(vm_type: VMType, overrides: Iterable[Lever]) -> VMType:
    queue = vm_type.key.queue
    bounds = _bounds(vm_type.bounds, [lever for lever in overrides if lever.queue == queue and not lever.vo])
    return vm_type if bounds == vm_type.bounds else replace(vm_type, bounds=bounds)


def _vm(vm: VirtualMachine, drains: Sequence[Lever], holds: Sequence[Lever], now: datetime) -> VirtualMachine:
    drain = next((told(lever, now) for lever in drains if covers(lever, vm.vm_type, vm.vo, vm.id)), vm.drain)
    held = next((told(lever, now) for lever in holds if covers(lever, vm.vm_type, vm.vo, vm.id)), vm.held)
    return vm if (drain, held) == (vm.drain, vm.held) else replace(vm, drain=drain, held=held)


def _bounds(bounds: Bounds, overrides: Iterable[Lever]) -> Bounds:
    values = {
        BOUNDS[lever.option]: None if lever.value is None else int(lever.value)
        for lever in overrides
        if lever.option in BOUNDS
    }
    return replace(bounds, **values) if values else bounds


def _vo_bounds(
    bounds: Mapping[str, Bounds], overrides: Iterable[Lever], vos: Mapping[str, str]
) -> Mapping[str, Bounds]:
    """With the overrides of VOs that there are; each under the VO's name as it stands there already."""
    changed = dict(bounds)
    spelling = {**vos, **{vo.lower(): vo for vo in bounds}}
    for lever in overrides:
        vo = spelling.get(lever.vo.lower())
        if vo is not None and lever.option in BOUNDS:
            changed[vo] = _bounds(changed.get(vo, Bounds()), [lever])
    return changed


def _shares(shares: Mapping[str, float], overrides: Iterable[Lever], vos: Mapping[str, str]) -> Mapping[str, float]:
    changed = dict(shares)
    spelling = {**vos, **{vo.lower(): vo for vo in shares}}
    for lever in overrides:
        vo = spelling.get(lever.vo.lower())
        if vo is None or lever.option != SHARE:
            continue
        if lever.value is None:
            changed.pop(vo, None)
        else:
            changed[vo] = lever.value
    return changed
