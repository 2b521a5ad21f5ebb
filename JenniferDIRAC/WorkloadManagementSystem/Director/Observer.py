"""From records, listings and DIRAC's word to one Snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerLimits import bounds_of
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, Server
from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import (
    Demand,
    DiracServices,
    DiracUnavailable,
    PilotFacts,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.Drift import drift
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.ExpiryWatch import ExpiryWatch
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Awaited, Observation, Offering, observe
from JenniferDIRAC.WorkloadManagementSystem.Director.QueueMemory import QueueMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Tenancy import (
    is_ours,
    pilot_reference,
    strays,
    unknown_server,
    with_neighbours,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    CloudUse,
    Endpoint,
    EndpointKey,
    EndReport,
    Lever,
    PilotState,
    ServerState,
    ServerView,
    Snapshot,
    VirtualMachine,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import LISTED_STATES, is_suspect

# So long after its back-off a VM type whose last VM ended badly gets one probe at a time.
_HEALTH_WINDOW = timedelta(days=1)


@dataclass(frozen=True)
class Sight:
    """A cycle's snapshot, and what acting and reporting need besides.

    ``offerings`` are what each VM type means at its cloud, ``consoles`` the consoles read, by VM id.
    """

    snapshot: Snapshot
    offerings: Mapping[VMTypeKey, Offering]
    consoles: Mapping[str, str]
    demand_problem: str = ""


class Elsewhere(Exception):
    """The endpoint is another director's, so nobody looked."""

    def __init__(self, holder: str):
        super().__init__(f"another director has it: {holder}")


def key_of(config: EndpointConfig) -> EndpointKey:
    return EndpointKey(config.site, config.ce)


