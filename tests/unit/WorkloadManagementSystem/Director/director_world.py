"""One director over a FakeEndpoint, a real SQLite store and a DIRAC in memory; time moves when the test says so."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand, DiracUnavailable, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import Director
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, TaskQueue, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class MemoryDirac:
    """What the director asks of DIRAC, answered from attributes that a test sets."""

    def __init__(self):
        self.queues: list[TaskQueue] = []
        self.pilots: dict[str, PilotFacts] = {}
        self.stamps: dict[str, str] = {}
        self.ends: dict[str, tuple[str, str]] = {}
        self.unusable: dict = {}
        self.away: set[str] = set()
        self.unanswered_sites: set[str] = set()
        self.without_credential: set[str] = set()
        self.refusal = ""

    def task_queues(self, parameters):
        if "Matcher" in self.away:
            return Demand((), dict.fromkeys(parameters, "the Matcher: connection refused"))
        unanswered = {key: "the Matcher: lost connection" for key in parameters if key.site in self.unanswered_sites}
        queues = (replace(queue, matches=frozenset(queue.matches - unanswered.keys())) for queue in self.queues)
        return Demand(tuple(queue for queue in queues if queue.matches), unanswered)

    def pilot_credential(self, vo):
        if vo in self.without_credential:
            raise DiracUnavailable(f"the pilot credential of {vo}: none")
        return "/CN=pilot", f"{vo}_pilot"

    def refusal_to_start(self, vos):
        return self.refusal

    def unusable_endpoints(self, endpoints):
        self._answer("ResourceStatus")
        return self.unusable

    def pilot_facts(self, references):
        self._answer("PilotManager")
        return {one: self.pilots[one] for one in references if one in self.pilots}

    def register_pilot(self, reference, stamp, vo, vm_type, status):
        self._answer("PilotManager")
        self.pilots[reference] = PilotFacts(PilotState.RUNNING if status == "Running" else PilotState.WAITING, 0)
        self.stamps[reference] = stamp

    def end_pilot(self, reference, status, reason, vm_type):
        self._answer("PilotManager")
        self.pilots[reference] = replace(self.pilots[reference], state=PilotState.FINISHED)
        self.ends[reference] = (status, reason)

    def _answer(self, service):
        if service in self.away:
            raise DiracUnavailable(f"{service}: connection refused")


class PlainUserData:
    """User-data without a credential, of the version that a test says; ``error`` makes it fail."""

    error: Exception | None = None
    version = "plain@1"

    def versions(self, recipients):
        return dict.fromkeys(recipients, self.version)

    def make(self, config, vm_type, profile, intent, identity, director, max_bytes):
        if self.error:
            raise self.error
        return f"#cloud-config\n# {intent.vm_id}\n".encode()


class Log:
    """What the director says, by loudness."""

    def __init__(self):
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.lines: list[str] = []

    def warn(self, *words):
        self.warnings.append(" ".join(words))

    def error(self, *words):
        self.errors.append(" ".join(words))

    def notice(self, *words):
        self.lines.append(" ".join(words))


class World:
    """A director and everything it deals with; ``cycle`` is one of its cycles, and then time passes.

    ``jobs``: how many wait at first.
    """

    def __init__(self, *sites: str, jobs: int = 0, store: VirtualMachineStore | None = None, image: str = "name:el9"):
        self.now = START
        self.store = store or VirtualMachineStore(
            create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        )
        self.gateway_since: datetime | None = START  # by the world's clock, which the database has not
        self.store.sessions = SimpleNamespace(gateway_since=lambda: self.gateway_since)
        self.dirac = MemoryDirac()
        self.config = DirectorConfig.read(
            "CloudDirector", {"VO": "belle, t2k.org, hyperk.org", "PollingTime": 10, "Gateway": "https://g:1"}
        )
        self.profiles: dict[str, ProfileConfig] = {}
        self.log = Log()
        self.user_data = PlainUserData()
        self.problems: tuple[ConfigProblem, ...] = ()
        self.configs = tuple(endpoint_of(site, image) for site in sites or ("CLOUD.A.fr",))
        self.clouds = {key_of(config): FakeEndpoint(clock=lambda: self.now) for config in self.configs}
        self.wait_for_jobs(jobs)
        self.restart()

    @property
    def cloud(self) -> FakeEndpoint:
        return next(iter(self.clouds.values()))

    @property
    def policy(self) -> Policy:
        return self.config.policy

    def restart(self) -> None:
        """A new director process on the same database and clouds, when the leases of the one before have run out."""
        if hasattr(self, "director"):
            self.director.release()
        self.director = self.another_director()

    def another_director(self) -> Director:
        return Director(
            self.store,
            self.dirac,
            self.log,
            now=lambda: self.now,
            read_config=lambda: self.config,
            read_profile=lambda vo: self.profiles.get(vo, ProfileConfig()),
            read_sites=lambda: CloudSites(self.configs, self.problems),
            make_cloud=lambda config: self.clouds[key_of(config)],
            user_data=self.user_data,
        )

    def wait_for_jobs(self, jobs: int, vo: str = "belle", processors: int = 1, id: int = 1) -> None:
        keys = frozenset(VMTypeKey(config.site, config.ce, "q") for config in self.configs)
        self.dirac.queues = [queue for queue in self.dirac.queues if queue.id != id]
        if jobs:
            self.dirac.queues.append(TaskQueue(id, vo, jobs, processors, keys))

    def cycle(self, seconds: float = 10) -> Plan:
        plan = self.director.cycle()
        self.now += timedelta(seconds=seconds)
        return plan

    def the_vm(self):
        (record,) = self.store.select()
        return record

    def kill(self, record=None) -> None:
        """An operator wants this VM gone, or the only one."""
        self.store.request_kill((record or self.the_vm()).vm_id, "adm", "enough", self.now)

    def pilot_becomes(self, state: PilotState, jobs: int | None = None, record=None) -> None:
        """DIRAC hears from the pilot of this VM, or of the only one."""
        reference = (record or self.the_vm()).pilot_reference
        known = self.dirac.pilots[reference]
        self.dirac.pilots[reference] = replace(known, state=state, jobs=known.jobs if jobs is None else jobs)

    def report(self, vo: str = "belle"):
        return next(report for report in self.store.reports() if report.vo == vo)


def endpoint_of(site: str, image: str = "name:el9") -> EndpointConfig:
    """With one VM type, ``q``."""
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


def started(vms: int = 1) -> World:
    """A world in which one cycle started so many VMs, each for a job that still waits, a minute ago."""
    world = World(jobs=vms)
    world.cycle(60)
    return world


def booting(vms: int = 1) -> World:
    """A world in which so many VMs boot, and no job waits any more."""
    world = started(vms)
    world.cycle()
    world.wait_for_jobs(0)
    return world


def running(jobs: int = 1, vms: int = 1) -> World:
    """A world with VMs that run, whose pilots are at work and had so many jobs."""
    world = booting(vms)
    for record in world.store.select():
        world.pilot_becomes(PilotState.RUNNING, jobs, record)
    world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.RUNNING}
    return world


@contextmanager
def hidden_servers(cloud, lists):
    """The cloud knows its servers neither in so many lists nor by name."""
    cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=lists)
    cloud.find_server = lambda name: None
    yield
    del cloud.find_server
