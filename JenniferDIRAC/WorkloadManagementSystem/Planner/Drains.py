"""Operators' levers that keep VMs from being created."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, VMTypeKey


def standing(levers: Iterable[Lever], now: datetime) -> list[Lever]:
    """Those that are not over, the one that lasts longest first."""
    stand = (lever for lever in levers if lever.until is None or now < lever.until)
    return sorted(stand, key=lambda lever: (lever.until is None, lever.until or now, lever.id), reverse=True)


def pausing(levers: Iterable[Lever], now: datetime) -> Lever | None:
    """The lever that stops every create, if there is one."""
    return next((lever for lever in standing(levers, now) if lever.kind is LeverKind.PAUSE), None)


def draining(levers: Iterable[Lever], vm_type: VMTypeKey, vo: str, now: datetime) -> Lever | None:
    """The lever that keeps VMs of this type from being started for this VO; an empty field of a lever means any."""
    for lever in standing(levers, now):
        if (
            lever.kind is LeverKind.DRAIN
            and not lever.vm
            and lever.site in ("", vm_type.site)
            and lever.ce in ("", vm_type.ce)
            and lever.queue in ("", vm_type.queue)
            and lever.vo.lower() in ("", vo.lower())
        ):
            return lever
    return None


def drained(levers: Iterable[Lever], vm_type: VMTypeKey, vo: str, now: datetime) -> str:
    """Why no VM of this type is started for this VO: "" or who drains it until when, and why."""
    lever = draining(levers, vm_type, vo, now)
    return "" if lever is None else told(lever, "drained")


def told(lever: Lever, done: str) -> str:
    """Such as "drained by anna until 2026-11-20 18:00 UTC: disk migration"."""
    until = f" until {lever.until:%Y-%m-%d %H:%M} UTC" if lever.until else ""
    return f"{done} by {lever.who}{until}" + (f": {lever.why}" if lever.why else "")