class Observer:
    """Makes one Snapshot per cycle and notes in the store what was newly seen of each VM."""

    def __init__(
        self,
        store: VirtualMachineStore,
        records: LiveRecords,
        dirac: DiracServices,
        workers: Mapping[EndpointKey, EndpointWorker],
        warn: Callable[[str], None],
        alarm: Callable[[str], None],
        list_deadline: float = 30.0,
    ):
        self._store = store
        self._records = records
        self._dirac = dirac
        self._workers = workers
        self._warn = warn
        self._expiries = ExpiryWatch(warn, alarm)
        self._looks = Looks(workers, list_deadline)
        self._memory: dict[EndpointKey, ListingMemory] = {}
        self._queues = QueueMemory()

    def observe(
        self,
        installation: str,
        configured: Iterable[EndpointConfig],
        vos: frozenset[str],
        refused_vos: dict[str, str],
        policy: Policy,
        now: datetime,
        watching_since: datetime,
        *,
        others: Mapping[EndpointKey, str] | None = None,
        closed: Mapping[EndpointKey, str] | None = None,
        levers: tuple[Lever, ...] = (),
        vo_bounds: Mapping[str, Bounds] | None = None,
        domains: Mapping[str, Bounds] | None = None,
    ) -> Sight:
        """What there is to decide on, of the records as they were read last.

        :param others: who has the endpoints that are another director's: they are not looked at
        :param vo_bounds: limits of VOs everywhere; ``domains`` those of quota domains
        :param closed: why nothing is started at an endpoint, besides what DIRAC says
        :raises StoreUnavailable: what was seen could not be recorded
        """
        configured, others, closed = tuple(configured), others or {}, closed or {}
        records = self._records.last
        by_endpoint = _by_endpoint(records)
        looked_at = [config for config in configured if key_of(config) not in others]
        seen = self._look(by_endpoint, looked_at, installation, now)
        for key, look in seen.items():
            if isinstance(look, Observation) and look.expiries is not None:
                self._expiries.heard(key, look.expiries, now)
        ours = {key: _ours(look, installation) for key, look in seen.items() if isinstance(look, Observation)}
        self._remember(seen, ours, by_endpoint, now)
        records += self._ended_but_listed(ours, {record.vm_id for record in records})
        unknown = self._unknown(seen, installation, {record.vm_id for record in records})
        offerings = {
            VMTypeKey(key.site, key.ce, queue): offering
            for key, look in seen.items()
            if isinstance(look, Observation)
            for queue, offering in look.offerings.items()
        }
        demand = self._dirac.task_queues(dict(_questions(configured, offerings)))
        references = [pilot_reference(key.ce, each.identity.vm) for key, found in unknown.items() for each in found]
        facts = self._pilot_facts([*(record.pilot_reference for record in records), *references])
        without_room = {view.vm for views in ours.values() for view in views if view.lacks_room}
        unusable = self._unusable(configured) | closed
        news: dict[str, Facts] = {}
        endpoints = (
            self._endpoint(config, seen.get(key) or Elsewhere(others[key]), ours.get(key), offerings, demand, unusable)
            for key, config in ((key_of(config), config) for config in configured)
        )
        snapshot = Snapshot(
            endpoints=tuple(
                self._in_tenancy(endpoint, seen.get(endpoint.key), unknown, facts, installation, now)
                for endpoint in endpoints
            ),
            task_queues=self._queues.see(demand, now),
            vms=tuple(
                # What is new of another director's VMs is for that one to note.
                self._vm(
                    record,
                    seen.get(record.endpoint),
                    facts,
                    now,
                    {} if record.endpoint in others else news,
                    drift(record, offerings.get(record.vm_type)),
                    record.vm_id in without_room,
                )
                for record in records
            ),
            recent_ends=self._records.recent_ends(now - policy.backoff - _HEALTH_WINDOW),
            vos=vos,
            refused_vos=refused_vos,
            watching_since=watching_since,
            levers=levers,
            vo_bounds=vo_bounds or {},
            domains=domains or {},
        )
        self._store.note_all(news)
        consoles = {
            vm: text for look in seen.values() if isinstance(look, Observation) for vm, text in look.consoles.items()
        }
        return Sight(snapshot, offerings, consoles, self._demand_problem(demand))

    def _look(
        self,
        by_endpoint: Mapping[EndpointKey, list[VMRecord]],
        configured: Iterable[EndpointConfig],
        installation: str,
        now: datetime,
    ) -> dict[EndpointKey, Observation | Exception]:
        """One look at each cloud."""
        looks = {}
        for config in configured:
            key = key_of(config)
            mine = [record for record in by_endpoint.get(key, ()) if record.said_code is None]
            awaited = Awaited(
                first_word=frozenset(record.vm_id for record in mine if record.first_word_at is None),
                end=frozenset(record.vm_id for record in mine),
                doubted=self._doubted(key, by_endpoint.get(key, ()), installation),
            )
            ask_expiries = self._expiries.is_due(key, now)
            looks[key] = partial(observe, vm_types=config.vm_types, awaited=awaited, ask_expiries=ask_expiries)
        seen = self._looks.take(looks)
        for key, result in seen.items():
            if isinstance(result, Observation) and result.throttled:
                self._warn(f"{key}: {result.throttled}")
                self._workers[key].heed(result.throttled)
            if isinstance(result, Exception):
                self._warn(f"{key}: its servers could not be listed, so none of its records changes: {result}")
        return seen

    def _doubted(self, key: EndpointKey, records: Iterable[VMRecord], installation: str) -> frozenset[str]:
        """Names of the servers that the last list of this endpoint lacked."""
        if (memory := self._memory.get(key)) is None:
            return frozenset()
        missed = (record for record in records if memory.missed(record.vm_id))
        return memory.hidden.union(
            Identity(installation, record.vm_id, record.vo, record.cores).name for record in missed
        )

    def _remember(
        self,
        seen: Mapping[EndpointKey, Observation | Exception],
        ours: Mapping[EndpointKey, tuple[ServerView, ...]],
        by_endpoint: Mapping[EndpointKey, list[VMRecord]],
        now: datetime,
    ) -> None:
        """Take the listings into memory; an endpoint that was not looked at is forgotten."""
        self._memory = {key: self._memory.get(key, ListingMemory()) for key in seen}
        for key, look in seen.items():
            mine = by_endpoint.get(key, [])
            believed = {record.vm_id for record in mine if record.server_id and record.state in LISTED_STATES}
            listed = {view.vm for view in ours.get(key, ())}
            suspect = is_suspect(believed, listed)
            if suspect and isinstance(look, Observation):
                missing = len(believed - listed)
                self._warn(f"{key}: its list lacks {missing} of {len(believed)} servers; nothing follows from that yet")
            self._memory[key].see(look, suspect, mine, now)

    def _ended_but_listed(
        self, ours: Mapping[EndpointKey, tuple[ServerView, ...]], live: set[str]
    ) -> tuple[VMRecord, ...]:
        """Records that have ended and whose server the cloud lists: one that was made too late to be believed in."""
        return self._store.ended({view.vm for views in ours.values() for view in views} - live)

    def _unknown(
        self, seen: Mapping[EndpointKey, Observation | Exception], installation: str, known: set[str]
    ) -> dict[EndpointKey, tuple[Server, ...]]:
        """Our servers in each complete listing of which there is no record at all.

        One that only this listing lacks counts still, as one with a record does, until it is asked for by name: else a
        list that was cut short would make room that is not there.
        """
        listed = {
            key: (*look.servers, *self._memory[key].lacking)
            for key, look in seen.items()
            if isinstance(look, Observation)
        }
        found = {key: strays(servers, installation, known) for key, servers in listed.items()}
        late = self._store.known({server.identity.vm for servers in found.values() for server in servers})
        found = {key: strays(servers, installation, late) for key, servers in found.items()}
        for key, servers in found.items():
            self._memory[key].strike(servers)
        return found

    def _demand_problem(self, demand: Demand) -> str:
        """Why demand is not known for every VM type, or ""."""
        problem = "; ".join(dict.fromkeys(demand.unanswered.values()))
        if problem:
            self._warn(f"Demand is unknown for {len(demand.unanswered)} VM types: {problem}")
        return problem and f"demand is unknown: {problem}"

    def _pilot_facts(self, references: Iterable[str]) -> dict[str, PilotFacts] | None:
        """What DIRAC knows of these pilots; None when it could not be asked."""
        try:
            return self._dirac.pilot_facts(references)
        except DiracUnavailable as error:
            self._warn(f"The pilots' states are unknown in this cycle: {error}")
            return None

    def _unusable(self, configured: Iterable[EndpointConfig]) -> dict[EndpointKey, str]:
        keys = [key_of(config) for config in configured]
        try:
            return self._dirac.unusable_endpoints(keys)
        except DiracUnavailable as error:
            return dict.fromkeys(keys, str(error))

    def _vm(
        self,
        record: VMRecord,
        seen: Observation | Exception | None,
        facts: Mapping[str, PilotFacts] | None,
        now: datetime,
        all_news: dict[str, Facts],
        drifted: str,
        lacks_room: bool,
    ) -> VirtualMachine:
        """The record with what this cycle saw of it; what is new to the store goes to ``all_news`` too."""
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
        finished_at = record.pilot_finished_at
        if finished_at is None and (said is not None or (pilot and pilot.state is PilotState.FINISHED)):
            finished_at = news["pilot_finished_at"] = now
        if lacks_room and not record.no_room:
            news["no_room"] = True
        if news:
            all_news[record.vm_id] = news
        memory = self._memory.get(record.endpoint)
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
            missed=memory.missed(record.vm_id) if memory else 0,
            spoke=spoke,
            pilot=pilot.state if pilot else PilotState.UNKNOWN,
            pilot_finished_at=finished_at,
            jobs=jobs,
            said=said,
            outcome=record.outcome,
            outcome_reason=record.outcome_reason,
            outcome_code=record.code,
            task_queue=record.task_queue,
            heartbeat_at=record.heartbeat_at,
            no_room=record.no_room or lacks_room,
            drifted=drifted,
            pilot_entered_at=record.pilot_entered_at,
            jobs_known=record.jobs_known,
            running_at=record.running_at,
        )

    def _endpoint(
        self,
        config: EndpointConfig,
        seen: Observation | Exception,
        ours: tuple[ServerView, ...] | None,
        offerings: Mapping[VMTypeKey, Offering],
        demand: Demand,
        unusable: Mapping[EndpointKey, str],
    ) -> Endpoint:
        key = key_of(config)
        memory = self._memory.get(key, ListingMemory())
        listed = seen if isinstance(seen, Observation) else None
        return Endpoint(
            key=key,
            vm_types=tuple(
                _vm_type(vm_type, VMTypeKey(config.site, config.ce, vm_type.queue), offerings, demand)
                for vm_type in config.vm_types
            ),
            bounds=bounds_of(config),
            vo_bounds={vo: bounds_of(limits) for vo, limits in config.vo_limits.items()},
            shares=config.shares,
            priority=config.priority,
            domain=config.quota_domain,
            max_starting_cores=config.max_starting_cores,
            probes=config.vacuum_vms,
            unusable=unusable.get(key, "") if listed else _unseen(seen),
            servers=ours,
            suspect_since=memory.suspect_since,
            watching_since=memory.since,
            cloud=CloudUse(**vars(listed.limits)) if listed else None,
        )

    def _in_tenancy(
        self,
        endpoint: Endpoint,
        look: Observation | Exception | None,
        unknown: Mapping[EndpointKey, Iterable[Server]],
        facts: Mapping[str, PilotFacts] | None,
        installation: str,
        now: datetime,
    ) -> Endpoint:
        """The endpoint with what its list shows beside the servers of our records."""
        if not isinstance(look, Observation):
            return endpoint
        key, memory = endpoint.key, self._memory[endpoint.key]
        return replace(
            with_neighbours(endpoint, look.servers, memory, installation, now),
            unknown=tuple(unknown_server(server, key.ce, memory, facts) for server in unknown[key]),
        )


