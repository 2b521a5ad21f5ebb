"""The director: observe, plan, record the intents, act, record the outcomes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig, read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Executor import Executor
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import Observer, key_of
from JenniferDIRAC.WorkloadManagementSystem.Director.Reporting import cycle_reports
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

# A gap longer than this many polling times and one long cycle is a pause of the director.
_PAUSE_IN_CYCLES = 3
_LONGEST_CYCLE = timedelta(minutes=5)


class RefusedToStart(Exception):
    """The set-up cannot work; the text says what is wrong and what to do."""


class Director:
    """One director of one installation. ``log`` is a DIRAC logger, ``now`` gives timezone-aware UTC."""

    def __init__(self, store: VirtualMachineStore, dirac: DiracServices, log, now: Callable[[], datetime]):
        self._store = store
        self._dirac = dirac
        self._log = log
        self._now = now
        self._workers: dict[EndpointKey, EndpointWorker] = {}
        self._configured: dict[EndpointKey, EndpointConfig] = {}
        self._told: frozenset[str] = frozenset()
        self._watching_since = self._last_cycle = now()
        self._observer = Observer(store, dirac, self._workers, log.warn)
        self._executor = Executor(store, dirac, self._workers, UserDataMaker(dirac), log.warn, now)

    def check_setup(self) -> None:
        """:raises RefusedToStart: with this configuration every VM would be wrong"""
        try:
            config = read_director_config()
            refusal = self._dirac.refusal_to_start(config.vos)
        except (ConfigError, DiracUnavailable) as error:
            refusal = str(error)
        if refusal:
            raise RefusedToStart(refusal)
        self._log.notice("This installation is", self._store.installation())

    def cycle(self) -> None:
        """One cycle; everything that is not about the records' database is survived.

        :raises StoreUnavailable: nothing can be decided or recorded
        """
        try:
            config = read_director_config()
        except ConfigError as error:
            self._log.error("The director's own options are wrong, so nothing is done in this cycle", str(error))
            return
        installation = self._store.installation()
        sites = read_cloud_sites()
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
        refusals = self._executor.carry_out(plan, sites.endpoints, sight.offerings, installation, config.policy)
        self._executor.follow_pilots()
        broken = _broken_endpoints(sites)
        reports = cycle_reports(sight.snapshot, plan, config.vos, refusals, broken, self._now())
        self._store.save_reports(reports)
        for report in reports:
            self._log.notice(report.line)

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
                self._workers[key] = EndpointWorker(str(key), lambda config=config: make_endpoint(config))
                self._configured[key] = config

    def _tell_problems(self, sites: CloudSites) -> None:
        """Each problem of the configuration is logged when it appears, and again only after it had gone."""
        problems = frozenset(str(problem) for problem in sites.problems)
        for problem in sorted(problems - self._told):
            self._log.error("An endpoint is disabled by its configuration", problem)
        self._told = problems


def _broken_endpoints(sites: CloudSites) -> dict[EndpointKey, str]:
    """Every problem by the endpoint it disables: paths are ``/Resources/Sites/<grid>/<site>/CEs/<ce>/…``."""
    broken: dict[EndpointKey, str] = {}
    for problem in sites.problems:
        _, _, _, _, site, _, ce, *_ = problem.path.split("/")
        key = EndpointKey(site, ce)
        broken[key] = f"{broken[key]}; {problem}" if key in broken else str(problem)
    return broken
