"""The workers of all endpoints that are looked after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey


class Workers(dict[EndpointKey, EndpointWorker]):
    """One worker per endpoint; whoever holds this sees those of the last ``keep``."""

    def __init__(
        self,
        make_worker: Callable[[str, Callable[[], CloudEndpoint]], EndpointWorker],
        make_cloud: Callable[[EndpointConfig], CloudEndpoint],
    ):
        super().__init__()
        self._make_worker = make_worker
        self._make_cloud = make_cloud
        self._configs: dict[EndpointKey, EndpointConfig] = {}

    def keep(self, configs: Mapping[EndpointKey, EndpointConfig]) -> None:
        """Have one for each of these endpoints and no other; a changed configuration gets a new one."""
        for key in list(self):
            if self._configs[key] != configs.get(key):
                del self[key], self._configs[key]
        for key, config in configs.items():
            if key not in self:
                self[key] = self._make_worker(str(key), partial(self._make_cloud, config))
                self._configs[key] = config
