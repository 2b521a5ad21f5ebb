"""The limits of the CS as the planner takes them; a file of its own, for clouds must not know the planner."""

from __future__ import annotations

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import LimitOptions
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds


def bounds_of(limits: LimitOptions) -> Bounds:
    """The pair of limits of an endpoint, VM type, VO or quota domain."""
    return Bounds(limits.max_vms, limits.max_cores, limits.soft_max_vms, limits.soft_max_cores)
