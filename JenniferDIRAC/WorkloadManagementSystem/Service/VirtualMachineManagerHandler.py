"""VirtualMachineManager: what operators see of the virtual machines and why, and how they steer the director.

.. literalinclude:: ../ConfigTemplate.cfg
   :start-after: ##BEGIN VirtualMachineManager
   :end-before: ##END
   :caption: VirtualMachineManager options
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any

from DIRAC import S_ERROR, S_OK
from DIRAC.Core.DISET.RequestHandler import RequestHandler
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import render_preview, user_data_of_nobody
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import (
    SELECT_LIMIT,
    StoreError,
    StoreUnavailable,
    VirtualMachineStore,
)
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, VMState
from JenniferDIRAC.WorkloadManagementSystem.Service.LeverRequests import BadLever, LeverDesk, LeverRequest
from JenniferDIRAC.WorkloadManagementSystem.Service.LogDesk import LogDesk, NoLog
from JenniferDIRAC.WorkloadManagementSystem.Why.DiracAnswers import DiracAnswers, vo_of
from JenniferDIRAC.WorkloadManagementSystem.Why.Inquiry import Inquiry
from JenniferDIRAC.WorkloadManagementSystem.Why.Target import NoSuchTarget
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyPlace import about


class BadSelection(Exception):
    """A selection of VMs that cannot be understood; the text names option, expectation and finding."""


class Selection(BaseModel):
    """Which VMs to list: those that meet every given condition, newest first."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[
        tuple[VMState, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
    ] = ()
    site: str = ""
    ce: str = ""
    vo: str = ""
    since: AwareDatetime | None = None
    limit: int = Field(100, ge=1, le=SELECT_LIMIT, strict=True)

    @classmethod
    def of(cls, selection: Mapping[str, Any], limit: Any) -> Selection:
        """:raises BadSelection: an unknown option, or a value that is none of its kind"""
        try:
            return cls.model_validate({"limit": limit, **selection})
        except ValidationError as error:
            known = ", ".join(cls.model_fields)
            complaints = (
                f"{'.'.join(str(part) for part in one['loc'])} = {one['input']!r}: {one['msg']}"
                for one in error.errors()
            )
            raise BadSelection(f"{'; '.join(complaints)} (known are {known})") from None


