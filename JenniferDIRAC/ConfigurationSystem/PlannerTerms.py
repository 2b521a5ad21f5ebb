"""What the CS says in the planner's terms; a file of its own, for clouds must not know the planner."""

from __future__ import annotations

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, LimitOptions, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, EndpointKey, VMTypeKey


def bounds_of(limits: LimitOptions) -> Bounds:
    """The pair of limits of an endpoint, VM type, VO or quota domain."""
    return Bounds(limits.max_vms, limits.max_cores, limits.soft_max_vms, limits.soft_max_cores)


def key_of(config: EndpointConfig) -> EndpointKey:
    return EndpointKey(config.site, config.ce)


def type_key(vm_type: VMTypeConfig) -> VMTypeKey:
    return VMTypeKey(vm_type.site, vm_type.ce, vm_type.queue)


def place_of(problem: ConfigProblem) -> str:
    """The ``site/ce`` of a problem, or its ``site``: its path is ``/Resources/Sites/GRID/SITE/CEs/CE/…``."""
    parts = problem.path.split("/")
    return "/".join(parts[4:5] + parts[6:7])


def broken_endpoints(sites: CloudSites) -> dict[EndpointKey, str]:
    """The endpoints that their sections in the CS disable, each with all that is wrong there."""
    broken: dict[EndpointKey, list[str]] = {}
    for problem in sites.problems:
        site, _, ce = place_of(problem).partition("/")
        if ce:
            broken.setdefault(EndpointKey(site, ce), []).append(str(problem))
    return {key: "; ".join(problems) for key, problems in broken.items()}
