"""A FakeEndpoint whose servers have somebody living in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Flavor, Image, Limits, Server, ServerRequest
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import FakeEndpoint, Fault, Faults
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import Constitution, Guest, VMSettings
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import IMAGE, Cloud
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import lognormal

if TYPE_CHECKING:
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

MINUTE = 60.0


class SimulatedCloud(FakeEndpoint):
    """One endpoint of a scenario. ``guests`` are the living, by server id."""

    def __init__(self, world: World, cloud: Cloud, seed: str, no_faults: Callable[[], bool] = lambda: False):
        self._world, self._cloud = world, cloud
        self._random = Random(seed)
        fault_random = Random(f"{seed}/faults").random
        super().__init__(
            clock=lambda: world.now,
            sleep=lambda seconds: None,
            boot_time=lambda: timedelta(seconds=self._draw(cloud.start.launch_minutes)),
            flavors=tuple(Flavor(one.queue, one.queue, one.cores, one.ram_gib * 1024) for one in cloud.vm_types),
            images=(Image(IMAGE, IMAGE),),
            limits=Limits(max_instances=cloud.quota_vms, max_cores=cloud.quota_cores),
            # Without faults 1 is drawn, which no rate reaches.
            faults=Faults(cloud.fault_rates(), lambda: 1.0 if no_faults() else fault_random()),
        )
        self.requests = deque(maxlen=0)  # a long simulation would keep millions
        self.guests: dict[str, Guest] = {}
        if cloud.foreign_cores:
            self.add_foreign("somebody-else", cloud.foreign_cores)

    def was_made(self, request: ServerRequest, server: Server, active_at: datetime, fate: Fault | None) -> None:
        start = self._cloud.start
        boots = Constitution(self._draw(start.first_word_minutes), self._draw(start.pilot_minutes), self._sickness())
        settings = VMSettings.read(request.user_data)
        active = self._world.seconds_of(active_at)
        guest = self.guests[server.id] = Guest(self._world, settings, server.id, boots, active, fate)
        self._world.guest_made(guest, request.identity.installation)

    def was_deleted(self, server_id: str) -> None:
        if guest := self.guests.get(server_id):
            self._world.guest_deleted(guest)
            guest.gone()

    def _draw(self, minutes: float) -> float:
        return lognormal(self._random, minutes * MINUTE, self._cloud.start.spread)

    def _sickness(self) -> str:
        drawn = self._random.random()
        for name, rate in self._cloud.sickness.model_dump().items():
            if drawn < rate:
                return name
            drawn -= rate
        return ""