class VirtualMachineManager:
    """What the service does, without the network: questions in, values that JSON can carry out."""

    def __init__(self, store: VirtualMachineStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._store = store
        self._now = now
        self._desk = LeverDesk(store)
        self._logs = LogDesk(store)
        self._dirac = DiracAnswers()

    def status(self) -> dict[str, Any]:
        """The installation, the last report per endpoint and VO, and the number of VMs by endpoint, VO and state."""
        return {
            "installation": self._store.installation(),
            "now": _plain(self._now()),
            "reports": _plain(self._store.reports()),
            "counts": _plain(self._store.counts()),
        }

    def virtual_machines(self, selection: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
        """The records of the VMs selected, newest first.

        :raises BadSelection: the selection cannot be understood
        """
        return [_vm(record) for record in self._store.select(**dict(Selection.of(selection, limit)))]

    def virtual_machine(self, vm: str) -> dict[str, Any]:
        """One VM's record, history and console, and what the gateway knows of it (None: it has nothing to do with it).

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        """
        record = self._store.get(vm)
        return _vm(record) | {
            "history": _plain(self._store.history(record.vm_id)),
            "console_tail": self._store.console_tail(record.vm_id),
            "gateway": _plain(self._store.sessions.guest(record.vm_id)),
        }

    def logs(self, vm: str) -> dict[str, Any]:
        """A VM's logs with size in bytes and time of the last word, and whether it has ended.

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        :raises NoLog: they cannot be read
        """
        record, logs = self._logs.logs(vm)
        return {"vm_id": record.vm_id, "logs": _plain(logs), "ended": record.state is VMState.ENDED}

    def log(self, vm: str, label: str, offset: int, limit: int) -> dict[str, Any]:
        """A piece of a VM's log, see ``LogDesk.read``."""
        return self._logs.read(vm, label, offset, limit)

    def kill(self, vm: str, reason: str, actor: str) -> dict[str, Any]:
        """Decide the end of a VM; the director carries it out in its next cycle.

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        :raises TransitionRefused: it has ended already
        """
        why = f"killed by {actor}" + (f": {reason}" if reason else "")
        return _vm(self._store.request_kill(vm, actor, why, self._now()))

    def levers(self, limit: int) -> dict[str, Any]:
        """The levers that stand, oldest first; with a ``limit`` above 0 the last so many, and how each ended."""
        now = self._now()
        if limit < 0 or limit > SELECT_LIMIT:
            raise BadLever(f"limit = {limit}: expected 0 to {SELECT_LIMIT}")
        if limit:
            records = [_plain(record) | {"lever": _lever(record.lever)} for record in self._store.levers.all(limit)]
        else:
            records = [_lever(lever) for lever in self._store.levers.standing(now)]
        return {"now": _plain(now), "levers": records}

    def pull_lever(self, request: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Pull a lever; the director heeds it from its next cycle on.

        :raises BadLever: it makes no sense
        :raises NoSuchTarget: what it names does not exist
        """
        pulled = self._desk.pull(LeverRequest.of(request), actor, self._now())
        return _plain(pulled) | {"lever": _lever(pulled.lever)}

    def release_levers(self, request: Mapping[str, Any], id: int, actor: str) -> list[dict[str, Any]]:
        """Take back the lever of that number or, where it is 0, those that name exactly what the request does.

        :raises BadLever: there is none
        """
        return [_lever(one) for one in self._desk.release(LeverRequest.of(request), id or None, actor, self._now())]

    def explain(self, target: str) -> dict[str, Any]:
        """Why a job, task queue, site, endpoint, VM type or VM waits or does what it does; "": all that waits.

        :raises NoSuchTarget: it is none of these
        :raises UnknownVM: no VM, or more than one, answers to it
        """
        return _plain(Inquiry(self._store, self._dirac, vo_of, self._now()).explain(target))


class VirtualMachineManagerHandler(RequestHandler):
    """DIRAC's border around ``VirtualMachineManager``."""

    @classmethod
    def initializeHandler(cls, serviceInfoDict):
        try:
            cls.manager = VirtualMachineManager(VirtualMachineDB(parentLogger=cls.log).store)
        except StoreUnavailable as error:
            return S_ERROR(f"The VirtualMachineManager does not start: {error}")
        return S_OK()

    types_getStatus = ()

    def export_getStatus(self):
        """Installation, the last report of each endpoint and VO, and numbers of VMs."""
        return _answer(self.manager.status)

    types_getVirtualMachines = (dict,)

    def export_getVirtualMachines(self, selection, limit=100):
        """VMs, newest first. The selection may hold state (one or a list), site, ce, vo, since (ISO 8601 with zone)."""
        return _answer(self.manager.virtual_machines, selection, limit)

    types_getVirtualMachine = (str,)

    def export_getVirtualMachine(self, vm):
        """A VM's record, history and console, by its id, the first 6 or more digits of it, or its pilot reference."""
        return _answer(self.manager.virtual_machine, vm)

    types_getLogs = (str,)

    def export_getLogs(self, vm):
        """The logs that a VM sent to the gateway."""
        return _answer(self.manager.logs, vm)

    types_readLog = (str, str, int, int)

    def export_readLog(self, vm, label, offset, limit):
        """A piece of a VM's log; a negative offset counts from its end. Printable, but what the VM wrote."""
        return _answer(self.manager.log, vm, label, offset, limit)

    types_killVirtualMachine = (str, str)

    def export_killVirtualMachine(self, vm, reason):
        """End a VM; its record says who did it and why."""
        return _answer(self.manager.kill, vm, reason, self.getRemoteCredentials()["username"])

    types_getLevers = ()

    def export_getLevers(self, limit=0):
        """The levers that stand; with a limit the last so many, and how each ended."""
        return _answer(self.manager.levers, limit)

    types_pullLever = (dict,)

    def export_pullLever(self, request):
        """Drain, hold, override or pause, as ``LeverRequest`` says; who did it is recorded."""
        return _answer(self.manager.pull_lever, request, self.getRemoteCredentials()["username"])

    types_releaseLevers = (dict, int)

    def export_releaseLevers(self, request, lever):
        """Take back a lever by its number or, where that is 0, by what it names."""
        return _answer(self.manager.release_levers, request, lever, self.getRemoteCredentials()["username"])

    types_explain = (str,)

    def export_explain(self, target):
        """Why a job, ``tq:`` task queue, site, site/CE, site/CE/queue or VM waits; "": all that waits."""
        return _answer(self.manager.explain, target)

    types_renderUserData = (str, str, str)

    def export_renderUserData(self, endpoint, vm_type, vo):
        """The user-data that a VM of this type would get at this endpoint (CE, or site/CE), secrets masked."""
        return _answer(render_preview, endpoint, vm_type, vo)

    types_getUserData = (str, str, str)

    def export_getUserData(self, endpoint, vm_type, vo):
        """The same as a VM would get it, in base64: it boots, and is nobody's."""
        return _answer(lambda *whose: b64encode(user_data_of_nobody(*whose)).decode(), endpoint, vm_type, vo)


def _answer(call: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What a call returns, or the errors that are the caller's business, as DIRAC carries them."""
    try:
        return S_OK(call(*arguments))
    except (StoreError, BadSelection, BadLever, NoLog, NoSuchTarget, ConfigError, ContextError) as error:
        return S_ERROR(str(error))


def _vm(record: VMRecord) -> dict[str, Any]:
    values = _plain(record)
    return values.pop("vm_type") | values


def _lever(lever: Lever) -> dict[str, Any]:
    return _plain(lever) | {"about": about(lever)}


def _plain(value: Any) -> Any:
    """Values of ours as JSON knows them: enums by value, times in ISO 8601, lengths of time in seconds."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(_plain(key) if isinstance(key, Enum) else key): _plain(one) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
