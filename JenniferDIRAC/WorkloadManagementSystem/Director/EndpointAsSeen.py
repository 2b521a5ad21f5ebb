"""An endpoint of the CS with what one look at its cloud brought back, as the planner takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of, key_of, type_key
from JenniferDIRAC.WorkloadManagementSystem.Director.CloudsSeen import CloudsSeen
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import CloudUse, Endpoint, VMType, VMTypeKey


def endpoint_as_seen(
    config: EndpointConfig, clouds: CloudsSeen, memory: ListingMemory, demand: Demand, unusable: str
) -> Endpoint:
    """The endpoint but for its neighbours (``Tenancy``); ``unusable``: "" or why nothing is started there."""
    key = key_of(config)
    look = clouds.listed.get(key)
    return Endpoint(
        key=key,
        vm_types=tuple(_vm_type(one, type_key(one), clouds.offerings, demand) for one in config.vm_types),
        bounds=bounds_of(config),
        vo_bounds={vo: bounds_of(limits) for vo, limits in config.vo_limits.items()},
        shares=config.shares,
        priority=config.priority,
        domain=config.quota_domain,
        max_starting_cores=config.max_starting_cores,
        probes=config.vacuum_vms,
        unusable=unusable,
        servers=clouds.ours.get(key),
        suspect_since=memory.suspect_since,
        watching_since=memory.since,
        cloud=CloudUse(**vars(look.limits)) if look else None,
    )


def matcher_questions(
    configs: Iterable[EndpointConfig], offerings: Mapping[VMTypeKey, Offering]
) -> dict[VMTypeKey, dict]:
    """What to ask the Matcher for each VM type; the flavor's size stands in where the CS is silent."""
    questions = {}
    for config in configs:
        for vm_type in config.vm_types:
            key = type_key(vm_type)
            flavor = offerings[key].flavor if key in offerings else None
            size = (flavor.cores, flavor.ram_mib) if flavor else ()
            questions[key] = vm_type.matcher_parameters(*size)
    return questions


def _vm_type(config: VMTypeConfig, key: VMTypeKey, offerings: Mapping[VMTypeKey, Offering], demand: Demand) -> VMType:
    offering = offerings.get(key, Offering())
    flavor = offering.flavor
    return VMType(
        key=key,
        cores=flavor.cores if flavor else config.number_of_processors or 1,
        slots=config.number_of_processors,
        ram_mib=flavor.ram_mib if flavor else config.max_ram,
        vos=config.vos,
        bounds=bounds_of(config),
        fills_cores=config.fills_cores,
        unusable=offering.problem or demand.unanswered.get(key, ""),
        matches_known=flavor is not None and key not in demand.unanswered,
    )
