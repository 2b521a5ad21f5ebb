"""cobald-tardis: its OpenStack site adapter, called for each drone as its drones call it, all at the same time.

Runs in an environment of its own.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import asyncopenstackclient.client
from tardis.adapters.sites.openstack import OpenStackAdapter
from tardis.configuration.configuration import Configuration
from tardis.utilities.attributedict import AttributeDict

from benchmarks.contestants.lane import NO_NETWORK_MICROVERSION, Contestant, count, serve


class Tardis(Contestant):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        task = self.task
        self._user_data = tempfile.NamedTemporaryFile()
        self._user_data.write(task.user_data)
        self._user_data.flush()
        machine = {
            "flavorRef": task.flavor_id,
            "imageRef": task.image_id,
            "networks": "none",
            "config_drive": True,
            "user_data": self._user_data.name,
        }
        site = {
            **task.auth,
            "MachineTypeConfiguration": {"worker": machine},
            "MachineMetaData": {"worker": {"Cores": 1, "Memory": 0.5, "Disk": 2}},
        }
        Configuration({"Sites": [{"name": "lab", "adapter": "OpenStack"}], "lab": site})
        _speak(NO_NETWORK_MICROVERSION)
        _count_aiohttp()
        self._adapter = OpenStackAdapter(machine_type="worker", site_name="lab")
        self._loop = asyncio.new_event_loop()
        self._drones: list[AttributeDict] = []

    def log_in(self) -> None:
        self._loop.run_until_complete(self._adapter.nova.init_api())

    def create(self) -> None:
        names = [AttributeDict(drone_uuid=f"lab-{uuid.uuid4().hex[:10]}") for _ in range(self.task.servers)]
        self._drones = self._for_each(names, self._adapter.deploy_resource)

    def look(self) -> int:
        return len(self._for_each(self._drones, self._adapter.resource_status))

    def delete(self) -> None:
        self._for_each(self._drones, self._adapter.terminate_resource)

    def _for_each(self, drones: list[AttributeDict], act: Callable[[AttributeDict], Coroutine[Any, Any, Any]]) -> list:
        async def drone(one: AttributeDict) -> Any:
            with self._adapter.handle_exceptions():
                return await act(one)

        async def all_drones() -> list:
            return await asyncio.gather(*map(drone, drones))

        return self._loop.run_until_complete(all_drones())


def _speak(microversion: str) -> None:
    """Its client has no word for a microversion."""
    api = asyncopenstackclient.client.API

    @functools.wraps(api)
    def with_microversion(*args, headers, **kwargs):
        return api(*args, headers={**headers, "OpenStack-API-Version": f"compute {microversion}"}, **kwargs)

    asyncopenstackclient.client.API = with_microversion


def _count_aiohttp() -> None:
    request = aiohttp.ClientSession._request

    async def counted(self, method, url, **kwargs):
        count(method, str(url))
        return await request(self, method, url, **kwargs)

    setattr(aiohttp.ClientSession, "_request", counted)  # noqa: B010


if __name__ == "__main__":
    serve(Tardis)
