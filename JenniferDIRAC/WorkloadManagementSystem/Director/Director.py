"""The director: observe, plan, record the intents, act, record the outcomes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig, read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Executor import Executor
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import Observer, key_of
from JenniferDIRAC.WorkloadManagementSystem.Director.PilotFollower import PilotFollower
from JenniferDIRAC.WorkloadManagementSystem.Director.Reporting import cycle_reports
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

# A gap longer than this many polling times and one long cycle is a pause of the director.
_PAUSE_IN_CYCLES = 3
_LONGEST_CYCLE = timedelta(minutes=5)
_SITE_PART, _CE_PART = 4, 6


class RefusedToStart(Exception):
    """The set-up cannot work; the text says what is wrong and what to do."""


class Director:
    """One director of one installation.

    :param log: a DIRAC logger
    :param now: gives timezone-aware UTC
    :param read_config, read_sites, make_cloud, user_data: where they come from; by default the CS
    :param make_worker: what runs an endpoint's tasks; by default a thread
    """

    def __init__(
        self,
        store: VirtualMachineStore,
        dirac: DiracServices,
        log,
        now: Callable[[], datetime],
        *,
        read_config: Callable[[], DirectorConfig] = read_director_config,
        read_sites: Callable[[], CloudSites] = read_cloud_sites,
        make_cloud: Callable[[EndpointConfig], CloudEndpoint] = make_endpoint,
        user_data: UserDataMaker | None = None,
        make_worker: Callable[[str, Callable[[], CloudEndpoint]], EndpointWorker] = EndpointWorker,
    ):
        self._store = store
        self._dirac = dirac
        self._log = log
        self._now = now
        self._read_config = read_config
        self._read_sites = read_sites
        self._make_cloud = make_cloud
        self._make_worker = make_worker
        self._workers: dict[EndpointKey, EndpointWorker] = {}
        self._configured: dict[EndpointKey, EndpointConfig] = {}
        self._told: frozenset[str] = frozenset()
        self._watching_since = self._last_cycle = now()
        self._observer = Observer(store, dirac, self._workers, log.warn, log.error)
        self._executor = Executor(store, self._workers, user_data or UserDataMaker(dirac), log.warn, now)
        self._pilots = PilotFollower(store, dirac, log.warn, now)

    def check_setup(self) -> None:
        """:raises RefusedToStart: with this configuration every VM would be wrong"""
        try:
            config = self._read_config()
            refusal = self._dirac.refusal_to_start(config.vos)
        except (ConfigError, DiracUnavailable) as error:
            refusal = str(error)
        if refusal:
            raise RefusedToStart(refusal)
        self._log.notice("This installation is", self._store.installation())

    def cycle(self) -> Plan:
        """One cycle, and the plan that it carried out; everything but what is raised here is survived.

        :raises StoreUnavailable: nothing can be decided or recorded
        :raises ConfigError: the director's own options are wrong
        """
        config = self._read_config()
        installation = self._store.installation()
        sites = self._read_sites()
        self._tell_problems(sites)
        self._executor.record_outcomes()
        self._keep_workers(sites.endpoints)

        refused_vos = self._refused_vos(config)
        now = self._now()
        self._watch(now, config)
        sight = self._observer.observe(
            installation,
            sites.endpoints,
            frozenset(config.vos) - refused_vos.keys(),
            refused_vos,
            config.policy,
            now,
            self._watching_since,
        )
        plan = plan_cycle(sight.snapshot, config.policy, now)
        carried = self._executor.carry_out(plan, sight, sites.endpoints, installation, config.policy)
        self._pilots.follow()
        reports = cycle_reports(sight, plan, config.vos, carried, _broken_endpoints(sites), self._now())
        self._store.save_reports(reports)
        for report in reports:
            self._log.notice(report.line)
        return plan

    def _watch(self, now: datetime, config: DirectorConfig) -> None:
        """After a pause nobody was looking, so time-outs begin anew."""
        if abs(now - self._last_cycle) > _PAUSE_IN_CYCLES * config.polling_time + _LONGEST_CYCLE:
            self._watching_since = now
        self._last_cycle = now

    def _refused_vos(self, config: DirectorConfig) -> dict[str, str]:
        refused = {}
        for vo in config.vos:
            try:
                self._dirac.pilot_credential(vo)
            except DiracUnavailable as error:
                refused[vo] = str(error)
        return refused

    def _keep_workers(self, configured: tuple[EndpointConfig, ...]) -> None:
        """One worker per endpoint, made anew when its configuration changed."""
        current = {key_of(config): config for config in configured}
        for key in list(self._workers):
            if self._configured[key] != current.get(key):
                del self._workers[key], self._configured[key]
        for key, config in current.items():
            if key not in self._workers:
                self._workers[key] = self._make_worker(str(key), partial(self._make_cloud, config))
                self._configured[key] = config

    def _tell_problems(self, sites: CloudSites) -> None:
        """Each problem of the configuration is logged when it appears, and again only after it had gone."""
        problems = frozenset(str(problem) for problem in sites.problems)
        for problem in sorted(problems - self._told):
            self._log.error("An endpoint is disabled by its configuration", problem)
        self._told = problems


def _broken_endpoints(sites: CloudSites) -> dict[EndpointKey, str]:
    """Every problem by the endpoint it disables: paths are ``/Resources/Sites/<grid>/<site>/CEs/<ce>/…``."""
    broken: dict[EndpointKey, list[str]] = {}
    for problem in sites.problems:
        parts = problem.path.split("/")
        if len(parts) > _CE_PART:
            broken.setdefault(EndpointKey(parts[_SITE_PART], parts[_CE_PART]), []).append(str(problem))
    return {key: "; ".join(problems) for key, problems in broken.items()}
