"""What operators ask of the levers, checked: a lever that concerns nothing is a mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from DIRAC.ConfigurationSystem.Client.Helpers.Registry import getVOs
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import did_you_mean
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import OPTIONS, SHARE, covers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, VMState
from JenniferDIRAC.WorkloadManagementSystem.Why.Target import EVERYWHERE, Target, find_target
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyPlace import about

#: Until when a lever stands that names no end: a forgotten hold keeps cores, and a forgotten pause all jobs, for ever.
DEFAULT_SPAN = {LeverKind.HOLD: timedelta(hours=24), LeverKind.PAUSE: timedelta(hours=24)}
_GONE = (VMState.DELETING, VMState.ENDED)


class BadLever(Exception):
    """A lever that cannot be pulled or taken back; the text says why and what to do."""


class LeverRequest(BaseModel):
    """What an operator wants; ``target`` is all, SITE, SITE/CE or SITE/CE/QUEUE. ``seconds`` or ``until`` end it."""

    model_config = ConfigDict(extra="forbid")

    kind: LeverKind
    why: str = Field("", max_length=1000)
    target: str = ""
    vo: str = ""
    vm: str = ""
    option: str = ""
    value: float | None = Field(None, ge=0, allow_inf_nan=False)
    seconds: float | None = Field(None, gt=0, le=10 * 365 * 86400)
    until: AwareDatetime | None = None

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> LeverRequest:
        """:raises BadLever: an unknown option, or a value that is none of its kind"""
        try:
            return cls.model_validate(dict(request))
        except ValidationError as error:
            raise BadLever(
                "; ".join(
                    f"{'.'.join(str(part) for part in one['loc'])} = {one['input']!r}: {one['msg']}"
                    for one in error.errors()
                )
            ) from None


@dataclass(frozen=True)
class Pulled:
    """A new lever, and the VMs that it concerns now."""

    lever: Lever
    vms: int
    cores: int


class LeverDesk:
    """Pulls levers and takes them back in the name of whoever asks."""

    def __init__(self, store: VirtualMachineStore, read_sites: Callable[[], CloudSites] = read_cloud_sites):
        self._store = store
        self._read_sites = read_sites

    def pull(self, request: LeverRequest, who: str, now: datetime) -> Pulled:
        """
        :raises BadLever: it makes no sense
        :raises NoSuchTarget: there is no such site, endpoint or VM type
        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        """
        if not request.why.strip():
            raise BadLever("a reason is needed: whoever finds the lever wants to know")
        lever = self._lever(request, who, now)
        if request.kind is LeverKind.OVERRIDE:
            self._check_override(lever, find_target(self._read_sites(), request.target))
        pulled = self._store.levers.pull(lever, now)
        mine = [vm for vm in self._store.live() if vm.state not in _GONE and _concerns(pulled, vm)]
        return Pulled(pulled, len(mine), sum(vm.cores for vm in mine))

    def release(self, request: LeverRequest, id: int | None, who: str, now: datetime) -> tuple[Lever, ...]:
        """Take back the lever of that number, or all that stand and name exactly what the request does.

        What they name need not exist any more: a site may have left the CS, a VM may have ended.

        :raises BadLever: none does
        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        """
        stand = [lever for lever in self._store.levers.standing(now) if lever.kind is request.kind]
        if id is not None:
            mine = [lever for lever in stand if lever.id == id]
            meant = f"no {request.kind.value.lower()} of the number {id}"
        else:
            vm = self._store.get(request.vm).vm_id if request.kind is LeverKind.HOLD else ""
            mine = [lever for lever in stand if _is_named(lever, request, vm)]
            meant = f"no such {request.kind.value.lower()}"
        if not mine:
            others = "; ".join(f"lever {lever.id}: {about(lever)}" for lever in stand)
            raise BadLever(f"{meant} stands ({others or 'and no other either'})")
        return tuple(self._store.levers.release(lever.id, who, request.why, now) for lever in mine)

    def _lever(self, request: LeverRequest, who: str, now: datetime) -> Lever:
        until = request.until
        if request.seconds is not None:
            if until is not None:
                raise BadLever("a length and an end are given: one of them is enough")
            until = now + timedelta(seconds=request.seconds)
        elif until is None and request.kind in DEFAULT_SPAN:
            until = now + DEFAULT_SPAN[request.kind]
        if until is not None and until <= now:
            raise BadLever(f"it is to end at {until:%Y-%m-%d %H:%M:%S %Z}, which is over")
        value = request.value if request.kind is LeverKind.OVERRIDE else None
        return Lever(0, request.kind, who, request.why.strip(), now, until, **self._fields(request), value=value)

    def _fields(self, request: LeverRequest) -> dict[str, str]:
        """What the lever is to name, spelled as DIRAC spells it."""
        if request.kind is LeverKind.PAUSE:
            return {}
        if request.kind is LeverKind.HOLD:
            record = self._store.get(request.vm)
            if record.state in _GONE:
                raise BadLever(f"VM {record.vm_id} is {record.state.value}: there is nothing left to hold")
            return {"vm": record.vm_id}
        sites = self._read_sites()
        target = find_target(sites, request.target)
        vo = _registered(request.vo)
        if vo and not any(vm_type.serves(vo) for vm_type in _vm_types(sites, target)) and _vm_types(sites, target):
            raise BadLever(f"no VM type of {target} serves {vo}")
        fields = {"site": target.site, "ce": target.ce, "queue": target.queue, "vo": vo}
        if request.kind is LeverKind.OVERRIDE:
            if request.option not in OPTIONS:
                hint = did_you_mean(request.option, OPTIONS) or f"there is {', '.join(OPTIONS)}"
                raise BadLever(f"there is no option '{request.option}' to be set; {hint}")
            fields["option"] = request.option
        return fields

    def _check_override(self, lever: Lever, target: Target) -> None:
        if lever.vo and lever.queue:
            raise BadLever("a limit of a VO is of an endpoint, or everywhere, and not of a VM type")
        if lever.option != SHARE:
            if lever.value is not None and not lever.value.is_integer():
                raise BadLever(f"{lever.option} is a whole number, or none")
            return
        if not lever.vo or target.queue:
            raise BadLever("a share is a VO's, at an endpoint: name the endpoint, and the VO by --vo")
        for config in _endpoints(self._read_sites(), target):
            if not config.shares:
                raise BadLever(
                    f"{config} has no Shares, so all VOs are alike: with one for {lever.vo} alone the others would get "
                    "only what it does not use. Give each of them one in the CS first"
                )


def _is_named(lever: Lever, request: LeverRequest, vm: str) -> bool:
    """Whether a lever of the kind that is asked for names what the request does, in the lever's own words."""
    if lever.kind in (LeverKind.PAUSE, LeverKind.HOLD):
        return lever.vm == vm
    place = "/".join(part for part in (lever.site, lever.ce, lever.queue) if part) or EVERYWHERE
    names = {place} if lever.queue or not lever.ce else {place, lever.ce}
    return (
        request.target.strip("/") in names
        and lever.vo.lower() == request.vo.lower()
        and (lever.kind is not LeverKind.OVERRIDE or lever.option == request.option)
    )


def _concerns(lever: Lever, vm: VMRecord) -> bool:
    return lever.kind is not LeverKind.PAUSE and covers(lever, vm.vm_type, vm.vo, vm.vm_id)


def _endpoints(sites: CloudSites, target: Target) -> list[EndpointConfig]:
    keys = {(key.site, key.ce) for key in target.endpoints}
    return [config for config in sites.endpoints if (config.site, config.ce) in keys]


def _vm_types(sites: CloudSites, target: Target) -> list[VMTypeConfig]:
    return [
        vm_type
        for config in _endpoints(sites, target)
        for vm_type in config.vm_types
        if target.queue in ("", vm_type.queue)
    ]


def _registered(vo: str) -> str:
    """The VO as the Registry spells it.

    :raises BadLever: it does not know it
    """
    if not vo:
        return ""
    known = getVOs().get("Value", [])
    for name in known:
        if name.lower() == vo.lower():
            return name
    hint = did_you_mean(vo, known) or f"there is {', '.join(sorted(known)) or 'none'}"
    raise BadLever(f"there is no VO '{vo}' in /Registry/VO; {hint}")
