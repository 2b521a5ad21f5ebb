"""A limit that binds, as sentences: what it is in numbers, where it is set, how long it still binds, since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import SHARE, standing, told
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import moment

_ADVICE = {
    Limit.PAUSED: "'dirac-admin-cloud resume' ends it",
    Limit.DRAINED: "'dirac-admin-cloud levers' lists it, 'undrain' ends it",
    Limit.VO_NOT_SERVED: "see VO of the CloudDirector, and the VO's GenericPilotUser and GenericPilotGroup",
    Limit.CANARY: "'dirac-admin-cloud vms --all' shows which VM ran which version",
    Limit.BACKOFF: "'dirac-admin-cloud vms --all' shows what they came to",
    Limit.CLOUD_INSTANCES: "the cloud's own quota; use by others counts",
    Limit.CLOUD_CORES: "the cloud's own quota; use by others counts",
    Limit.CLOUD_RAM: "the cloud's own quota; use by others counts",
}


@dataclass(frozen=True)
class Hindrance:
    """A limit that binds in the last plan, made ``at``. ``since``: when it was last not so, or, where ``at_least``, the
    oldest plan that is kept, in which it was. ``left`` is how long it still binds, counted from ``at``.
    ``option`` as in ``Stopped``."""

    limit: Limit
    detail: str
    vo: str
    at: datetime
    since: datetime
    at_least: bool = False
    vm_type: VMTypeKey | None = None
    left: timedelta | None = None
    option: str = ""


def why_hindered(one: Hindrance, levers: Iterable[Lever], now: datetime, named: bool = False) -> str:
    """What stops it, as the end of a sentence without its full stop; ``named``: which has named the VM type already."""
    option = one.option
    text = one.detail.removesuffix(f"; option {option}").rstrip(".")
    if named and one.vm_type:
        text = _without_place(text, one.vm_type)
    text = text or one.limit.value
    if one.left is not None:
        left = one.left - (now - one.at)
        text += f"; {lasting(left)} left" if left > timedelta(0) else "; it is over by now"
    hints = [_path(option, one.vm_type)] if option else []
    if option and (override := _override(option.split("/"), one.vm_type, levers, now)):
        hints.append(f"{told(override, now)}, lever {override.id}")
    if one.limit in _ADVICE:
        hints.append(_ADVICE[one.limit])
    elif one.limit is Limit.ENDPOINT_UNUSABLE and one.vm_type:
        hints.append(f"'dirac-admin-cloud check {one.vm_type.endpoint}' tells more")
    if hints:
        text += f" ({'; '.join(hints)})"
    return f"{text}; {since(one, now)}"


def since(one: Hindrance, now: datetime) -> str:
    """Since when it has been so, for the end of a sentence."""
    long = lasting(now - one.since)
    return f"so for {long} at least" if one.at_least else f"so for {long}, since {moment(one.since, now)}"


def _without_place(text: str, vm_type: VMTypeKey) -> str:
    """A limit's words without the place that they begin with, if that is the VM type's own."""
    place, _, rest = text.partition(": ")
    where = place.partition(" for ")[0]
    return rest if rest and where in (str(vm_type), str(vm_type.endpoint)) else text


def _path(option: str, vm_type: VMTypeKey | None) -> str:
    """The CS path of an option as the planner names it; DIRAC names a site after its grid."""
    first, _, _ = option.partition("/")
    if first == "CloudDirector":
        return f"/Systems/WorkloadManagement/Agents/{option}"
    if first == "CEs" and vm_type is not None:
        return f"/Resources/Sites/{vm_type.site.partition('.')[0]}/{vm_type.site}/{option}"
    return f"/{option}" if first == "Operations" else option


def _override(option: list[str], vm_type: VMTypeKey | None, levers: Iterable[Lever], now: datetime) -> Lever | None:
    """The newest lever that sets this very option in the CS's place."""
    match option:
        case ["CEs", ce, "Queues", queue, name] if vm_type:
            site, vo = vm_type.site, ""
        case ["CEs", ce, "VOLimits", vo, name] if vm_type:
            site, queue = vm_type.site, ""
        case ["CEs", ce, name] if vm_type:
            site, queue, vo = vm_type.site, "", ""
        case ["Operations", vo, "Cloud", name]:
            site, ce, queue = "", "", ""
        case _:
            return None
    share = name == "Shares"
    mine = [
        lever
        for lever in standing(levers, now)
        if lever.kind is LeverKind.OVERRIDE
        and lever.option == (SHARE if share else name)
        and lever.site in ("", site)
        and lever.ce in ("", ce)
        and lever.queue == queue
        and (share or lever.vo.lower() == vo.lower())
        and bool(lever.site) <= bool(site)
    ]
    return mine[-1] if mine else None
