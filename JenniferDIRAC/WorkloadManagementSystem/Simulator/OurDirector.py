"""The real director in a simulated world: its planner, life cycle, observer and executor over the world's clouds."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from random import Random
from typing import Any

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import Director
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.LeaseKeeper import LEASE_TTL
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import STARTING
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import POWEROFF, VMSettings
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import MemoryDatabase
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryStore import MemoryStore
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Pilot
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import SimulatedDirac, World

# No sleep is longer: what no rule below foresees comes that much late at the most.
LONGEST_SLEEP = timedelta(minutes=15)
_A_MOMENT = timedelta(microseconds=1)
_FORGET_AFTER = timedelta(days=3)  # the director looks back a day


class Crash(BaseException):
    """The director's process is killed in this moment."""


class InlineWorker(EndpointWorker):
    """Does each task at once, in the caller's thread."""

    def start(self, what: str, task: Callable[[CloudEndpoint], Any]) -> Future:
        future: Future = Future()
        if refusal := self.refusal:
            future.set_exception(refusal)
        else:
            self._run(future, task)
            if isinstance(crash := future.exception(), Crash):
                raise crash
        return future


class SimulatedUserData:
    """What a simulated VM needs to know, in place of a rendered template."""

    def __init__(self, pilot: Pilot):
        self._pilot = pilot
        self.version = "simulated"

    def versions(self, recipients):
        return dict.fromkeys(recipients, self.version)

    def make(self, config, vm_type, profile, intent, identity, director, max_bytes):
        return VMSettings(
            vm=intent.vm_id,
            reference=intent.pilot_reference,
            vo=intent.vo,
            site=config.site,
            ce=config.ce,
            queue=vm_type.queue,
            cores=intent.cores,
            hours=vm_type.wall_time / timedelta(hours=1),
            pool=vm_type.fills_cores,
            pilot=self._pilot,
            linger=POWEROFF,
        ).user_data()


class Silence:
    """A log that keeps nothing but how often it was warned."""

    def __init__(self) -> None:
        self.warnings: Counter[str] = Counter()

    def warn(self, *words: str) -> None:
        self.warnings["warn"] += 1

    error = warn

    def notice(self, *words: str) -> None:
        pass


class OurDirector:
    """One installation's director. ``skips``: cycles that cannot differ from the last need not be run.

    :param vos: whom it serves; by default all
    """

    def __init__(self, world: World, name: str = "ours", vos: tuple[str, ...] = ()):
        self.name = name
        self._world = world
        self.config = world.scenario.director_config()
        if vos:
            self.config = self.config.model_copy(update={"vos": vos})
        self.polling = self.config.polling_time.total_seconds()
        self.skips = not any(cloud.faults for cloud in world.scenario.clouds)
        self.endpoints = tuple(cloud.config() for cloud in world.scenario.clouds)
        self.dirac = SimulatedDirac(world)
        # The same names in each run of a seed: the planner breaks ties by them.
        random = Random(f"{world.scenario.seed}/{name}")
        self._new_id = lambda: uuid.UUID(int=random.getrandbits(128)).hex
        self.database = MemoryDatabase(clock=lambda: world.now, forget_after=_FORGET_AFTER, installation=self._new_id())
        self.store = MemoryStore(self.database)
        self.restart()

    @property
    def policy(self) -> Policy:
        return self.config.policy

    def restart(self) -> None:
        """A new director process on the same database and clouds."""
        self.director = Director(
            self.store,
            self.dirac,
            Silence(),
            now=lambda: self._world.now,
            read_config=lambda: self.config,
            read_profile=lambda vo: ProfileConfig(),
            read_sites=lambda: CloudSites(self.endpoints, ()),
            make_cloud=lambda config: self._world.clouds[key_of(config)],
            user_data=SimulatedUserData(self._world.scenario.pilot),
            make_worker=lambda name, make: InlineWorker(name, make, clock=lambda: self._world.seconds),
            new_id=self._new_id,
        )

    def cycle(self) -> bool:
        """One cycle; whether the next one may do something though nothing changes in the world."""
        self._world.actor = self.name
        self.database.renew(self.director.holder, LEASE_TTL)
        try:
            plan = self.director.cycle()
        finally:
            self._world.actor = ""
        # What VMs at work are expected to take is less with each moment in which they take nothing.
        waits = any(answer.jobs_from_running for answer in plan.answers)
        return not self.skips or waits or plan.acts or self._misses_a_server()

    def wakes_at(self) -> float | None:
        """When, at the latest, a cycle may differ though nothing changes in the world; seconds, None: never."""
        records, now, policy = self.store.live(), self._world.now, self.policy
        moments = [deadline for record in records for deadline in _deadlines(record, policy)]
        if any(self._world.queues.waiting.values()):
            moments.append(now + policy.lend_after)
            for end in self.store.recent_ends(now - policy.backoff):
                if end.outcome is not Outcome.WORKED:
                    moments.append(end.ended_at + policy.backoff)
        elif not records:
            return None
        moments.append(now + LONGEST_SLEEP)
        # Some time-outs are over when their time has come, others when it has passed.
        moments += [moment + _A_MOMENT for moment in moments]
        return self._world.seconds_of(min(moment for moment in moments if moment > now))

    def _misses_a_server(self) -> bool:
        """Whether a record waits for its server to be listed, or not to be: that is counted in listings."""
        clouds = self._world.clouds
        return any(record.server_id not in clouds[record.endpoint].guests for record in self.store.live())

    def outcomes(self) -> Counter[str]:
        """How its VMs ended."""
        return Counter({outcome.value: number for outcome, number in self.database.outcomes.items()})


def _deadlines(record: VMRecord, policy: Policy) -> tuple[datetime, ...]:
    """When a time-out of this VM may end."""
    since, created = record.since, record.created_at
    silent_since = max(since, record.pilot_entered_at or since)
    if record.state in STARTING:
        timeouts = (policy.settle_timeout, policy.launch_timeout)
        silent = silent_since + policy.registration_timeout
        return (*(since + timeout for timeout in timeouts), silent, created + policy.slow_start)
    if record.state is VMState.DELETING:
        return (since + policy.delete_timeout,)
    found = [created + policy.max_lifetime, created + policy.max_lifetime - policy.drain_timeout]
    if record.pilot_finished_at:
        found.append(record.pilot_finished_at + policy.poweroff_timeout)
    if not record.jobs:
        found += [silent_since + policy.registration_timeout, silent_since + policy.idle_timeout]
    if record.state is VMState.DRAINING:
        found.append(since + policy.drain_timeout)
    return tuple(found)
