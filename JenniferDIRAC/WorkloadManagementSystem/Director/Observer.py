"""From records, listings and DIRAC's word to one Snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Server
from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import CONSOLE_TAIL_BYTES, Facts, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker, results_within
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation, Offering, observe
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    CloudUse,
    Endpoint,
    EndpointKey,
    EndReport,
    Outcome,
    PilotState,
    Policy,
    RecentEnd,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)

# So long after its back-off a VM type whose last VM ended badly gets one probe at a time.
_HEALTH_WINDOW = timedelta(days=1)
_MAY_SPEAK = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING, VMState.RUNNING, VMState.DRAINING)


@dataclass(frozen=True)
class Sight:
    """A cycle's snapshot, and what each VM type means at its cloud: what a create will ask for."""

    snapshot: Snapshot
    offerings: Mapping[VMTypeKey, Offering]


def key_of(config: EndpointConfig) -> EndpointKey:
    return EndpointKey(config.site, config.ce)


class Observer:
    """Makes one Snapshot per cycle and notes in the store what was newly seen of each VM."""

    def __init__(
        self,
        store: VirtualMachineStore,
        dirac: DiracServices,
        workers: Mapping[EndpointKey, EndpointWorker],
        warn: Callable[[str], None],
        list_deadline: float = 60.0,
    ):
        self._store = store
        self._dirac = dirac
        self._workers = workers
        self._warn = warn
        self._list_deadline = list_deadline
        self._missed: dict[str, int] = {}

    def observe(
        self,
        installation: str,
        configured: Iterable[EndpointConfig],
        vos: frozenset[str],
        refused_vos: dict[str, str],
        policy: Policy,
        now: datetime,
        watching_since: datetime,
    ) -> Sight:
        """:raises StoreUnavailable: without the records nothing can be decided"""
        configured = tuple(configured)
        records = self._store.live()
        seen = self._look(records, configured)
        records += self._ended_but_listed(seen, installation, {record.vm_id for record in records})
        offerings = {
            VMTypeKey(config.site, config.ce, queue): offering
            for config in configured
            if isinstance(look := seen[key_of(config)], Observation)
            for queue, offering in look.offerings.items()
        }
        facts = self._pilot_facts(records)
        unusable = self._unusable(configured)
        snapshot = Snapshot(
            endpoints=tuple(
                _endpoint(config, seen[key_of(config)], offerings, unusable, installation) for config in configured
            ),
            task_queues=self._task_queues(configured, offerings),
            vms=tuple(self._vm(record, seen.get(record.endpoint), facts, now) for record in records),
            recent_ends=self._recent_ends(now - policy.backoff - _HEALTH_WINDOW),
            vos=vos,
            refused_vos=refused_vos,
            watching_since=watching_since,
        )
        return Sight(snapshot, offerings)

    def _task_queues(
        self, configured: Iterable[EndpointConfig], offerings: Mapping[VMTypeKey, Offering]
    ) -> tuple[TaskQueue, ...]:
        parameters = {}
        for config in configured:
            for vm_type in config.vm_types:
                key = VMTypeKey(config.site, config.ce, vm_type.queue)
                flavor = offerings[key].flavor if key in offerings else None
                size = (flavor.cores, flavor.ram_mib) if flavor else ()
                parameters[key] = vm_type.matcher_parameters(*size)
        try:
            return self._dirac.task_queues(parameters)
        except DiracUnavailable as error:
            self._warn(f"Demand is unknown, so nothing is started in this cycle: {error}")
            return ()

    def _look(self, records, configured) -> dict[EndpointKey, Observation | Exception]:
        """One look at each cloud, all at the same time."""
        waiting: dict[EndpointKey, list[str]] = {}
        for record in records:
            if record.said_code is None and record.state in _MAY_SPEAK:
                waiting.setdefault(record.endpoint, []).append(record.vm_id)
        futures = {}
        for config in configured:
            key = key_of(config)
            look = partial(observe, vm_types=config.vm_types, waiting_for=waiting.get(key, ()))
            futures[key] = self._workers[key].start("list servers", look)
        seen = results_within(futures, self._list_deadline)
        for key, result in seen.items():
            if isinstance(result, Exception):
                self._warn(f"{key}: its servers could not be listed, so none of its records changes: {result}")
        return seen

    def _ended_but_listed(
        self, seen: Mapping[EndpointKey, Observation | Exception], installation: str, live: set[str]
    ) -> tuple[VMRecord, ...]:
        """Records that have ended and whose server the cloud lists: one that was made too late to be believed in."""
        listed = {
            server.identity.vm
            for look in seen.values()
            if isinstance(look, Observation)
            for server in look.servers
            if server.identity is not None and server.identity.installation == installation
        }
        return self._store.ended(listed - live)

    def _pilot_facts(self, records) -> dict[str, PilotFacts] | None:
        """What DIRAC knows of the VMs' pilots; None when it could not be asked."""
        try:
            return self._dirac.pilot_facts(record.pilot_reference for record in records)
        except DiracUnavailable as error:
            self._warn(f"The pilots' states are unknown in this cycle: {error}")
            return None

    def _unusable(self, configured) -> dict[EndpointKey, str]:
        try:
            return self._dirac.unusable_endpoints(map(key_of, configured))
        except DiracUnavailable as error:
            return {key_of(config): str(error) for config in configured}

    def _recent_ends(self, since: datetime) -> tuple[RecentEnd, ...]:
        """Ends that tell of a VM type's health: not those of VMs which a full or absent cloud never made."""
        return tuple(
            RecentEnd(record.vm_type, record.outcome, record.ended_at)
            for record in self._store.recent_ends(since)
            if record.server_id or record.outcome is not Outcome.FAILED_TO_START
        )

    def _vm(
        self,
        record: VMRecord,
        seen: Observation | Exception | None,
        facts: Mapping[str, PilotFacts] | None,
        now: datetime,
    ) -> VirtualMachine:
        """The record with what this cycle saw of it; new sights are noted in the store."""
        pilot = facts.get(record.pilot_reference) if facts is not None else PilotFacts(PilotState.NOT_ASKED, 0)
        jobs = max(record.jobs, pilot.jobs if pilot else 0)
        spoke, said = record.first_word_at is not None, _said(record)
        news = Facts()
        if jobs > record.jobs:
            news |= {"jobs": jobs, "matched_at": now}
        console = seen.consoles.get(record.vm_id) if isinstance(seen, Observation) else None
        if console:
            report = parse_console(console, record.vm_id)
            if report.spoke and not spoke:
                spoke, news["first_word_at"] = True, now
            if report.said is not None and said is None:
                said = report.said
                news |= {"said_code": said.code, "said_reason": said.reason}
                news["console_tail"] = console[-CONSOLE_TAIL_BYTES:]
        finished_at = record.pilot_finished_at
        if finished_at is None and (said is not None or (pilot and pilot.state is PilotState.FINISHED)):
            finished_at = news["pilot_finished_at"] = now
        if news:
            self._store.note(record.vm_id, **news)
        return VirtualMachine(
            id=record.vm_id,
            vm_type=record.vm_type,
            vo=record.vo,
            cores=record.cores,
            ram_mib=record.ram_mib,
            state=record.state,
            created_at=record.created_at,
            since=record.since,
            server_id=record.server_id,
            missed=self._strikes(record.vm_id, seen),
            spoke=spoke,
            pilot=pilot.state if pilot else PilotState.UNKNOWN,
            pilot_finished_at=finished_at,
            jobs=jobs,
            said=said,
            outcome=record.outcome,
            outcome_reason=record.outcome_reason,
            outcome_code=record.code,
            task_queue=record.task_queue,
        )

    def _strikes(self, vm: str, seen: Observation | Exception | None) -> int:
        """Complete listings in a row that did not hold the VM; one that failed neither counts nor clears."""
        if isinstance(seen, Observation):
            listed = any(server.identity is not None and server.identity.vm == vm for server in seen.servers)
            self._missed[vm] = 0 if listed else self._missed.get(vm, 0) + 1
        return self._missed.get(vm, 0)

    def forget(self, vms: Iterable[str]) -> None:
        """Drop the strikes of VMs that have ended."""
        for vm in vms:
            self._missed.pop(vm, None)


