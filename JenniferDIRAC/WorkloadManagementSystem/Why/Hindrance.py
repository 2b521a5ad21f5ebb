"""A limit that binds, as sentences: what it is in numbers, where it is set, how long it still binds, since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import BOUNDS, standing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, Limit, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import lasting, moment

_DIRECTOR = "/Systems/WorkloadManagement/Agents/CloudDirector"
_ENDPOINT_OPTIONS = {
    Limit.ENDPOINT_MAX_VMS: "MaxVMs",
    Limit.ENDPOINT_MAX_CORES: "MaxCores",
    Limit.MAX_STARTING_CORES: "MaxStartingCores",
    Limit.SHARE: "Shares",
}
_VM_TYPE_OPTIONS = {
    Limit.VM_TYPE_MAX_VMS: "MaxVMs",
    Limit.VM_TYPE_MAX_CORES: "MaxCores",
    Limit.VM_TYPE_UNUSABLE: "Image and Flavor",
}
_VO_OPTIONS = {Limit.VO_MAX_VMS: "MaxVMs", Limit.VO_MAX_CORES: "MaxCores"}
_SOFT = (Limit.SOFT_MAX_VMS, Limit.SOFT_MAX_CORES)
_DOMAIN = (Limit.DOMAIN_MAX_VMS, Limit.DOMAIN_MAX_CORES)
_QUOTA = (Limit.CLOUD_INSTANCES, Limit.CLOUD_CORES, Limit.CLOUD_RAM)
_ADVICE = {
    Limit.PAUSED: "'dirac-admin-cloud resume' ends it",
    Limit.DRAINED: "'dirac-admin-cloud levers' lists it, 'undrain' ends it",
    Limit.VO_NOT_SERVED: f"{_DIRECTOR}/VO, and the VO's GenericPilotUser and GenericPilotGroup",
    Limit.BACKOFF: "'dirac-admin-cloud vms --all' shows what they came to",
    Limit.NO_ROOM: "the next one is tried by itself",
    Limit.MAX_BOOTING: f"{_DIRECTOR}/MaxBooting; more come as these show life",
    Limit.MAX_CREATES_PER_CYCLE: f"{_DIRECTOR}/MaxCreatesPerCycle; more come in the next cycle",
}


@dataclass(frozen=True)
class Hindrance:
    """A limit that binds in the last plan. ``since``: when it was last not so, None when no kept plan knows.

    ``left`` is how long it still binds, counted from the plan's time ``at``.
    """

    limit: Limit
    detail: str
    vo: str
    at: datetime
    vm_type: VMTypeKey | None = None
    left: timedelta | None = None
    since: datetime | None = None


def why_hindered(one: Hindrance, levers: Iterable[Lever], now: datetime) -> str:
    """What stops it, as the end of a sentence without its full stop."""
    text = one.detail.rstrip(".") or one.limit.value
    if one.left is not None:
        left = one.left - (now - one.at)
        text += f"; {lasting(left)} left" if left > timedelta(0) else "; it is over by now"
    if where := where_set(one, levers, now):
        text += f" ({where})"
    return f"{text}; so {since(one.since, now)}"


def since(at: datetime | None, now: datetime) -> str:
    """Since when something has been so, for the end of a sentence."""
    if at is None:
        return "in all plans that are kept"
    return f"for {lasting(now - at)}, since {moment(at, now)}"


def where_set(one: Hindrance, levers: Iterable[Lever], now: datetime) -> str:
    """The CS path or the lever that sets the limit, or what to look at; "" where nobody sets it."""
    limit, key = one.limit, one.vm_type
    if override := _override(one, levers, now):
        return f"{told(override, now)}; lever {override.id}"
    if limit in _ADVICE:
        return _ADVICE[limit]
    if limit in _QUOTA:
        return "the cloud's own quota; use by others counts"
    if limit in _DOMAIN:
        return "of the QuotaDomain that its endpoint names"
    if key is None:
        return ""
    section = ce_section(key)
    if limit is Limit.ENDPOINT_UNUSABLE:
        return f"'dirac-admin-cloud check {key.endpoint}' tells more"
    if limit is Limit.UNREADY:
        return f"'dirac-admin-cloud vms --site {key.site}' lists them; {_DIRECTOR}/MaxUnreadyPercent"
    if option := _ENDPOINT_OPTIONS.get(limit):
        return f"{section}/{option}"
    if option := _VM_TYPE_OPTIONS.get(limit):
        return f"{section}/Queues/{key.queue}/{option}"
    if option := _VO_OPTIONS.get(limit):
        return f"{section}/VOLimits/{one.vo}/{option}, or the VO's limit everywhere"
    if limit in _SOFT:
        return f"{limit.value} below {section}"
    return ""


def ce_section(key: VMTypeKey) -> str:
    """The CS section of an endpoint; DIRAC names a site after its grid."""
    return f"/Resources/Sites/{key.site.partition('.')[0]}/{key.site}/CEs/{key.ce}"


def _override(one: Hindrance, levers: Iterable[Lever], now: datetime) -> Lever | None:
    """The newest lever that sets this very limit."""
    key, limit = one.vm_type, one.limit
    if key is None:
        return None
    option = _ENDPOINT_OPTIONS.get(limit) or _VM_TYPE_OPTIONS.get(limit) or _VO_OPTIONS.get(limit) or limit.value
    queue = key.queue if limit in _VM_TYPE_OPTIONS else ""
    vo = one.vo.lower() if limit in _VO_OPTIONS else ""
    mine = [
        lever
        for lever in standing(levers, now)
        if lever.kind is LeverKind.OVERRIDE and lever.option == option and lever.option in BOUNDS
        if lever.site in ("", key.site) and lever.ce in ("", key.ce)
        if (lever.vo.lower() == vo and lever.queue == queue) or (limit in _SOFT and lever.queue in ("", key.queue))
    ]
    return mine[-1] if mine else None
