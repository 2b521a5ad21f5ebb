"""What one endpoint is asked for in one pass, and how its thread does it: deletes, then creates, then a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    CloudEndpoint,
    CloudError,
    Rejected,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import (
    NO_ROOM,
    Created,
    NotCreated,
    NotDeleted,
    NotSent,
    Start,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.LeftoverSweep import Swept
from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Collect, Delete
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

Result = Created | NotCreated | NotDeleted | Swept


@dataclass
class Errand:
    """What there is to do at one endpoint."""

    deletes: list[Delete | Collect] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    sweep: Callable[[CloudEndpoint], Swept] | None = None


def run_errand(
    cloud: CloudEndpoint, errand: Errand, done: Callable[[Result], None], may_act: Callable[[], bool]
) -> None:
    """Send as many requests at once as the cloud bears; each result is handed over as soon as it is there.

    :param may_act: whether nobody else can have the endpoint, or work by a newer configuration, in this moment
    :raises CloudError: the cloud is to be left alone for a while
    """
    requests = _Requests(cloud, done, may_act)
    side_by_side(cloud.parallel_requests, requests.delete, errand.deletes)
    side_by_side(cloud.parallel_requests, requests.create, errand.starts)
    if errand.sweep is not None:
        requests.sweep(errand.sweep)
    if requests.leave_alone:
        raise requests.leave_alone


class _Requests:
    """The deletes and creates of one endpoint and cycle: after trouble that the next would share, the rest is not sent.

    One server that cannot be deleted keeps no other from being deleted. A cloud that is full, or fails at a create, may
    well delete.
    """

    def __init__(self, cloud: CloudEndpoint, done: Callable[[object], None], may_act: Callable[[], bool]):
        self._cloud = cloud
        self._done = done
        self._may_act = may_act
        self._trouble: dict[VMTypeKey | None, str] = {}  # None: every VM type's
        self.leave_alone: Throttled | AuthenticationFailed | None = None

    def sweep(self, sweep: Callable[[CloudEndpoint], Swept]) -> None:
        if self.leave_alone:
            return
        try:
            swept = sweep(self._cloud)
        except CloudError as error:  # it is made up for by the next one
            self._heed(error)
            return
        self._done(swept)
        if swept.error:
            self._heed(swept.error)

    def delete(self, delete: Delete | Collect) -> None:
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
        if not self._may_act():
            why = "another director may have the endpoint by now, or its configuration was changed"
            self._done(NotCreated(vm, Unreachable(f"not sent: {why}")))
            return
        try:
            self._done(Created(vm, self._cloud.create_server(start.request)))
        except CloudError as error:
            self._done(NotCreated(vm, error))
            self._heed(error)
            if not isinstance(error, Rejected):  # a reason that the next request shares
                self._trouble[vm_type if isinstance(error, NO_ROOM) else None] = str(error)
        except Exception as error:  # no adapter should let it pass, so nobody knows whether a server was made
            self._done(NotCreated(vm, AmbiguousOutcome(repr(error))))
            self._trouble[None] = repr(error)

    def _heed(self, error: Exception) -> None:
        if isinstance(error, (Throttled, AuthenticationFailed)):
            self.leave_alone = error


def _not_sent(trouble: str) -> NotSent:
    return NotSent(f"not sent after another request failed: {trouble}")
