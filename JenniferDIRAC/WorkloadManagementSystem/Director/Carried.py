"""What became of a plan's creates and deletes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    CloudError,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    Server,
    ServerRequest,
    Unreachable,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Outcome, VirtualMachine, VMState

#: The cloud is well, and has no room for this VM type: another one may fit, so only this one is not asked for again.
NO_ROOM = (NoCapacity, QuotaExceeded)


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

    @property
    def outcome(self) -> Outcome | None:
        """None: it is not known whether it was made."""
        if isinstance(self.error, AmbiguousOutcome):
            return None
        return Outcome.REJECTED if isinstance(self.error, Rejected) else Outcome.FAILED_TO_START

    @property
    def no_room(self) -> bool:
        return isinstance(self.error, NO_ROOM)


@dataclass(frozen=True)
class NotDeleted:
    vm: str
    error: Exception


@dataclass(frozen=True)
class Carried:
    """What became of a plan's creates: those that were sent, and by endpoint and VO why others were not.

    ``answers`` by VM; an answer that is not there yet comes in a later cycle.
    """

    starts: tuple[Start, ...]
    refusals: Mapping[tuple[EndpointKey, str], str]
    answers: Mapping[str, Created | NotCreated] = field(default_factory=dict)

    @cached_property
    def _started(self) -> Counter[tuple[EndpointKey, str]]:
        return Counter(
            (start.intent.vm_type.endpoint, start.intent.vo.lower())
            for start in self.starts
            if self.refusal(start.intent.vm_id) is None
        )

    def started(self, endpoint: EndpointKey, vo: str) -> int:
        """How many were started, as far as is known: without those that the cloud did not make."""
        return self._started[endpoint, vo.lower()]

    @cached_property
    def _refused(self) -> dict[tuple[EndpointKey, str], str]:
        return {(endpoint, vo.lower()): why for (endpoint, vo), why in self.refusals.items()}

    def refused(self, endpoint: EndpointKey, vo: str) -> str:
        """Why creates were not sent, "" where none was held back."""
        return self._refused.get((endpoint, vo.lower()), "")

    def refusal(self, vm: str) -> NotCreated | None:
        """The answer for a VM of which it is known that it was not made."""
        answer = self.answers.get(vm)
        return answer if isinstance(answer, NotCreated) and answer.outcome is not None else None

    def attempts(self, now: datetime) -> tuple[VirtualMachine, ...]:
        """The VMs that were asked for ``now``, each as its record is."""
        return tuple(_attempt(start.intent, self.answers.get(start.intent.vm_id), now) for start in self.starts)

    def closed(self) -> dict[EndpointKey, str]:
        """The endpoints that are not to be asked for more now, and why."""
        reasons: dict[EndpointKey, str] = {}
        refusals = ((start.intent.vm_type, self.refusal(start.intent.vm_id)) for start in self.starts)
        full = {vm_type for vm_type, refusal in refusals if refusal is not None and refusal.no_room}
        for start in self.starts:
            answer = self.answers.get(start.intent.vm_id)
            if answer is None:
                reasons.setdefault(start.intent.vm_type.endpoint, "its answer to a create is still awaited")
            elif isinstance(answer, NotCreated) and not isinstance(answer.error, (*NO_ROOM, Rejected)):
                if isinstance(answer.error, NotSent) and start.intent.vm_type in full:
                    continue  # for want of room for this VM type; others may be asked for
                reasons.setdefault(start.intent.vm_type.endpoint, str(answer.error))
        return reasons

    def and_then(self, later: Carried) -> Carried:
        """This and what was carried out after it."""
        return Carried(
            self.starts + later.starts, {**self.refusals, **later.refusals}, {**self.answers, **later.answers}
        )

    def put_off(self, why: str) -> Carried:
        """Nothing was started, for this reason."""
        places = ((start.intent.vm_type.endpoint, start.intent.vo) for start in self.starts)
        return Carried((), {**self.refusals, **dict.fromkeys(places, why)})


class NotSent(Unreachable):
    """Another request of the same cycle failed for a reason that this one shares."""


def _attempt(intent: Intent, answer: Created | NotCreated | None, now: datetime) -> VirtualMachine:
    refused = isinstance(answer, NotCreated) and answer.outcome is not None
    return VirtualMachine(
        id=intent.vm_id,
        vm_type=intent.vm_type,
        vo=intent.vo,
        cores=intent.cores,
        ram_mib=intent.ram_mib,
        task_queue=intent.task_queue,
        state=VMState.REQUESTED if isinstance(answer, Created) else VMState.ENDED if refused else VMState.PLANNED,
        created_at=now,
        since=now,
        server_id=answer.server.id if isinstance(answer, Created) else "",
        outcome=answer.outcome if isinstance(answer, NotCreated) else None,
        no_room=isinstance(answer, NotCreated) and answer.no_room,
        version=intent.version,
    )
