"""Carries out a plan: records intents, then acts per endpoint in its own thread, then records what came of it."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import datetime

from DIRAC.WorkloadManagementSystem.Client import PilotStatus

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    CloudEndpoint,
    CloudError,
    Identity,
    Rejected,
    Server,
    ServerRequest,
    Unreachable,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Director.Observer import key_of
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker, UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Create,
    Delete,
    EndpointKey,
    Move,
    Outcome,
    PilotState,
    Plan,
    Policy,
    VMState,
    VMTypeKey,
)

ACTOR = "director"
# What becomes of the pilot of a VM that ended without its pilot saying so.
_PILOT_END = {Outcome.WORKED: PilotStatus.DONE, Outcome.NO_WORK: PilotStatus.DONE, Outcome.KILLED: PilotStatus.DELETED}


@dataclass(frozen=True)
class Start:
    """A VM about to be created: its intent, and all that its create call needs."""

    intent: Intent
    request: ServerRequest


@dataclass(frozen=True)
class Created:
    vm: str
    server: Server
    image: str
    flavor: str


@dataclass(frozen=True)
class NotCreated:
    vm: str
    error: CloudError


@dataclass(frozen=True)
class NotDeleted:
    vm: str
    error: CloudError


class Executor:
    """Turns Plans into records and servers. Results that come late are recorded in a later cycle."""

    def __init__(
        self,
        store: VirtualMachineStore,
        dirac: DiracServices,
        workers: Mapping[EndpointKey, EndpointWorker],
        user_data: UserDataMaker,
        warn: Callable[[str], None],
        now: Callable[[], datetime],
        act_patience: float = 30.0,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ):
        self._store = store
        self._dirac = dirac
        self._workers = workers
        self._user_data = user_data
        self._warn = warn
        self._now = now
        self._act_patience = act_patience
        self._new_id = new_id
        self._results: queue.SimpleQueue = queue.SimpleQueue()

    def carry_out(
        self,
        plan: Plan,
        configured: Iterable[EndpointConfig],
        offerings: Mapping[VMTypeKey, Offering],
        installation: str,
        policy: Policy,
    ) -> dict[tuple[EndpointKey, str], str]:
        """Carry out ``plan``; returns, by endpoint and VO, why VMs could not be started.

        :raises StoreUnavailable: at the latest before the first call to a cloud that an unrecorded intent would need
        """
        configs = {key_of(config): config for config in configured}
        for move in plan.moves:
            self._move(move)
        deletes = [delete for delete in plan.deletes if self._deleting(delete)]
        starts, refusals = self._prepare(plan.creates, configs, offerings, installation, policy)
        self._store.record_intents([start.intent for start in starts], self._now())

        futures = []
        for key in configs:
            mine = [start for start in starts if start.intent.vm_type.endpoint == key]
            gone = [delete for delete in deletes if delete.endpoint == key]
            if mine or gone:
                task = _task(mine, gone, self._results.put)
                futures.append(self._workers[key].start("create and delete servers", task))
        wait(futures, timeout=self._act_patience)
        for future in futures:
            if future.done() and future.exception() is not None:
                self._warn(f"Creating and deleting broke off: {future.exception()!r}")
        self.record_outcomes()
        return refusals

    def record_outcomes(self) -> None:
        """Record all results that have come in, late ones of earlier cycles included."""
        while not self._results.empty():
            result = self._results.get()
            match result:
                case Created():
                    self._store.move(
                        result.vm,
                        VMState.PLANNED,
                        VMState.REQUESTED,
                        self._now(),
                        "the cloud accepted",
                        ACTOR,
                        server_id=result.server.id,
                        image=result.image,
                        flavor=result.flavor,
                    )
                case NotCreated(error=AmbiguousOutcome()):
                    self._warn(f"VM {result.vm}: the cloud did not say whether it was made; listings will tell")
                case NotCreated():
                    self._not_made(result)
                case NotDeleted():
                    self._warn(f"VM {result.vm} could not be deleted and will be tried again: {result.error}")

    def follow_pilots(self) -> None:
        """Enter the pilots of VMs that have a server and no pilot yet: new, adopted, or missed while DIRAC was away."""
        records = [one for one in self._store.live() if one.state is not VMState.PLANNED and one.outcome is None]
        try:
            known = self._dirac.pilot_facts(record.pilot_reference for record in records)
            for record in records:
                if record.pilot_reference not in known:
                    self._dirac.register_pilot(
                        record.pilot_reference, record.pilot_stamp, record.vo, record.vm_type, "JenniferDIRAC"
                    )
        except DiracUnavailable as error:
            self._warn(f"New pilots could not be registered yet: {error}")

    def _prepare(
        self,
        creates: Iterable[Create],
        configs: Mapping[EndpointKey, EndpointConfig],
        offerings: Mapping[VMTypeKey, Offering],
        installation: str,
        policy: Policy,
    ) -> tuple[list[Start], dict[tuple[EndpointKey, str], str]]:
        starts: list[Start] = []
        refusals: dict[tuple[EndpointKey, str], str] = {}
        for create in creates:
            config, offering = configs[create.vm_type.endpoint], offerings[create.vm_type]
            vm_type = next(one for one in config.vm_types if one.queue == create.vm_type.queue)
            vm = self._new_id()
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
            )
            identity = Identity(installation, vm, create.vo, create.cores)
            try:
                user_data = self._user_data.make(
                    config, vm_type, intent, identity, policy, offering.max_user_data_bytes
                )
            except UserDataUnavailable as error:
                refusals[create.vm_type.endpoint, create.vo] = str(error)
                continue
            request = ServerRequest(
                identity, offering.image, offering.flavor, user_data, tuple(vm_type.networks), vm_type.key_pair
            )
            starts.append(Start(intent, request))
        return starts, refusals

    def _move(self, move: Move) -> None:
        facts: dict[str, object] = {}
        if move.server_id:
            facts["server_id"] = move.server_id
        if move.outcome is not None:
            facts |= {"outcome": move.outcome, "outcome_reason": move.reason, "code": move.code}
        moved = self._store.move(move.vm, move.source, move.target, self._now(), move.reason, ACTOR, **facts)
        if moved and move.target is VMState.ENDED:
            self._end_pilot(self._store.get(move.vm))

    def _deleting(self, delete: Delete) -> bool:
        """Record that the VM is to be deleted; False when somebody else moved it meanwhile."""
        if delete.source in (VMState.DELETING, VMState.ENDED):
            return True
        return self._store.move(
            delete.vm,
            delete.source,
            VMState.DELETING,
            self._now(),
            delete.reason,
            ACTOR,
            outcome=delete.outcome,
            outcome_reason=delete.reason,
            code=delete.code,
        )

    def _not_made(self, result: NotCreated) -> None:
        rejected = isinstance(result.error, Rejected)
        reason = f"{type(result.error).__name__}: {result.error}"
        self._warn(f"VM {result.vm} was not made: {reason}")
        self._store.move(
            result.vm,
            VMState.PLANNED,
            VMState.ENDED,
            self._now(),
            reason,
            ACTOR,
            outcome=Outcome.REJECTED if rejected else Outcome.FAILED_TO_START,
            outcome_reason=reason,
        )

    def _end_pilot(self, record: VMRecord) -> None:
        """Follow the pilot to its end: a VM that is gone runs no pilot any more."""
        try:
            facts = self._dirac.pilot_facts([record.pilot_reference]).get(record.pilot_reference)
            if facts is None or facts.state is PilotState.FINISHED:
                return
            status = _PILOT_END.get(record.outcome, PilotStatus.ABORTED)
            self._dirac.end_pilot(
                record.pilot_reference, status, f"VM {record.outcome.value}: {record.outcome_reason}", record.vm_type
            )
        except DiracUnavailable as error:
            self._warn(f"VM {record.vm_id}: the end of its pilot could not be told to DIRAC: {error}")


def _task(
    starts: list[Start], deletes: list[Delete], done: Callable[[object], None]
) -> Callable[[CloudEndpoint], None]:
    """What the endpoint's thread does: deletes, then creates, each result handed over as soon as it is there."""

    def act(cloud: CloudEndpoint) -> None:
        for delete in deletes:
            try:
                cloud.delete_server(delete.server_id)
            except CloudError as error:
                done(NotDeleted(delete.vm, error))
        trouble = ""
        for start in starts:
            if trouble:
                done(NotCreated(start.intent.vm_id, Unreachable(f"not sent after another request failed: {trouble}")))
                continue
            try:
                done(_create(cloud, start))
            except CloudError as error:
                done(NotCreated(start.intent.vm_id, error))
                if not isinstance(error, Rejected):  # a reason that the next request shares
                    trouble = str(error)

    return act


def _create(cloud: CloudEndpoint, start: Start) -> Created:
    request = start.request
    return Created(start.intent.vm_id, cloud.create_server(request), request.image.id, request.flavor.id)
