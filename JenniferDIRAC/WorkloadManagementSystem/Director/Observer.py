"""From records, listings and DIRAC's word to one Snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, Server
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.Briefing import Briefing
from JenniferDIRAC.WorkloadManagementSystem.Director.CloudsSeen import CloudsSeen
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import (
    Demand,
    DiracServices,
    DiracUnavailable,
    PilotFacts,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.Drift import drift
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointAsSeen import endpoint_as_seen, matcher_questions
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.ExpiryWatch import ExpiryWatch
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Awaited, observe
from JenniferDIRAC.WorkloadManagementSystem.Director.QueueMemory import QueueMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Director.Tenancy import (
    pilot_reference,
    strays,
    unknown_server,
    with_neighbours,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.Trials import Trials, recipients
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker
from JenniferDIRAC.WorkloadManagementSystem.Director.VMAsSeen import Sighting, news_of, vm_as_seen
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    PilotState,
    Snapshot,
    UnknownServer,
    VirtualMachine,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import LISTED_STATES, is_suspect

# So long after its back-off a VM type whose last VM ended badly gets one probe at a time.
_HEALTH_WINDOW = timedelta(days=1)
_LIST_DEADLINE = 30.0  # seconds


class Observer:
    """Makes one Snapshot per cycle and notes in the store what was newly seen of each VM."""

    def __init__(
        self,
        store: VirtualMachineStore,
        records: LiveRecords,
        dirac: DiracServices,
        workers: Mapping[EndpointKey, EndpointWorker],
        user_data: UserDataMaker,
        warn: Callable[[str], None],
        alarm: Callable[[str], None],
    ):
        self._store = store
        self._records = records
        self._dirac = dirac
        self._workers = workers
        self._warn = warn
        self._expiries = ExpiryWatch(warn, alarm)
        self._looks = Looks(workers, _LIST_DEADLINE)
        self._memory: dict[EndpointKey, ListingMemory] = {}
        self._queues = QueueMemory()
        self._user_data = user_data
        self._trials = Trials(store)

    def look(self, briefing: Briefing) -> CloudsSeen:
        """One look at each cloud that is not another director's."""
        by_endpoint = _by_endpoint(self._records.last)
        looks = {
            key: partial(
                observe,
                vm_types=config.vm_types,
                awaited=_awaited(by_endpoint.get(key, ()), briefing.installation, self._memory.get(key)),
                ask_expiries=self._expiries.is_due(key, briefing.now),
            )
            for key, config in briefing.configs.items()
            if key not in briefing.others
        }
        clouds = CloudsSeen(self._looks.take(looks), briefing.installation)
        for key, look in clouds.looks.items():
            if isinstance(look, Exception):
                self._warn(f"{key}: its servers could not be listed, so none of its records changes: {look}")
                continue
            if look.throttled:
                self._warn(f"{key}: {look.throttled}")
                self._workers[key].heed(look.throttled)
            if look.expiries is not None:
                self._expiries.heard(key, look.expiries, briefing.now)
        return clouds

    def observe(self, clouds: CloudsSeen, briefing: Briefing) -> Sight:
        """What there is to decide on, of these looks and of the records as they were read last.

        :raises StoreUnavailable: what was seen could not be recorded
        """
        records = self._records.last
        self._remember(clouds, _by_endpoint(records), briefing)
        # Of those that have ended too, when the cloud lists a server that was made too late to be believed in.
        records += self._store.ended(clouds.vms - {record.vm_id for record in records})
        found = self._strays(clouds, {record.vm_id for record in records})
        demand = self._dirac.task_queues(matcher_questions(briefing.configs.values(), clouds.offerings))
        references = [pilot_reference(key.ce, one.identity.vm) for key, servers in found.items() for one in servers]
        pilots = self._pilot_facts([*(record.pilot_reference for record in records), *references])
        unknown = {
            key: tuple(unknown_server(one, key.ce, self._memory[key], pilots) for one in servers)
            for key, servers in found.items()
        }
        vms, news = self._vms(records, clouds, pilots, briefing)
        queues = self._queues.see(demand, briefing.now)
        look_back = briefing.now - briefing.policy.backoff - _HEALTH_WINDOW
        versions = self._user_data.versions(recipients(queues, briefing))
        snapshot = Snapshot(
            endpoints=tuple(self._endpoints(clouds, demand, unknown, briefing)),
            task_queues=queues,
            vms=vms,
            recent_ends=self._records.recent_ends(look_back),
            vos=briefing.vos,
            refused_vos=briefing.refused_vos,
            watching_since=briefing.watching_since,
            levers=briefing.levers,
            vo_bounds=briefing.vo_bounds,
            domains=briefing.domains,
            gateway_since=briefing.gateway_since,
            untried=self._trials.untried(versions, vms, self._records.ends(look_back)),
        )
        self._store.note_all(news)
        told = {one.scope: (one, version) for one, version in versions.items()}
        return Sight(snapshot, clouds.offerings, clouds.consoles, self._demand_problem(demand), told)

    def _remember(
        self, clouds: CloudsSeen, by_endpoint: Mapping[EndpointKey, list[VMRecord]], briefing: Briefing
    ) -> None:
        """Take the listings into memory; an endpoint that was not looked at is forgotten."""
        self._memory = {key: self._memory.get(key, ListingMemory()) for key in clouds.looks}
        for key, look in clouds.looks.items():
            mine = by_endpoint.get(key, [])
            believed = {record.vm_id for record in mine if record.server_id and record.state in LISTED_STATES}
            listed = {server.vm for server in clouds.ours.get(key, ())}
            suspect = is_suspect(believed, listed)
            if suspect and key in clouds.listed:
                missing = len(believed - listed)
                self._warn(f"{key}: its list lacks {missing} of {len(believed)} servers; nothing follows from that yet")
            self._memory[key].see(look, suspect, mine, briefing.now)

    def _strays(self, clouds: CloudsSeen, known: set[str]) -> dict[EndpointKey, tuple[Server, ...]]:
        """Our servers in each complete listing of which there is no record at all; ``known``: VMs that have one and are
        live, or listed. Where a listing failed, what the last one showed still takes its room.

        One that only this listing lacks counts still, until it is asked for by name, unless a live record counts for
        it: else a list that was cut short would make room that is not there.
        """
        found = {key: strays(look.servers, clouds.installation, known) for key, look in clouds.listed.items()}
        late = self._store.known({server.identity.vm for servers in found.values() for server in servers})
        found = {
            key: strays(servers, clouds.installation, late)
            + strays(self._memory[key].lacking, clouds.installation, known)
            for key, servers in found.items()
        }
        for key, servers in found.items():
            self._memory[key].strike(servers)
        failed = clouds.looks.keys() - clouds.listed.keys()
        return found | {key: strays(self._memory[key].last_seen, clouds.installation, known) for key in failed}

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

    def _vms(
        self,
        records: Iterable[VMRecord],
        clouds: CloudsSeen,
        pilots: Mapping[str, PilotFacts] | None,
        briefing: Briefing,
    ) -> tuple[tuple[VirtualMachine, ...], dict[str, Facts]]:
        """The VMs, and what is to be noted of them, by id; ``pilots`` None: DIRAC could not be asked."""
        vms, news = [], {}
        for record in records:
            memory = self._memory.get(record.endpoint)
            seen = Sighting(
                PilotFacts(PilotState.NOT_ASKED, 0) if pilots is None else pilots.get(record.pilot_reference),
                clouds.consoles.get(record.vm_id, ""),
                memory.missed(record.vm_id) if memory else 0,
                drift(record, clouds.offerings.get(record.vm_type)),
                record.vm_id in clouds.without_room,
            )
            new = news_of(record, seen, briefing.now)
            vms.append(vm_as_seen(record, seen, new))
            if new and record.endpoint not in briefing.others:  # else it is for the other director to note
                news[record.vm_id] = new
        return tuple(vms), news

    def _endpoints(
        self,
        clouds: CloudsSeen,
        demand: Demand,
        unknown: Mapping[EndpointKey, tuple[UnknownServer, ...]],
        briefing: Briefing,
    ) -> Iterator[Endpoint]:
        """The endpoints with what their lists show, that of nobody's record and of other installations too."""
        unusable = self._unusable(clouds, briefing)
        for key, config in briefing.configs.items():
            memory = self._memory.get(key) or ListingMemory()
            endpoint = endpoint_as_seen(config, clouds, memory, demand, unusable.get(key, ""))
            if (look := clouds.listed.get(key)) is not None:
                endpoint = with_neighbours(endpoint, look.servers, memory, briefing.installation, briefing.now)
            yield replace(endpoint, unknown=unknown.get(key, ()))

    def _unusable(self, clouds: CloudsSeen, briefing: Briefing) -> dict[EndpointKey, str]:
        """Why nothing is started at an endpoint; what kept us from looking comes before all else."""
        keys = list(briefing.configs)
        try:
            reasons = self._dirac.unusable_endpoints(keys)
        except DiracUnavailable as error:
            reasons = dict.fromkeys(keys, str(error))
        failures = {key: look for key, look in clouds.looks.items() if isinstance(look, Exception)}
        return {
            **_without_gateway(briefing),
            **reasons,
            **briefing.closed,
            **{key: f"its servers could not be listed: {failure}" for key, failure in failures.items()},
            **{key: f"another director has it: {holder}" for key, holder in briefing.others.items()},
        }


