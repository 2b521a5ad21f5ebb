"""Carries out a plan: records intents, then acts per endpoint in its own thread, then records what came of it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import AmbiguousOutcome, CloudEndpoint, Identity
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    BATCH,
    Claim,
    Facts,
    Overtaken,
    Step,
    VirtualMachineStore,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.Briefing import Briefing
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried, Created, NotCreated, NotDeleted, Start
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Errand import Errand, Result, run_errand
from JenniferDIRAC.WorkloadManagementSystem.Director.LeftoverSweep import LeftoverSweep, Swept
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Director.StubbornServers import StubbornServers
from JenniferDIRAC.WorkloadManagementSystem.Director.Tenancy import pilot_reference
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker, UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Collect, Create, Delete, Move, Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, VMState

ACTOR = "director"
NOT_MADE_CODE = 700  # HSF-TN-2016-04: other
_PATIENCE = 30.0  # seconds, for the answers to a pass's deletes and creates


class Executor:
    """Turns Plans into records and servers. Results that come late are recorded in a later cycle.

    :param may_act: whether nobody else can have an endpoint in this moment
    :param new_id: gives the ids of VMs and the stamps of their pilots, 32 hexadecimal digits
    """

    def __init__(
        self,
        store: VirtualMachineStore,
        records: LiveRecords,
        workers: Mapping[EndpointKey, EndpointWorker],
        user_data: UserDataMaker,
        warn: Callable[[str], None],
        now: Callable[[], datetime],
        may_act: Callable[[EndpointKey], bool],
        new_id: Callable[[], str],
    ):
        self._store = store
        self._workers = workers
        self._user_data = user_data
        self._warn = warn
        self._now = now
        self._punctuality = Punctuality(_PATIENCE)
        self._may_act = may_act
        self._new_id = new_id
        self._stubborn = StubbornServers(warn)
        self._leftovers = LeftoverSweep(records)
        self._results: deque[Result] = deque()

    def carry_out(self, plan: Plan, sight: Sight, briefing: Briefing, claim: Claim | None = None) -> Carried:
        """Carry out ``plan``, which was made of ``sight``; its creates only if ``claim`` still holds.

        :raises StoreUnavailable: at the latest before the first call to a cloud that an unrecorded intent would need
        """
        self._store.move_all([self._step(move, sight.consoles) for move in plan.moves])
        # What is another director's by now is that one's to judge.
        deletes = self._deleting([delete for delete in plan.deletes if self._may_act(delete.endpoint)], sight.consoles)
        collects = [collect for collect in plan.collects if self._may_act(collect.endpoint)]
        deletes = self._stubborn.to_send(deletes, sight.snapshot.vms, briefing.policy, self._now())
        self._stubborn.tell_of(collects, self._now())
        sweeps = self._leftovers.due(sight.snapshot.endpoints, self._now())
        carried = self._prepare(plan.creates, sight, briefing)
        try:
            self._store.record_intents([start.intent for start in carried.starts], self._now(), claim=claim)
        except Overtaken as error:
            carried = carried.put_off(f"{error}; what they need is planned anew in the next cycle")

        errands = _errands((*deletes, *collects), carried.starts, sweeps)
        answers: dict[str, Created | NotCreated] = {}
        done = partial(_hand_over, self._results, answers)
        futures = {}
        for key in briefing.configs:
            if key in errands:
                worker = self._workers[key]
                may_send = partial(self._may_send, key, worker)
                task = partial(run_errand, errand=errands[key], done=done, may_act=may_send)
                futures[key] = worker.start("create and delete servers", task)
        self._punctuality.wait(futures)
        answered = {**answers}  # what comes later is the next cycle's
        self.record_outcomes()
        return replace(carried, answers=answered)

    def record_outcomes(self) -> None:
        """Record all results that have come in, late ones of earlier cycles included.

        :raises StoreUnavailable: what could not be recorded is kept for the next time
        """
        while self._results:
            results = [self._results[n] for n in range(min(len(self._results), BATCH))]  # more may come in meanwhile
            steps = [self._outcome(result) for result in results]
            self._store.move_all([step for step in steps if step is not None])
            for _ in results:
                self._results.popleft()

    def _may_send(self, key: EndpointKey, worker: EndpointWorker) -> bool:
        """In the endpoint's thread: whether nobody else may look at the endpoint in this moment, another director or
        the worker of a changed configuration, and believe that what was not sent yet was never made."""
        return self._may_act(key) and self._workers.get(key) is worker

    def _outcome(self, result: Result) -> Step | None:
        """The step that a result leads to, if any."""
        match result:
            case Created():
                facts = Facts(server_id=result.server.id)
                why = "the cloud accepted"
                return Step(result.vm, VMState.PLANNED, VMState.REQUESTED, self._now(), why, ACTOR, facts)
            case NotCreated(error=AmbiguousOutcome()):
                self._warn(f"VM {result.vm}: it is not known whether it was made, listings will tell: {result.error}")
            case NotCreated():
                return self._not_made(result)
            case NotDeleted():
                self._warn(f"VM {result.vm} could not be deleted and will be tried again: {result.error}")
            case Swept():
                self._tell_swept(result)
        return None

    def _prepare(self, creates: Iterable[Create], sight: Sight, briefing: Briefing) -> Carried:
        """User-data for every VM; what cannot be made for one VM of an endpoint and VO is not tried for the next.

        Nor is anything where its endpoint takes nothing now: an intent that is not sent would have to be waited for.
        """
        starts: list[Start] = []
        refusals: dict[tuple[EndpointKey, str], str] = {}
        for create in creates:
            place = (create.vm_type.endpoint, create.vo)
            if refusal := self._workers[create.vm_type.endpoint].refusal:
                refusals[place] = str(refusal)
            if place in refusals:
                continue
            try:
                starts.append(self._start(create, sight, briefing))
            except UserDataUnavailable as error:
                refusals[place] = str(error)
        return Carried(tuple(starts), refusals)

    def _start(self, create: Create, sight: Sight, briefing: Briefing) -> Start:
        """All that a create is about to need.

        :raises UserDataUnavailable: no user-data can be made for it, or not that which the plan was made for
        """
        offering = sight.offerings[create.vm_type]
        told = sight.versions.get((create.vm_type, create.vo.lower()))
        config = briefing.configs[create.vm_type.endpoint]
        vm_type = next(one for one in config.vm_types if one.queue == create.vm_type.queue)
        vm, choice = self._new_id(), offering.choice
        intent = Intent(
            vm_id=vm,
            vm_type=create.vm_type,
            vo=create.vo,
            cores=create.cores,
            ram_mib=create.ram_mib,
            task_queue=create.task_queue,
            pilot_reference=pilot_reference(config.ce, vm),
            pilot_stamp=self._new_id(),
            template=vm_type.template,
            version=told[1] if told else "",
            image=choice.image.id,
            flavor=choice.flavor.id,
            networks=", ".join(network.id for network in choice.networks),
            zone=choice.zone_of(vm),
        )
        identity = Identity(briefing.installation, vm, create.vo, create.cores)
        profile = told[0].profile if told else ProfileConfig()
        user_data = self._user_data.make(
            config, vm_type, profile, intent, identity, briefing.director, offering.max_user_data_bytes
        )
        if told is None or self._user_data.versions(told[:1]) != dict([told]):
            raise UserDataUnavailable(
                f"what {create.vm_type} tells its VMs changed during this cycle: the next one starts them"
            )
        description = f"JenniferDIRAC: {create.vo} at {config}/{vm_type.queue}"
        return Start(intent, choice.request(identity, user_data, description))

    def _step(self, move: Move, consoles: Mapping[str, str]) -> Step:
        facts = Facts()
        if move.server_id:
            facts["server_id"] = move.server_id
        if move.target is VMState.DRAINING:
            facts["running_at"] = self._now()  # of a VM that was first seen when it was to drain already
        if move.outcome is not None:
            facts |= {"outcome": move.outcome, "outcome_reason": move.reason, "code": move.code}
            facts |= _post_mortem(move.vm, consoles)
        return Step(move.vm, move.source, move.target, self._now(), move.reason, ACTOR, facts)

    def _deleting(self, deletes: Iterable[Delete], consoles: Mapping[str, str]) -> list[Delete]:
        """Record that these VMs are to be deleted; those are left out that somebody else moved meanwhile."""
        first = [delete for delete in deletes if delete.source not in (VMState.DELETING, VMState.ENDED)]
        steps = []
        for delete in first:
            facts = Facts(
                server_id=delete.server_id, outcome=delete.outcome, outcome_reason=delete.reason, code=delete.code
            )
            facts |= _post_mortem(delete.vm, consoles)
            steps.append(Step(delete.vm, delete.source, VMState.DELETING, self._now(), delete.reason, ACTOR, facts))
        moved = self._store.move_all(steps)
        lost = {delete.vm for delete, is_moved in zip(first, moved, strict=True) if not is_moved}
        return [delete for delete in deletes if delete.vm not in lost]

    def _not_made(self, result: NotCreated) -> Step:
        reason = f"{type(result.error).__name__}: {result.error}"
        self._warn(f"VM {result.vm} was not made: {reason}")
        facts = Facts(outcome=result.outcome, outcome_reason=reason, code=NOT_MADE_CODE, no_room=result.no_room)
        return Step(result.vm, VMState.PLANNED, VMState.ENDED, self._now(), reason, ACTOR, facts)

    def _tell_swept(self, swept: Swept) -> None:
        for each in swept.deleted:
            self._warn(f"{swept.endpoint}: {each.kind} {each.id}, left behind by server {each.server_id}, is deleted")
        for each, why in swept.refused:
            self._warn(f"{swept.endpoint}: {each.kind} {each.id}, left behind by server {each.server_id}, stays: {why}")
        if swept.error:
            self._warn(f"{swept.endpoint}: what deleted servers left behind could not all be deleted: {swept.error}")


def _errands(
    deletes: Iterable[Delete | Collect],
    starts: Iterable[Start],
    sweeps: Mapping[EndpointKey, Callable[[CloudEndpoint], Swept]],
) -> dict[EndpointKey, Errand]:
    errands: defaultdict[EndpointKey, Errand] = defaultdict(Errand)
    for delete in deletes:
        errands[delete.endpoint].deletes.append(delete)
    for start in starts:
        errands[start.intent.vm_type.endpoint].starts.append(start)
    for key, sweep in sweeps.items():
        errands[key].sweep = sweep
    return errands


def _hand_over(results: deque[Result], answers: dict[str, Created | NotCreated], result: Result) -> None:
    """In the endpoint's thread."""
    if isinstance(result, (Created, NotCreated)):
        answers[result.vm] = result
    results.append(result)


def _post_mortem(vm: str, consoles: Mapping[str, str]) -> Facts:
    """The end of its console goes with the record: the server is about to be gone."""
    return Facts(console_tail=consoles[vm]) if vm in consoles else Facts()
