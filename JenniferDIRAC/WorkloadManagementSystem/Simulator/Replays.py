"""Other provisioners in the same world, written from their documented rules: what each would have started.

Each rule stands in ``docs/simulator.md`` with its source. What a provisioner's VMs do when their work is done is part
of it: how long their pilot waits for jobs, and how long they stay up after it.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError, Identity, Server, ServerRequest, ServerStatus
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import PILOT_3, POWEROFF, Guest, VMSettings
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Cloud, Pilot, SimulatedVMType
from JenniferDIRAC.WorkloadManagementSystem.Simulator.SimulatedCloud import SimulatedCloud
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, eq=False)
class Type:
    """A VM type at its cloud."""

    key: EndpointKey
    cloud: SimulatedCloud
    scenario: Cloud
    vm_type: SimulatedVMType

    def serves(self, vo: str) -> bool:
        return not self.vm_type.vos or vo in self.vm_type.vos


class Replay:
    """What all replays share: no state but the clouds' own lists, and what each keeps besides."""

    name = ""
    polling = 60.0
    pilot = PILOT_3
    linger = POWEROFF

    def __init__(self, world: World):
        self.world = world
        self.random = Random(f"{world.scenario.seed}/{self.name}")
        self.installation = self.new_id()
        self.vos = world.scenario.vos
        self.types = tuple(
            Type(EndpointKey(one.site, one.ce), world.clouds[EndpointKey(one.site, one.ce)], one, vm_type)
            for one in world.scenario.clouds
            for vm_type in one.vm_types
        )

    def wakes_at(self) -> float | None:
        return self.world.seconds  # every cycle is run

    def outcomes(self) -> Counter[str]:
        return Counter()  # none of them keeps a record

    def new_id(self) -> str:
        return uuid.UUID(int=self.random.getrandbits(128)).hex

    def jobs(self, one: Type, vo: str) -> int:
        """Waiting jobs of the VO that the Matcher names for this VM type; not divided by cores."""
        queues = self.world.queues.matching(one.vm_type.cores, one.vm_type.hours, vo)
        return sum(len(queue.jobs) for queue in queues)

    def create(self, one: Type, vo: str) -> Guest | None:
        """The VM, or None where the cloud makes none."""
        vm, cloud = self.new_id(), one.cloud
        (flavor,) = (flavor for flavor in cloud.flavors if flavor.name == one.vm_type.queue)
        settings = VMSettings(
            vm=vm,
            reference=f"cloud://{one.key.ce}/{vm}",
            vo=vo,
            site=one.key.site,
            ce=one.key.ce,
            queue=one.vm_type.queue,
            cores=one.vm_type.cores,
            hours=one.vm_type.hours,
            pool=one.vm_type.pool,
            pilot=self.pilot,
            linger=self.linger,
        )
        identity = Identity(self.installation, vm, vo, one.vm_type.cores)
        try:
            server = cloud.create_server(ServerRequest(identity, cloud.images[0], flavor, settings.user_data()))
        except CloudError:
            return None
        return cloud.guests[server.id]

    def delete(self, key: EndpointKey, server_id: str) -> None:
        try:
            self.world.clouds[key].delete_server(server_id)
        except CloudError:
            pass  # the next time

    def listed(self) -> Iterator[tuple[EndpointKey, Server]]:
        """Own servers; a cloud that does not answer has none."""
        for key, cloud in self.world.clouds.items():
            try:
                servers = cloud.list_servers()
            except CloudError:
                continue
            yield from ((key, server) for server in servers if server.identity is not None)

    def limit(self, one: Type) -> int:
        """The most VMs at an endpoint: an option of all three, which an operator sets to what the quota allows."""
        cloud = one.scenario
        smallest = min(each.cores for each in cloud.vm_types)
        quotas = [cloud.max_vms, cloud.quota_vms]
        quotas += [cores // smallest for cores in (cloud.max_cores, cloud.quota_cores) if cores is not None]
        return min((each for each in quotas if each is not None), default=1000)


class SiteDirector(Replay):
    """DIRAC's SiteDirector, one for each VO, over CloudComputingElement; DIRAC 9.1."""

    name = "site-director"
    polling = 120.0
    linger = 5 * MINUTE  # "sleep 5m" before the power-off
    MAX_WAITING_JOBS = 10  # a usual value; the default of 1 starts one VM per queue and cycle
    MAX_PILOTS_TO_SUBMIT = 100
    MAX_LIFETIME = 14 * DAY
    CLEAN_UP_EVERY = 10  # cycles

    def __init__(self, world: World):
        super().__init__(world)
        self._cycles = 0

    def cycle(self) -> bool:
        if self._cycles % self.CLEAN_UP_EVERY == 0:
            self._clean_up()
        self._cycles += 1
        for vo in self.vos:
            for one in self.types:
                if one.serves(vo) and (jobs := self.jobs(one, vo)):
                    self._submit(one, vo, jobs)
        return True

    def _submit(self, one: Type, vo: str, jobs: int) -> None:
        try:
            nodes = sum(server.identity is not None for server in one.cloud.list_servers())  # in any state
        except CloudError:
            return
        # Its VMs never count as waiting, so those that boot are no supply.
        slots = min(self.MAX_WAITING_JOBS - 0, self.limit(one) - nodes)
        for _ in range(min(self.MAX_PILOTS_TO_SUBMIT, slots, jobs)):
            if self.create(one, vo) is None:
                return

    def _clean_up(self) -> None:
        for key, server in list(self.listed()):
            age = self.world.seconds - self.world.seconds_of(server.created_at)
            if server.status in (ServerStatus.STOPPED, ServerStatus.ERROR) or age > self.MAX_LIFETIME:
                self.delete(key, server.id)


class VMDIRAC(Replay):
    """VMDIRAC's CloudDirector, one for each VO, with its service that ends idle and stalled VMs; v2r4."""

    name = "vmdirac"
    polling = 60.0
    HALT_PERIOD = 600.0  # seconds without load
    HEARTBEAT = 300.0
    STALLED = 40 * MINUTE
    MAX_VMS_TO_SUBMIT = 1
    # Its VMs are ended from outside: the job agent goes on asking, every two minutes.
    pilot = Pilot(polling=20, stop_after=10, max_cycles=100)
    linger = 10 * DAY

    def __init__(self, world: World):
        super().__init__(world)
        self._vms: dict[str, tuple[EndpointKey, Guest]] = {}

    def cycle(self) -> bool:
        self._service()
        types = list(self.types)
        for vo in self.vos:
            self.random.shuffle(types)
            for one in types:
                if one.serves(vo) and (jobs := self.jobs(one, vo)):
                    here = [guest for key, guest in self._vms.values() if key == one.key]
                    waiting = sum(not guest.spoke for guest in here)
                    slots = self.limit(one) - len(here)
                    for _ in range(min(self.MAX_VMS_TO_SUBMIT, max(0, min(slots, jobs - waiting)))):
                        if (guest := self.create(one, vo)) is not None:
                            self._vms[guest.server_id] = one.key, guest
        return True

    def _service(self) -> None:
        """Deletes VMs that were without load for a window, at their next heartbeat, and those that do not report."""
        now = self.world.seconds
        for server_id, (key, guest) in list(self._vms.items()):
            if guest.gone_at is not None:
                del self._vms[server_id]
                continue
            idle_since = None if guest.running else guest.idle_since or guest.ready_at
            idle = idle_since is not None and now - idle_since > self.HALT_PERIOD + self.HEARTBEAT / 2
            silent = (guest.stopped_at is not None or not guest.spoke) and now - (
                guest.stopped_at or guest.made_at
            ) > self.STALLED
            if idle or silent:
                self.delete(key, server_id)


class VCycle(Replay):
    """VCycle 3: vacuum, back-off after VMs that came to nothing, shares; a machine type for each VM type and VO."""

    name = "vcycle"
    polling = 60.0
    BACKOFF = 600.0
    FIZZLE = 1200.0  # longer than a boot and the search for a job, as VCycle's own hint asks for
    MAX_WALLCLOCK = DAY
    FAILED_TO_START = HOUR
    pilot = Pilot(polling=20, stop_after=1, max_cycles=100)  # its job agents end soon without work

    def __init__(self, world: World):
        super().__init__(world)
        self._machine_types = [(one, vo) for one in self.types for vo in self.vos if one.serves(vo)]
        self._aborted: dict[tuple[Type, str], float] = {}
        self._vms: dict[str, tuple[Type, str, Guest]] = {}

    def cycle(self) -> bool:
        for key in self.world.clouds:
            try:
                self.world.clouds[key].list_servers()
            except CloudError:
                continue  # the space is skipped
            self._scan(key)
            self._make(key)
        return True

    def _scan(self, key: EndpointKey) -> None:
        now = self.world.seconds
        for server_id, (one, vo, guest) in list(self._vms.items()):
            if one.key != key:
                continue
            over = guest.stopped_at if guest.gone_at is None else guest.gone_at
            if over is not None:
                # A code of 300 to 699, or an end before the fizzle time without one.
                if guest.pilot_over and not guest.jobs or not guest.pilot_over and over - guest.made_at < self.FIZZLE:
                    self._aborted[one, vo] = now
                self._forget(key, server_id)
            elif not guest.spoke and now - guest.made_at > self.FAILED_TO_START:
                self._forget(key, server_id)
            elif now - guest.made_at > self.MAX_WALLCLOCK:
                self._forget(key, server_id)

    def _forget(self, key: EndpointKey, server_id: str) -> None:
        self.delete(key, server_id)
        del self._vms[server_id]

    def _make(self, key: EndpointKey) -> None:
        limit = self._processors(key)
        made = 0
        while made < math.ceil(limit / 10):
            used = sum(one.vm_type.cores for one, _, _ in self._vms.values() if one.key == key)
            candidates = [each for each in self._machine_types if each[0].key == key and self._may_start(*each)]
            candidates = [each for each in candidates if used + each[0].vm_type.cores <= limit]
            if not candidates:
                return
            self.random.shuffle(candidates)
            one, vo = min(candidates, key=lambda each: self._weighted_use(*each))
            made += 1  # attempts count
            guest = self.create(one, vo)
            if guest is None:
                return
            self._vms[guest.server_id] = one, vo, guest

    def _may_start(self, one: Type, vo: str) -> bool:
        if self._share(one, vo) <= 0:
            return False
        since = self.world.seconds - self._aborted.get((one, vo), -math.inf)
        if since < self.BACKOFF:
            return False
        young = any(
            each is one and of == vo and (guest.ready_at is None or self.world.seconds - guest.made_at < self.FIZZLE)
            for each, of, guest in self._vms.values()
        )
        return not (since < self.BACKOFF + self.FIZZLE and young)

    def _weighted_use(self, one: Type, vo: str) -> float:
        used = sum(each.vm_type.cores for each, of, _ in self._vms.values() if each is one and of == vo)
        return used / self._share(one, vo)

    def _share(self, one: Type, vo: str) -> float:
        shares = one.scenario.shares
        return shares.get(vo, 0.0) if shares else 1.0

    def _processors(self, key: EndpointKey) -> int:
        (cloud,) = (one for one in self.world.scenario.clouds if (one.site, one.ce) == (key.site, key.ce))
        limits = [each for each in (cloud.max_cores, cloud.quota_cores) if each is not None]
        limits += [each * max(one.cores for one in cloud.vm_types) for each in (cloud.max_vms,) if each is not None]
        return max(0, min(limits, default=1000) - cloud.foreign_cores)


REPLAYS = {replay.name: replay for replay in (SiteDirector, VMDIRAC, VCycle)}
