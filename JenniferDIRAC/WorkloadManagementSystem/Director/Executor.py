"""Carries out a plan: records intents, then acts per endpoint in its own thread, then records what came of it."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    CloudEndpoint,
    CloudError,
    Identity,
    NoCapacity,
    Rejected,
    Server,
    ServerRequest,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    BATCH,
    Claim,
    Facts,
    Overtaken,
    Step,
    VirtualMachineStore,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import Sight, key_of
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker, UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Create,
    Delete,
    EndpointKey,
    Move,
    Outcome,
    Plan,
    Policy,
    VMState,
    VMTypeKey,
)

ACTOR = "director"
NOT_MADE_CODE = 700  # HSF-TN-2016-04: other


@dataclass(frozen=True)
class Start:
    """A VM about to be created: its intent, and all that its create call needs."""

    intent: Intent
    request: ServerRequest


@dataclass(frozen=True)
class Created:
    vm: str
    server: Server


@dataclass(frozen=True)
class NotCreated:
    vm: str
    error: CloudError


@dataclass(frozen=True)
class NotDeleted:
    vm: str
    error: Exception


@dataclass(frozen=True)
class Carried:
    """What became of a plan's creates: those that were started, and by endpoint and VO why others were not."""

    starts: tuple[Start, ...]
    refusals: Mapping[tuple[EndpointKey, str], str]

    def started(self, endpoint: EndpointKey, vo: str) -> int:
        return sum(1 for start in self.starts if (start.intent.vm_type.endpoint, start.intent.vo) == (endpoint, vo))

    def put_off(self, why: str) -> Carried:
        """Nothing was started, for this reason."""
        places = {(start.intent.vm_type.endpoint, start.intent.vo) for start in self.starts}
        return Carried((), {**self.refusals, **dict.fromkeys(places, why)})


class Executor:
    """Turns Plans into records and servers. Results that come late are recorded in a later cycle."""

    def __init__(
        self,
        store: VirtualMachineStore,
        workers: Mapping[EndpointKey, EndpointWorker],
        user_data: UserDataMaker,
        warn: Callable[[str], None],
        now: Callable[[], datetime],
        act_patience: float = 30.0,
        may_create: Callable[[EndpointKey], bool] = lambda endpoint: True,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ):
        self._store = store
        self._workers = workers
        self._user_data = user_data
        self._warn = warn
        self._now = now
        self._punctuality = Punctuality(act_patience)
        self._may_create = may_create
        self._new_id = new_id
        self._results: deque[Created | NotCreated | NotDeleted] = deque()

    def carry_out(
        self,
        plan: Plan,
        sight: Sight,
        configured: Iterable[EndpointConfig],
        installation: str,
        policy: Policy,
        claim: Claim | None = None,
    ) -> Carried:
        """Carry out ``plan``, which was made of ``sight``; its creates only if ``claim`` still holds.

        :raises StoreUnavailable: at the latest before the first call to a cloud that an unrecorded intent would need
        """
        configs = {key_of(config): config for config in configured}
        self._store.move_all([self._step(move, sight.consoles) for move in plan.moves])
        deletes = self._deleting(plan.deletes, sight.consoles)
        carried = self._prepare(plan.creates, configs, sight.offerings, installation, policy)
        try:
            self._store.record_intents([start.intent for start in carried.starts], self._now(), claim=claim)
        except Overtaken as error:
            carried = carried.put_off(f"{error}; what they need is planned anew in the next cycle")

        futures = {}
        for key in configs:
            mine = [start for start in carried.starts if start.intent.vm_type.endpoint == key]
            gone = [delete for delete in deletes if delete.endpoint == key]
            if mine or gone:
                task = _task(mine, gone, self._results.append, partial(self._may_create, key))
                futures[key] = self._workers[key].start("create and delete servers", task)
        self._punctuality.wait(futures)
        self.record_outcomes()
        return carried

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

    def _outcome(self, result: Created | NotCreated | NotDeleted) -> Step | None:
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
        return None

    def _prepare(
        self,
        creates: Iterable[Create],
        configs: Mapping[EndpointKey, EndpointConfig],
        offerings: Mapping[VMTypeKey, Offering],
        installation: str,
        policy: Policy,
    ) -> Carried:
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
            config, offering = configs[create.vm_type.endpoint], offerings[create.vm_type]
            vm_type = next(one for one in config.vm_types if one.queue == create.vm_type.queue)
            vm, choice = self._new_id(), offering.choice
            intent = Intent(
                vm_id=vm,
                vm_type=create.vm_type,
                vo=create.vo,
                cores=create.cores,
                ram_mib=create.ram_mib,
                task_queue=create.task_queue,
                pilot_reference=f"cloud://{config.ce}/{vm}",
                pilot_stamp=self._new_id(),
                template=vm_type.template,
                image=choice.image.id,
                flavor=choice.flavor.id,
                networks=", ".join(network.id for network in choice.networks),
                zone=choice.zone_of(vm),
            )
            identity = Identity(installation, vm, create.vo, create.cores)
            try:
                user_data = self._user_data.make(
                    config, vm_type, intent, identity, policy, offering.max_user_data_bytes
                )
            except UserDataUnavailable as error:
                refusals[place] = str(error)
                continue
            description = f"JenniferDIRAC: {create.vo} at {config}/{vm_type.queue}"
            request = choice.request(identity, user_data, description)
            starts.append(Start(intent, request))
        return Carried(tuple(starts), refusals)

    def _step(self, move: Move, consoles: Mapping[str, str]) -> Step:
        facts = Facts()
        if move.server_id:
            facts["server_id"] = move.server_id
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
        rejected = isinstance(result.error, Rejected)
        reason = f"{type(result.error).__name__}: {result.error}"
        self._warn(f"VM {result.vm} was not made: {reason}")
        facts = Facts(
            outcome=Outcome.REJECTED if rejected else Outcome.FAILED_TO_START, outcome_reason=reason, code=NOT_MADE_CODE
        )
        return Step(result.vm, VMState.PLANNED, VMState.ENDED, self._now(), reason, ACTOR, facts)


