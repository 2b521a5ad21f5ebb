"""Places with limits: an endpoint, a VM type, a VO at an endpoint or everywhere, a quota domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds

#: The names of a place's hard limits, in VMs and in cores.
ENDPOINT_LIMITS = Limit.ENDPOINT_MAX_VMS, Limit.ENDPOINT_MAX_CORES
VM_TYPE_LIMITS = Limit.VM_TYPE_MAX_VMS, Limit.VM_TYPE_MAX_CORES
VO_LIMITS = Limit.VO_MAX_VMS, Limit.VO_MAX_CORES
DOMAIN_LIMITS = Limit.DOMAIN_MAX_VMS, Limit.DOMAIN_MAX_CORES


@dataclass(frozen=True, slots=True)
class Stop:
    """A limit that leaves no room for one more VM, in numbers; ``left`` and ``option`` as in ``Stopped``."""

    limit: Limit
    text: str
    left: timedelta | None = None
    option: str = ""

    @property
    def detail(self) -> str:
        """The text with the option that sets the limit."""
        return f"{self.text}; option {self.option}" if self.option else self.text


class Place:
    """A pair of limits with what is in use there, intents included.

    ``option`` is the CS section of the limits, as far as it tells them from others.
    """

    __slots__ = ("name", "option", "bounds", "limits", "vms", "cores", "starting")

    def __init__(self, name: object, option: str, bounds: Bounds, limits: tuple[Limit, Limit]):
        self.name, self.option, self.bounds, self.limits = name, option, bounds, limits
        self.vms = self.cores = self.starting = 0

    def add(self, vms: int, cores: int, starting: int) -> None:
        self.vms += vms
        self.cores += cores
        self.starting += starting

    def full(self, cores: int) -> Stop | None:
        """The hard limit that one more VM of so many cores would exceed."""
        bounds, (of_vms, of_cores) = self.bounds, self.limits
        return full(of_vms, self.name, bounds.max_vms, self.vms, 1, f"{self.option}/MaxVMs") or full(
            of_cores, self.name, bounds.max_cores, self.cores, cores, f"{self.option}/MaxCores"
        )

    def slow(self) -> Stop | None:
        """The soft limit that is reached while a VM of this place is starting."""
        bounds = self.bounds
        if not self.starting:
            return None
        if bounds.soft_max_vms is not None and self.vms >= bounds.soft_max_vms:
            return self._slow(Limit.SOFT_MAX_VMS, bounds.soft_max_vms, self.vms)
        if bounds.soft_max_cores is not None and self.cores >= bounds.soft_max_cores:
            return self._slow(Limit.SOFT_MAX_CORES, bounds.soft_max_cores, self.cores)
        return None

    def _slow(self, limit: Limit, maximum: int, used: int) -> Stop:
        return Stop(
            limit,
            f"{self.name}: {limit.value} {maximum} reached ({used} in use), so one VM at a time, and {self.starting} "
            "starting",
            option=f"{self.option}/{limit.value}",
        )


def full(limit: Limit, where: object, maximum: int | None, used: int, wanted: int, option: str = "") -> Stop | None:
    """The stop when so many more do not fit beside those in use; ``option`` is where the limit is set, if we set it."""
    if maximum is None or used + wanted <= maximum:
        return None
    room = "reached" if used >= maximum else f"has no room for {wanted} more"
    return Stop(limit, f"{where}: {limit.value} {maximum} {room} ({used} in use)", option=option)