def _by_endpoint(records: Iterable[VMRecord]) -> dict[EndpointKey, list[VMRecord]]:
    grouped: dict[EndpointKey, list[VMRecord]] = {}
    for record in records:
        grouped.setdefault(record.endpoint, []).append(record)
    return grouped


def _unseen(problem: Exception) -> str:
    return str(problem) if isinstance(problem, Elsewhere) else f"its servers could not be listed: {problem}"


def _questions(
    configured: Iterable[EndpointConfig], offerings: Mapping[VMTypeKey, Offering]
) -> Iterator[tuple[VMTypeKey, dict]]:
    """What to ask the Matcher for each VM type; the flavor's size stands in where the CS is silent."""
    for config in configured:
        for vm_type in config.vm_types:
            key = VMTypeKey(config.site, config.ce, vm_type.queue)
            flavor = offerings[key].flavor if key in offerings else None
            size = (flavor.cores, flavor.ram_mib) if flavor else ()
            yield key, vm_type.matcher_parameters(*size)


def _said(record: VMRecord) -> EndReport | None:
    return None if record.said_code is None else EndReport(record.said_code, record.said_reason)


def _vm_type(config: VMTypeConfig, key: VMTypeKey, offerings: Mapping[VMTypeKey, Offering], demand: Demand) -> VMType:
    offering = offerings.get(key, Offering())
    flavor = offering.flavor
    return VMType(
        key=key,
        cores=flavor.cores if flavor else config.number_of_processors or 1,
        slots=config.number_of_processors,
        ram_mib=flavor.ram_mib if flavor else config.max_ram,
        vos=config.vos,
        bounds=bounds_of(config),
        fills_cores=config.fills_cores,
        unusable=offering.problem or demand.unanswered.get(key, ""),
        matches_known=flavor is not None and key not in demand.unanswered,
    )


def _ours(look: Observation, installation: str) -> tuple[ServerView, ...]:
    return tuple(
        ServerView(server.id, server.identity.vm, ServerState(server.status.value), server.fault, server.lacks_room)
        for server in look.servers
        if is_ours(server, installation)
    )
