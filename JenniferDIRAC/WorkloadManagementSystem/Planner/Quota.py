"""What a cloud's own quota leaves, over all endpoints that share it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import CloudUse
from JenniferDIRAC.WorkloadManagementSystem.Planner.Places import Stop, full


class Quota:
    """The least of the quotas and the greatest of the uses that the endpoints of one quota domain report, and what was
    asked of them all since."""

    __slots__ = ("max", "used")

    def __init__(self, reports: Iterable[CloudUse | None], asked: tuple[int, int, int]):
        told = [report for report in reports if report is not None]
        self.max = CloudUse(
            max_instances=_least(report.max_instances for report in told),
            max_cores=_least(report.max_cores for report in told),
            max_ram_mib=_least(report.max_ram_mib for report in told),
        )
        used = (
            max((report.used_instances for report in told), default=0),
            max((report.used_cores for report in told), default=0),
            max((report.used_ram_mib for report in told), default=0),
        )
        self.used = [use + pending for use, pending in zip(used, asked, strict=True)]

    def ask(self, cores: int, ram_mib: int) -> None:
        for number, more in enumerate((1, cores, ram_mib)):
            self.used[number] += more

    @property
    def free_cores(self) -> float:
        return math.inf if self.max.max_cores is None else self.max.max_cores - self.used[1]

    def full(self, where: object, cores: int, ram_mib: int) -> Stop | None:
        instances, used_cores, used_ram = self.used
        return (
            full(Limit.CLOUD_INSTANCES, where, self.max.max_instances, instances, 1)
            or full(Limit.CLOUD_CORES, where, self.max.max_cores, used_cores, cores)
            or full(Limit.CLOUD_RAM, where, self.max.max_ram_mib, used_ram, ram_mib)
        )


def _least(maxima: Iterable[int | None]) -> int | None:
    return min((maximum for maximum in maxima if maximum is not None), default=None)
