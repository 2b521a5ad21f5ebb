"""The endpoints to look after: those of the CS, and those that left it while they still have VMs."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.WorkloadManagementSystem.DB.EndpointConfigs import EndpointConfigs
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

LEFT_THE_CS = "it is no longer in the CS"


def key_of(config: EndpointConfig) -> EndpointKey:
    return EndpointKey(config.site, config.ce)


@dataclass(frozen=True)
class Wards:
    """The configurations to work with. ``closed`` says why nothing is started at an endpoint that the CS does not
    give; ``lost`` are endpoints with VMs of which no good configuration is known."""

    configs: Mapping[EndpointKey, EndpointConfig]
    closed: Mapping[EndpointKey, str]
    lost: frozenset[EndpointKey]


class WardKeeper:
    """Keeps the last good configuration of each endpoint in the database until it is neither in the CS nor has VMs."""

    def __init__(self, kept: EndpointConfigs):
        self._store = kept
        self._kept: dict[EndpointKey, EndpointConfig] | None = None

    def read_again(self) -> None:
        """What is kept may have been changed by others."""
        self._kept = None

    def wards(
        self, configured: tuple[EndpointConfig, ...], broken: Mapping[EndpointKey, str], with_vms: Set[EndpointKey]
    ) -> Wards:
        """
        :param configured: the good ones of the CS
        :param broken: why an endpoint's section of the CS cannot be used
        :param with_vms: the endpoints with VMs that have not ended
        :raises StoreUnavailable: what is kept is not known
        """
        current = {key_of(config): config for config in configured}
        orphans = with_vms - current.keys()
        if self._kept is None or not orphans <= self._kept.keys():
            self._kept = self._store.kept()
        if news := {key: config for key, config in current.items() if self._kept.get(key) != config}:
            self._store.keep(news.values())
            self._kept |= news
        if over := self._kept.keys() - current.keys() - with_vms:
            self._store.forget(over)
            self._kept = {key: config for key, config in self._kept.items() if key not in over}
        known = sorted(orphans & self._kept.keys())
        return Wards(
            configs=current | {key: self._kept[key] for key in known},
            closed={key: broken.get(key, LEFT_THE_CS) for key in known},
            lost=frozenset(orphans - self._kept.keys()),
        )