def _post_mortem(vm: str, consoles: Mapping[str, str]) -> Facts:
    """The end of its console goes with the record: the server is about to be gone."""
    return Facts(console_tail=consoles[vm]) if vm in consoles else Facts()


def _task(
    starts: list[Start], deletes: list[Delete], done: Callable[[object], None], may_create: Callable[[], bool]
) -> Callable[[CloudEndpoint], None]:
    """What the endpoint's thread does: deletes, then creates, as many at once as the cloud bears; each result is handed
    over as soon as it is there."""

    def act(cloud: CloudEndpoint) -> None:
        requests = _Requests(cloud, done, may_create)
        side_by_side(cloud.parallel_requests, requests.delete, deletes)
        side_by_side(cloud.parallel_requests, requests.create, starts)
        if requests.leave_alone:
            raise requests.leave_alone  # for the worker, which leaves the cloud alone for a while

    return act


class _Requests:
    """The deletes and creates of one endpoint and cycle: after trouble that the next would share, the rest is not sent.

    One server that cannot be deleted keeps no other from being deleted. A cloud that is full, or fails at a create, may
    well delete.
    """

    def __init__(self, cloud: CloudEndpoint, done: Callable[[object], None], may_create: Callable[[], bool]):
        self._cloud = cloud
        self._done = done
        self._may_create = may_create
        self._trouble: dict[VMTypeKey | None, str] = {}  # None: every VM type's
        self.leave_alone: Throttled | AuthenticationFailed | None = None

    def delete(self, delete: Delete) -> None:
        if self.leave_alone:
            self._done(NotDeleted(delete.vm, _not_sent(str(self.leave_alone))))
            return
        try:
            self._cloud.delete_server(delete.server_id)
        except Exception as error:
            self._done(NotDeleted(delete.vm, error))
            self._heed(error)

    def create(self, start: Start) -> None:
        vm, vm_type = start.intent.vm_id, start.intent.vm_type
        if trouble := str(self.leave_alone or "") or self._trouble.get(None) or self._trouble.get(vm_type):
            self._done(NotCreated(vm, _not_sent(trouble)))
            return
        if not self._may_create():
            self._done(NotCreated(vm, Unreachable("not sent: another director may have the endpoint by now")))
            return
        try:
            self._done(Created(vm, self._cloud.create_server(start.request)))
        except CloudError as error:
            self._done(NotCreated(vm, error))
            self._heed(error)
            if not isinstance(error, Rejected):  # a reason that the next request shares
                self._trouble[vm_type if isinstance(error, NoCapacity) else None] = str(error)
        except Exception as error:  # no adapter should let it pass, so nobody knows whether a server was made
            self._done(NotCreated(vm, AmbiguousOutcome(repr(error))))
            self._trouble[None] = repr(error)

    def _heed(self, error: Exception) -> None:
        if isinstance(error, (Throttled, AuthenticationFailed)):
            self.leave_alone = error


def _not_sent(trouble: str) -> Unreachable:
    return Unreachable(f"not sent after another request failed: {trouble}")
