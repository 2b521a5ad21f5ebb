"""The director: observe, plan, record the intents, act, record the outcomes."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig, read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of, key_of
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig, read_profile
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    StoreUnavailable,
    UnknownVM,
    VirtualMachineStore,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.AsCarried import as_carried, kept_plan
from JenniferDIRAC.WorkloadManagementSystem.Director.Briefing import Briefing
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Executor import Executor
from JenniferDIRAC.WorkloadManagementSystem.Director.LeaseKeeper import Holding, LeaseKeeper
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import Observer
from JenniferDIRAC.WorkloadManagementSystem.Director.Passes import carry_out
from JenniferDIRAC.WorkloadManagementSystem.Director.PilotFollower import PilotFollower
from JenniferDIRAC.WorkloadManagementSystem.Director.Reporting import cycle_reports
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Director.TellOnce import TellOnce
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker
from JenniferDIRAC.WorkloadManagementSystem.Director.Wards import WardKeeper, Wards
from JenniferDIRAC.WorkloadManagementSystem.Director.Workers import Workers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

# A gap longer than this many polling times and one long cycle is a pause of the director.
_PAUSE_IN_CYCLES = 3
_LONGEST_CYCLE = timedelta(minutes=5)


class RefusedToStart(Exception):
    """The set-up cannot work; the text says what is wrong and what to do."""


class Director:
    """One director of one installation.

    :param log: a DIRAC logger
    :param now: gives timezone-aware UTC
    :param read_config, read_sites, read_profile, make_cloud, user_data: where they come from; by default the CS
    :param make_worker: what runs an endpoint's tasks; by default a thread
    :param new_id: gives the ids of VMs and the stamps of their pilots; by default random UUIDs
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
        read_profile: Callable[[str], ProfileConfig] = read_profile,
        make_cloud: Callable[[EndpointConfig], CloudEndpoint] = make_endpoint,
        user_data: UserDataMaker | None = None,
        make_worker: Callable[[str, Callable[[], CloudEndpoint]], EndpointWorker] = EndpointWorker,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ):
        self._store = store
        self._dirac = dirac
        self._log = log
        self._now = now
        self._read_config = read_config
        self._read_sites = read_sites
        self._read_profile = read_profile
        self._problems = TellOnce(partial(log.error, "An endpoint is disabled by its configuration"))
        self._orphans = TellOnce(log.warn)
        self._others_told: Counter[str] = Counter()
        self._watching_since = self._last_cycle = now()
        self._records = LiveRecords(store)
        self._workers = Workers(make_worker, make_cloud)
        self._leases = LeaseKeeper(store.leases, log.warn)
        self._wards = WardKeeper(store.configs)
        user_data = user_data or UserDataMaker(dirac, store.sessions)
        self._observer = Observer(store, self._records, dirac, self._workers, user_data, log.warn, log.error)
        self._executor = Executor(
            store,
            self._records,
            self._workers,
            user_data,
            log.warn,
            now,
            self._leases.has,
            new_id,
        )
        self._pilots = PilotFollower(store, self._records, dirac, log.warn, now)

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
        try:
            return self._cycle(self._read_config())
        except UnknownVM as error:
            self._records.forget()
            raise StoreUnavailable(f"a record is lost, and all are read anew in the next cycle: {error}") from error

    def _cycle(self, config: DirectorConfig) -> Plan:
        installation = self._store.installation()
        sites = self._read_sites()
        self._problems.stand(map(str, sites.problems))
        self._executor.record_outcomes()
        now = self._now()
        self._watch(now, config)

        claim = self._leases.claim()
        holding = self._hold(sites, config)
        wards = self._wards.wards(sites, self._records.endpoints)
        self._orphans.stand(wards.orphans())
        self._workers.keep(wards.configs)
        refused_vos, profiles = self._vos(config)
        briefing = Briefing(
            installation=installation,
            now=now,
            watching_since=self._watching_since,
            director=config,
            policy=config.policy,
            configs=wards.configs,
            vos=frozenset(config.vos) - refused_vos.keys(),
            refused_vos=refused_vos,
            others=holding.others,
            closed=wards.closed,
            levers=self._store.levers.standing(now),
            vo_bounds={vo: bounds_of(profile) for vo, profile in profiles.items()},
            profiles=profiles,
            domains={name: bounds_of(limits) for name, limits in config.quota_domains.items()},
            gateway_since=self._gateway_since(config, wards),
        )
        clouds = self._observer.look(briefing)
        claim = self._claim_anew(claim)
        sight = self._observer.observe(clouds, briefing)
        plan = plan_cycle(sight.snapshot, config.policy, now)
        if abs(self._now() - now) > _longest_pause(config):
            self._log.warn(f"What was seen at {now:%H:%M:%S} UTC is too old to act upon: nothing is done in this cycle")
            return Plan()
        self._leases.renew()
        plan, carried = carry_out(self._executor, plan, sight, briefing, claim)
        self._pilots.follow(holding.others)
        self._report(sight, plan, carried, config, wards.out_of_use, holding)
        return plan

    def _gateway_since(self, config: DirectorConfig, wards: Wards) -> datetime | None:
        wanted = config.gateway or any(one.gateway for one in wards.configs.values())
        return self._store.sessions.gateway_since() if wanted else None

    def _claim_anew(self, claim: Claim) -> Claim:
        """A claim that holds now, after the clouds answered, with the VMs that another director started meanwhile: a
        director with slow clouds would be overtaken in each cycle else."""
        latest = self._leases.claim()
        if latest != claim:
            self._records.read()
        return latest

    def keep_leases(self) -> None:
        """Keep this director's endpoints its own between cycles, and while a cycle takes long."""
        self._leases.keep()

    def release(self) -> None:
        """An orderly end: another director may have the endpoints at once.

        :raises StoreUnavailable: it will get them a little later
        """
        self._leases.release()

    @property
    def holder(self) -> str:
        """The name in which this director has its endpoints."""
        return self._leases.holder

    def _hold(self, sites: CloudSites, config: DirectorConfig) -> Holding:
        """Take the endpoints that can be had, and read what became of the VMs."""
        keys = {key_of(one) for one in sites.endpoints}
        while True:  # once more when the records show VMs of an endpoint that is not in the CS
            keys |= self._records.endpoints
            holding = self._leases.take(keys, _longest_pause(config))
            if holding.gained:
                self._wards.read_again()
            self._records.read(afresh=bool(holding.gained))
            if self._records.endpoints <= keys:
                break
        told = Counter(holding.others.values())
        if told != self._others_told:
            for holder, endpoints in sorted(told.items()):
                self._log.notice(f"{endpoints} of {len(keys)} endpoints are looked after by another director: {holder}")
            if not told:
                self._log.notice(f"All {len(keys)} endpoints are looked after by this director, {self.holder}")
        self._others_told = told
        return holding

    def _report(
        self,
        sight: Sight,
        plan: Plan,
        carried: Carried,
        config: DirectorConfig,
        out_of_use: Mapping[EndpointKey, str],
        holding: Holding,
    ) -> None:
        """Tell what was done, and keep it for whoever asks; the other directors tell of theirs."""
        now = self._now()
        plan = as_carried(plan, carried, sight.snapshot.endpoints)
        reports = [
            report
            for report in cycle_reports(sight, plan, config.vos, carried, out_of_use, now)
            if EndpointKey(report.site, report.ce) not in holding.others
            and (report.site or holding.held or not holding.others)
        ]
        self._store.save_reports(reports)
        for report in reports:
            self._log.notice(report.line)
        if holding.held or not holding.others:
            self._store.plans.save(kept_plan(plan, sight, carried, now, self.holder, holding.others))

    def _watch(self, now: datetime, config: DirectorConfig) -> None:
        """After a pause nobody was looking, so time-outs begin anew."""
        if abs(now - self._last_cycle) > _longest_pause(config):
            self._watching_since = now
        self._last_cycle = now

    def _vos(self, config: DirectorConfig) -> tuple[dict[str, str], dict[str, ProfileConfig]]:
        """Why VOs cannot be served, and the profiles of the others."""
        refused, profiles = {}, {}
        for vo in config.vos:
            try:
                self._dirac.pilot_credential(vo)
                profiles[vo] = self._read_profile(vo)
            except (DiracUnavailable, ConfigError) as error:
                refused[vo] = str(error)
        return refused, profiles


def _longest_pause(config: DirectorConfig) -> timedelta:
    return _PAUSE_IN_CYCLES * config.polling_time + _LONGEST_CYCLE
