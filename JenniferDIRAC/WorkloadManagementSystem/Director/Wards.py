"""The endpoints to look after: those of the CS, and those that left it while they still have VMs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import broken_endpoints, key_of
from JenniferDIRAC.WorkloadManagementSystem.DB.EndpointConfigs import EndpointConfigs
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

LEFT_THE_CS = "it is no longer in the CS"


@dataclass(frozen=True)
class Wards:
    """The configurations to work with. ``closed`` says why nothing is started at an endpoint that the CS does not
    give; ``lost`` are endpoints with VMs of which no good configuration is known. ``broken`` says why a section of the
    CS cannot be used."""

    configs: Mapping[EndpointKey, EndpointConfig]
    closed: Mapping[EndpointKey, str]
    lost: frozenset[EndpointKey]
    broken: Mapping[EndpointKey, str]

    @property
    def out_of_use(self) -> dict[EndpointKey, str]:
        """Why nothing is started at an endpoint that is broken, or that left the CS."""
        return {**self.broken, **self.closed}

    def orphans(self) -> Iterator[str]:
        """Lines on the endpoints that still have VMs."""
        for key, why in self.closed.items():
            yield f"{key} still has VMs, which are looked after: {why}"
        for key in self.lost:
            yield f"{key} still has VMs, and no good configuration of it is known: nobody looks after them"


class WardKeeper:
    """Keeps the last good configuration of each endpoint in the database until it is neither in the CS nor has VMs."""

    def __init__(self, kept: EndpointConfigs):
        self._store = kept
        self._kept: dict[EndpointKey, EndpointConfig] | None = None
        self._orphans: Set[EndpointKey] = frozenset()

    def read_again(self) -> None:
        """What is kept may have been changed by others."""
        self._kept = None

    def wards(self, sites: CloudSites, with_vms: Set[EndpointKey]) -> Wards:
        """
        :param sites: what the CS says
        :param with_vms: the endpoints with VMs that have not ended
        :raises StoreUnavailable: what is kept is not known
        """
        current = {key_of(config): config for config in sites.endpoints}
        orphans = with_vms - current.keys()
        if self._kept is None or not orphans <= self._kept.keys():
            self._kept = self._store.kept()
        news = {key: config for key, config in current.items() if self._kept.get(key) != config}
        # A director that the CS reached earlier may have forgotten what got VMs here meanwhile.
        news |= {key: self._kept[key] for key in orphans - self._orphans if key in self._kept}
        if news:
            self._store.keep(news.values())
            self._kept |= news
        self._orphans = orphans
        if over := self._kept.keys() - current.keys() - with_vms:
            self._store.forget(over)
            self._kept = {key: config for key, config in self._kept.items() if key not in over}
        broken = broken_endpoints(sites)
        known = sorted(orphans & self._kept.keys())
        return Wards(
            configs=current | {key: self._kept[key] for key in known},
            closed={key: broken.get(key, LEFT_THE_CS) for key in known},
            lost=frozenset(orphans - self._kept.keys()),
            broken=broken,
        )