def _without_gateway(briefing: Briefing) -> dict[EndpointKey, str]:
    """The endpoints whose VMs would wait in vain for their credential."""
    if briefing.gateway_since is not None:
        return {}
    urls = {key: config.gateway or briefing.director.gateway for key, config in briefing.configs.items()}
    return {
        key: f"no gateway is there ({url}), and VMs get their credential from it" for key, url in urls.items() if url
    }


def _by_endpoint(records: Iterable[VMRecord]) -> dict[EndpointKey, list[VMRecord]]:
    grouped: dict[EndpointKey, list[VMRecord]] = {}
    for record in records:
        grouped.setdefault(record.endpoint, []).append(record)
    return grouped


def _awaited(records: Iterable[VMRecord], installation: str, memory: ListingMemory | None) -> Awaited:
    """Whose words matter among an endpoint's VMs, and which of their servers the last lists lacked."""
    silent = [record for record in records if record.said_code is None]
    missed = (one for one in records if memory and memory.missed(one.vm_id))
    doubted = {Identity(installation, one.vm_id, one.vo, one.cores).name for one in missed}
    return Awaited(
        first_word=frozenset(record.vm_id for record in silent if record.first_word_at is None),
        end=frozenset(record.vm_id for record in silent),
        doubted=frozenset(doubted | (memory.hidden if memory else set())),
    )