def _said(record: VMRecord) -> EndReport | None:
    return None if record.said_code is None else EndReport(record.said_code, record.said_reason)


def _endpoint(
    config: EndpointConfig,
    seen: Observation | Exception,
    offerings: Mapping[VMTypeKey, Offering],
    unusable: Mapping[EndpointKey, str],
    installation: str,
) -> Endpoint:
    key = key_of(config)
    listed = seen if isinstance(seen, Observation) else None
    return Endpoint(
        key=key,
        vm_types=tuple(
            _vm_type(vm_type, VMTypeKey(config.site, config.ce, vm_type.queue), offerings)
            for vm_type in config.vm_types
        ),
        max_vms=config.max_vms,
        max_cores=config.max_cores,
        unusable=unusable.get(key, "") if listed else f"its servers could not be listed: {seen}",
        servers=_ours(listed, installation) if listed else None,
        cloud=CloudUse(**vars(listed.limits)) if listed else None,
        foreign_servers=sum(1 for server in listed.servers if not _is_ours(server, installation)) if listed else 0,
    )


def _vm_type(config: VMTypeConfig, key: VMTypeKey, offerings: Mapping[VMTypeKey, Offering]) -> VMType:
    offering = offerings.get(key, Offering())
    flavor = offering.flavor
    return VMType(
        key=key,
        cores=flavor.cores if flavor else config.number_of_processors or 1,
        ram_mib=flavor.ram_mib if flavor else config.max_ram,
        vos=config.vos,
        max_vms=config.max_vms,
        max_cores=config.max_cores,
        fills_cores=config.fills_cores,
        unusable=offering.problem,
    )


def _is_ours(server: Server, installation: str) -> bool:
    return server.identity is not None and server.identity.installation == installation


def _ours(listed: Observation, installation: str) -> tuple[ServerView, ...]:
    return tuple(
        ServerView(server.id, server.identity.vm, ServerState(server.status.value), server.fault)
        for server in listed.servers
        if _is_ours(server, installation)
    )
