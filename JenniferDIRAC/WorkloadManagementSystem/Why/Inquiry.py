"""Gathers what is known of a job, a task queue, a place or a VM, and has the sentences made of it.

What does not answer is named, and the rest is told all the same.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of, broken_endpoints, key_of, type_key
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import STARTING
from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import apply_levers, concerns, covers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    LeverKind,
    PilotState,
    Snapshot,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Why.LastPlans import LastPlans
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Offered, Wanted, obstacles
from JenniferDIRAC.WorkloadManagementSystem.Why.Target import Target, find_target
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyJob import JobFacts, why_job
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyPlace import (
    PlaceFacts,
    QueueLine,
    why_everything,
    why_place,
)
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyTaskQueue import ComingVM, Fit, QueueFacts, why_task_queue
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyVM import VMFacts, why_vm
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import sentence

PLANS = 100
# VMs that tell how long a boot takes, per endpoint.
_RECENT, _RECENT_VMS = timedelta(days=1), 200
_JOB = re.compile(r"(?:job:)?(\d+)")
_QUEUE = re.compile(r"tq:(\d+)", re.IGNORECASE)
_VM = re.compile(r"vm:(.+)|([0-9a-f]{6,32}|\w+://.+)")
Value = TypeVar("Value")


class Dirac(Protocol):
    """What is asked of DIRAC; ``DiracAnswers`` asks the real one."""

    def job(self, job: int) -> JobFacts | None: ...
    def task_queue_of(self, job: int) -> int | None: ...
    def task_queue(self, id: int) -> Mapping[str, Any] | None: ...
    def matched(
        self, parameters: Mapping[VMTypeKey, Mapping[str, Any]]
    ) -> Mapping[VMTypeKey, frozenset[int] | DiracUnavailable]: ...
    def unusable_endpoints(self, keys: list[EndpointKey]) -> Mapping[EndpointKey, str]: ...
    def pilot_state(self, reference: str) -> PilotState: ...


@dataclass
class Explanation:
    """The answer: what was meant, the sentences, the values behind them, and what could not be asked."""

    kind: str
    target: str
    sentences: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    not_asked: list[str] = field(default_factory=list)


class Inquiry:
    """One question, answered from one moment's records."""

    def __init__(
        self,
        store: VirtualMachineStore,
        dirac: Dirac,
        vo_of: Callable[[str], str],
        now: datetime,
        read_sites: Callable[[], CloudSites] = read_cloud_sites,
        read_policy: Callable[[], Policy] = lambda: read_director_config().policy,
    ):
        self._store, self._dirac, self._vo_of, self._now = store, dirac, vo_of, now
        self._read_policy = read_policy
        self._sites = read_sites()
        self._levers = store.levers.standing(now)
        self._holders = store.leases.standing()
        self._plans = LastPlans(store.plans.last(PLANS), now, self._holders)
        self._not_asked: list[str] = []
        self._records: dict[EndpointKey, tuple[VMRecord, ...]] = {}

    def explain(self, target: str) -> Explanation:
        """
        :param target: "", a job's number, ``tq:`` and a task queue's, a site, site/CE, site/CE/queue or CE, or a VM
        :raises NoSuchTarget: it is none of these
        :raises UnknownVM: no VM, or more than one, answers to it
        """
        target = target.strip()
        if not target:
            explanation = self._everything()
        elif match := _JOB.fullmatch(target):
            explanation = self._job(int(match[1]))
        elif match := _QUEUE.fullmatch(target):
            explanation = self._task_queue(int(match[1]))
        elif match := _VM.fullmatch(target):
            explanation = self._vm(match[1] or match[2])
        else:
            explanation = self._place(find_target(self._sites, target))
        explanation.not_asked = self._not_asked
        explanation.sentences += [sentence(f"Could not be asked: {what}") for what in self._not_asked]
        return explanation

    def _ask(self, question: Callable[..., Value], *arguments: Any) -> Value | None:
        """What DIRAC answers; None, and a note of it, when it does not."""
        try:
            return question(*arguments)
        except DiracUnavailable as error:
            self._not_asked.append(str(error))
            return None

    def _job(self, id: int) -> Explanation:
        asked = len(self._not_asked)
        job = self._ask(self._dirac.job, id)
        unknown = len(self._not_asked) > asked
        queue = self._ask(self._dirac.task_queue_of, id) if unknown or (job and job.waits) else None
        explanation = Explanation("job", str(id), [] if unknown else list(why_job(job, id, queue, self._now)))
        explanation.values = {"job": job, "task_queue": queue}
        if queue is not None:
            rest = self._task_queue(queue)
            explanation.sentences += rest.sentences
            explanation.values |= rest.values
        elif job and job.waits and not self._not_asked:
            explanation.sentences.append("It is in no task queue: the Matcher gives it to nobody. Reschedule it.")
        return explanation

    def _task_queue(self, id: int) -> Explanation:
        asked = len(self._not_asked)
        row = self._ask(self._dirac.task_queue, id)
        answered = len(self._not_asked) == asked
        wanted = Wanted.of(row, self._vo_of(row["OwnerGroup"])) if row else None
        answer = self._plans.answers().get(id)
        fits = self._fits(id, wanted) if wanted else ()
        fitting = {fit.vm_type for fit in fits if fit.fits}
        facts = QueueFacts(
            id=id,
            wanted=wanted,
            jobs=(int(row["Jobs"]) if row else 0) if answered else None,
            planned=bool(self._plans.used),
            answer=answer,
            unmet=self._plans.unmet().get(id, ()),
            stops=self._plans.stops(
                lambda key, vo: key in fitting and wanted is not None and vo.lower() == wanted.vo.lower()
            ),
            coming=self._coming(id, answer),
            fits=fits,
            levers=self._levers,
        )
        sentences = [*self._plans.trouble(), *why_task_queue(facts, self._now)]
        return Explanation("task queue", f"tq:{id}", sentences, {"queue": facts})

    def _fits(self, queue: int, wanted: Wanted) -> tuple[Fit, ...]:
        """Each VM type against the jobs, by our rules and by the Matcher's word."""
        asked = {key: (vm_type, *self._size(vm_type, key)) for key, vm_type in sorted(_vm_types(self._sites.endpoints))}
        parameters = {key: vm_type.matcher_parameters(cores, ram) for key, (vm_type, cores, ram) in asked.items()}
        answers = self._dirac.matched(parameters)
        fits = []
        for key, (vm_type, cores, _) in asked.items():
            known = bool(cores) or bool(vm_type.number_of_processors and vm_type.max_ram)
            against = obstacles(wanted, Offered.of(key, parameters[key], vm_type.vos, known))
            said = answers[key]
            if isinstance(said, DiracUnavailable):
                fits.append(Fit(key, against, None, str(said)))
            else:
                fits.append(Fit(key, against, queue in said))
        return tuple(fits)

    def _size(self, config: VMTypeConfig, key: VMTypeKey) -> tuple[int, int]:
        """Cores and RAM of the flavor, as its last VM had them; only the director asks the cloud."""
        if config.number_of_processors and config.max_ram:
            return 0, 0
        last = next((vm for vm in self._records_of(key.endpoint) if vm.vm_type == key), None)
        return (last.cores, last.ram_mib) if last else (0, 0)

    def _records_of(self, endpoint: EndpointKey) -> tuple[VMRecord, ...]:
        """The endpoint's last VMs, newest first."""
        if endpoint not in self._records:
            self._records[endpoint] = self._store.select(
                site=endpoint.site, ce=endpoint.ce, since=self._now - _RECENT, limit=_RECENT_VMS
            )
        return self._records[endpoint]

    def _boot(self, key: VMTypeKey) -> timedelta | None:
        """How long VMs of this type took lately from intent to first word: the median."""
        took = [
            (vm.first_word_at - vm.created_at).total_seconds()
            for vm in self._records_of(key.endpoint)
            if vm.vm_type == key and vm.first_word_at is not None
        ]
        return timedelta(seconds=statistics.median(took)) if took else None

    def _coming(self, queue: int, answer: Answer | None) -> tuple[ComingVM, ...]:
        """The VMs on their way that were started for a task queue, or are counted for it, and have not spoken yet."""
        counted = set(answer.coming) if answer else set()
        records = [
            vm
            for vm in self._store.live()
            if vm.state in STARTING and vm.first_word_at is None and (vm.task_queue == queue or vm.vm_id in counted)
        ]
        boots = {key: self._boot(key) for key in {vm.vm_type for vm in records}}
        return tuple(ComingVM(vm.vm_id, vm.vm_type, vm.state, vm.created_at, boots[vm.vm_type]) for vm in records)

    def _vm(self, vm: str) -> Explanation:
        record = self._store.get(vm)
        history = self._store.history(record.vm_id)
        try:
            policy = self._read_policy()
        except ConfigError as error:
            self._not_asked.append(str(error))
            policy = Policy()
        facts = VMFacts(
            record,
            last=history[-1] if history else None,
            pilot=self._ask(self._dirac.pilot_state, record.pilot_reference),
            policy=policy,
            boot=self._boot(record.vm_type),
            levers=tuple(
                lever
                for lever in self._levers
                if lever.kind in (LeverKind.DRAIN, LeverKind.HOLD)
                and covers(lever, record.vm_type, record.vo, record.vm_id)
            ),
        )
        return Explanation("vm", record.vm_id, list(why_vm(facts, self._now)), {"vm": facts})

    def _place(self, target: Target) -> Explanation:
        asked = len(self._not_asked)
        unusable = self._ask(self._dirac.unusable_endpoints, list(target.endpoints))
        answered = len(self._not_asked) == asked
        sentences, values = [*self._plans.trouble()], []
        for key in target.endpoints:
            facts = self._place_facts(
                key, target, (unusable or {}).get(key, "") if answered else None, self._holders.get(key, "")
            )
            sentences += why_place(facts, self._now)
            values.append(facts)
        return Explanation("place", str(target), sentences, {"places": values})

    def _place_facts(self, key: EndpointKey, target: Target, unusable: str | None, holder: str) -> PlaceFacts:
        config = next((one for one in self._sites.endpoints if key_of(one) == key), None)
        vm_types = tuple(
            vm_type for vm_type, _ in _vm_types([config] if config else []) if target.queue in ("", vm_type.queue)
        )
        in_force = self._in_force(key, config)
        return PlaceFacts(
            key=key,
            vm_types=vm_types,
            unusable=unusable,
            seen=self._plans.unusable(key),
            started=tuple(sorted(self._plans.started(key))) if self._plans.used else None,
            problem=broken_endpoints(self._sites).get(key, ""),
            holder=holder,
            bounds=in_force.bounds,
            vo_bounds=in_force.vo_bounds,
            shares=in_force.shares,
            counts=tuple(one for one in self._store.counts() if (one.site, one.ce) == (key.site, key.ce)),
            refused={
                vo: why
                for who, why in self._plans.refused().items()
                for place, _, vo in [who.rpartition(" ")]
                if place in ("", str(key))
            },
            stops=self._plans.stops(lambda one, vo: one.endpoint == key and target.queue in ("", one.queue)),
            levers=tuple(lever for lever in self._levers if concerns(lever, key)),
        )

    def _in_force(self, key: EndpointKey, config: EndpointConfig | None) -> Endpoint:
        """The endpoint's limits and shares with the levers that stand."""
        if config is None:
            return Endpoint(key)
        endpoint = Endpoint(
            key,
            tuple(VMType(one, 1) for one, _ in _vm_types([config])),
            bounds_of(config),
            vo_bounds={vo: bounds_of(limits) for vo, limits in config.vo_limits.items()},
            shares=config.shares,
        )
        vos = frozenset(lever.vo for lever in self._levers if lever.vo)
        return apply_levers(Snapshot((endpoint,), vos=vos, levers=self._levers), self._now).endpoints[0]

    def _everything(self) -> Explanation:
        keys = [key_of(config) for config in self._sites.endpoints]
        unusable = {key: why for key in keys if (why := self._plans.unusable(key))}
        unusable |= self._ask(self._dirac.unusable_endpoints, keys) or {}
        unusable |= broken_endpoints(self._sites)
        unmet = self._plans.unmet()
        answers = self._plans.answers()
        lines = [
            QueueLine(id, one.vo, one.jobs, len(one.coming), sum(one.started.values()), unmet.pop(id, ()))
            for id, one in answers.items()
        ]
        lines += [QueueLine(id, mine[0][0].vo, None, unmet=mine) for id, mine in unmet.items()]
        planned = bool(self._plans.used) and not any(plan.problem for plan in self._plans.used)
        sentences = [
            *self._plans.trouble(),
            *why_everything(lines, unusable, self._levers, planned, self._now),
        ]
        return Explanation("everything", "", sentences, {"queues": lines, "unusable": unusable})


def _vm_types(endpoints: Iterable[EndpointConfig]) -> list[tuple[VMTypeKey, VMTypeConfig]]:
    return [(type_key(vm_type), vm_type) for config in endpoints for vm_type in config.vm_types]
