"""One director over a FakeEndpoint, a real SQLite store and a DIRAC in memory; time moves when the test says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import FakeEndpoint
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracUnavailable, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Executor import Executor
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import Observer, key_of
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, Policy, TaskQueue, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryDirac:
    """What the director asks of DIRAC, answered from attributes that a test sets."""

    def __init__(self):
        self.queues: list[TaskQueue] = []
        self.pilots: dict[str, PilotFacts] = {}
        self.stamps: dict[str, str] = {}
        self.ends: dict[str, tuple[str, str]] = {}
        self.unusable: dict = {}
        self.away: set[str] = set()

    def task_queues(self, parameters):
        self._answer("Matcher")
        return tuple(self.queues)

    def unusable_endpoints(self, endpoints):
        self._answer("ResourceStatus")
        return self.unusable

    def pilot_facts(self, references):
        self._answer("PilotManager")
        return {one: self.pilots[one] for one in references if one in self.pilots}

    def register_pilot(self, reference, stamp, vo, vm_type, grid_type):
        self._answer("PilotManager")
        self.pilots[reference] = PilotFacts(PilotState.WAITING, 0)
        self.stamps[reference] = stamp

    def end_pilot(self, reference, status, reason, vm_type):
        self._answer("PilotManager")
        self.pilots[reference] = replace(self.pilots[reference], state=PilotState.FINISHED)
        self.ends[reference] = (status, reason)

    def _answer(self, service):
        if service in self.away:
            raise DiracUnavailable(f"{service}: connection refused")


class PlainUserData:
    """User-data without a credential; ``error`` makes it fail."""

    error: Exception | None = None

    def make(self, config, vm_type, intent, identity, policy, max_bytes):
        if self.error:
            raise self.error
        return f"#cloud-config\n# {intent.vm_id}\n".encode()


class World:
    """``cycle()`` is what ``Director.cycle`` does, without the CS."""

    def __init__(self, *sites: str, store: VirtualMachineStore | None = None, image: str = "name:el9"):
        self.now = START
        self.store = store or VirtualMachineStore(
            create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        )
        self.dirac = MemoryDirac()
        self.policy = Policy()
        self.warnings: list[str] = []
        self.user_data = PlainUserData()
        self.configs = tuple(_config(site, image) for site in sites or ("CLOUD.A.fr",))
        self.clouds = {key_of(config): FakeEndpoint(clock=lambda: self.now) for config in self.configs}
        self.restart()

    @property
    def cloud(self) -> FakeEndpoint:
        return next(iter(self.clouds.values()))

    @property
    def vm_type(self) -> VMTypeKey:
        return VMTypeKey(self.configs[0].site, self.configs[0].ce, "q")

    def restart(self) -> None:
        """A new director process on the same database and clouds."""
        self.workers = {key: EndpointWorker(str(key), lambda cloud=cloud: cloud) for key, cloud in self.clouds.items()}
        self.observer = Observer(self.store, self.dirac, self.workers, self.warnings.append, list_deadline=5)
        self.executor = Executor(
            self.store,
            self.dirac,
            self.workers,
            self.user_data,
            self.warnings.append,
            now=lambda: self.now,
            act_patience=5,
        )
        self.watching_since = self.now

    def wait_for_jobs(self, jobs: int, vo: str = "belle", processors: int = 1, id: int = 1) -> None:
        keys = frozenset(VMTypeKey(config.site, config.ce, "q") for config in self.configs)
        self.dirac.queues = [queue for queue in self.dirac.queues if queue.id != id]
        if jobs:
            self.dirac.queues.append(TaskQueue(id, vo, jobs, processors, keys))

    def see(self):
        return self.observer.observe(
            self.store.installation(),
            self.configs,
            frozenset({"belle", "t2k.org", "hyperk.org"}),
            {},
            self.policy,
            self.now,
            self.watching_since,
        )

    def cycle(self, seconds: float = 10):
        """A cycle, and then time passes."""
        self.executor.record_outcomes()
        sight = self.see()
        plan = plan_cycle(sight.snapshot, self.policy, self.now)
        self.refusals = self.executor.carry_out(
            plan, self.configs, sight.offerings, self.store.installation(), self.policy
        )
        self.executor.follow_pilots()
        self.now += timedelta(seconds=seconds)
        return plan

    def the_vm(self):
        (record,) = self.store.select()
        return record


def _config(site: str, image: str) -> EndpointConfig:
    ce = f"{site.lower()}-ce"
    vm_type = VMTypeConfig(
        site=site,
        ce=ce,
        queue="q",
        vos=frozenset(),
        cpu_time=86400,
        wall_time=timedelta(days=1),
        image=image,
        flavor="cores>=1",
    )
    return EndpointConfig(site=site, ce=ce, ce_type="JenniferFake", vm_types=(vm_type,))
