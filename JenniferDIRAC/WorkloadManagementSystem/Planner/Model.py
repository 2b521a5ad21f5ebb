"""What one cycle sees: the planner's Snapshot, of which it makes a Plan (``Decision``) under a Policy.

Only the standard library: the planner is called by an agent today and may be called by something else tomorrow.
Times are timezone-aware UTC, cores are whole cores, RAM is in MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import ClassVar, Self


class VMState(str, Enum):
    """Where a VM's record is between intent and end; the transitions stand in ``Lifecycle.TRANSITIONS``."""

    PLANNED = "Planned"  # the intent is recorded, nothing was sent
    REQUESTED = "Requested"  # the cloud accepted
    BOOTING = "Booting"  # the server is active, waiting for its first word
    RUNNING = "Running"  # it spoke, or its pilot was seen
    DRAINING = "Draining"  # takes no new payload
    DELETING = "Deleting"  # asked to be deleted until the cloud no longer lists it
    ENDED = "Ended"


class Outcome(str, Enum):
    """How a VM ended."""

    WORKED = "Worked"
    NO_WORK = "NoWork"
    FIZZLED = "Fizzled"
    FAILED_TO_START = "FailedToStart"
    NEVER_REPORTED = "NeverReported"
    HEARTBEAT_LOST = "HeartbeatLost"
    EXPIRED = "Expired"
    VANISHED = "Vanished"
    KILLED = "Killed"
    REJECTED = "Rejected"


class ServerState(str, Enum):
    """A server as the cloud tells it (the values of ``CloudEndpoint.ServerStatus``)."""

    BUILDING = "BUILDING"
    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"
    ERROR = "ERROR"
    DELETING = "DELETING"
    UNKNOWN = "UNKNOWN"


class PilotState(str, Enum):
    """What PilotAgentsDB knows of a VM's pilot, folded to what a decision needs."""

    UNKNOWN = "Unknown"  # not registered (yet)
    NOT_ASKED = "NotAsked"  # DIRAC did not answer: nothing may rest on the pilot's silence
    WAITING = "Waiting"  # Submitted or Waiting
    RUNNING = "Running"
    FINISHED = "Finished"  # Done, Failed, Deleted, Aborted


class _Key:
    """A name of several words. The same words give the same object, for names are compared far more often than made:
    each cycle looks some up for each VM."""

    __slots__ = ("_endpoint",)
    # Of one configuration there are a few thousand, so none is forgotten; setdefault of a dict is safe between threads.
    _known: ClassVar[dict[tuple, Self]] = {}

    def __new__(cls, site: str, ce: str, *queue: str) -> Self:
        words = (cls, site, ce, *queue)
        return _Key._known.get(words) or _Key._known.setdefault(words, object.__new__(cls))

    def __reduce__(self) -> tuple:
        return type(self), tuple(vars(self).values())


@dataclass(frozen=True, order=True)
class EndpointKey(_Key):
    """A CE of a site in the CS."""

    site: str
    ce: str

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __str__(self) -> str:
        return f"{self.site}/{self.ce}"


@dataclass(frozen=True, order=True)
class VMTypeKey(_Key):
    """A queue of a CE in the CS."""

    site: str
    ce: str
    queue: str

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __new__(cls, site: str, ce: str, queue: str) -> Self:
        return super().__new__(cls, site, ce, queue)

    @property
    def endpoint(self) -> EndpointKey:
        try:
            return self._endpoint
        except AttributeError:
            object.__setattr__(self, "_endpoint", EndpointKey(self.site, self.ce))
            return self._endpoint

    def __str__(self) -> str:
        return f"{self.site}/{self.ce}/{self.queue}"


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """Waiting jobs of one DIRAC task queue; ``matches`` are the VM types for which the Matcher named it.

    ``vo`` is that of the queue's OwnerGroup. ``processors`` are those of each job. ``fell_at`` is when the number of
    its jobs was last seen to fall, or else the queue was first seen; None when nobody remembers.
    """

    id: int
    vo: str
    jobs: int
    processors: int = 1
    matches: frozenset[VMTypeKey] = frozenset()
    fell_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """A pair of limits, soft and hard, in VMs and in cores; None: no such limit.

    A hard limit is never exceeded, intents included. At a soft limit or beyond it one VM at a time is started: the next
    one waits until no VM of that place is starting.
    """

    max_vms: int | None = None
    max_cores: int | None = None
    soft_max_vms: int | None = None
    soft_max_cores: int | None = None


@dataclass(frozen=True, slots=True)
class VMType:
    """What can be booted at an endpoint. ``vos`` empty means every VO.

    ``fills_cores`` is true when one VM runs several jobs at once (inner CE Pool); else it runs one at a time.
    ``unusable`` is "" or the reason why none can be started (its image or flavor does not exist …).
    ``cores`` are those of the flavor, ``slots`` those that its pilot offers to jobs (0: all of them).
    ``matches_known`` is false when the Matcher gave no answer for it, or could not be told its size.
    """

    key: VMTypeKey
    cores: int
    ram_mib: int = 0
    vos: frozenset[str] = frozenset()
    bounds: Bounds = Bounds()
    fills_cores: bool = False
    unusable: str = ""
    slots: int = 0
    matches_known: bool = True

    def serves(self, vo: str) -> bool:
        """Whether the VO may use it; DIRAC compares VO names without case."""
        return not self.vos or any(name.lower() == vo.lower() for name in self.vos)

    def jobs_at_once(self, processors: int, cores: int = 0) -> int:
        """How many jobs of that many processors one VM of this type runs at a time (0: it cannot run any).

        ``cores``: those of a VM that was made when the flavor was another, or is known while the flavor is not.
        """
        offered = self.slots or cores or self.cores
        if processors > offered:
            return 0
        return offered // processors if self.fills_cores else 1


@dataclass(frozen=True, slots=True)
class ServerView:
    """One of *our* servers as listed: name and metadata agree that it is this installation's VM ``vm``.

    ``lacks_room``: it went to ERROR because the cloud had no room for it.
    """

    id: str
    vm: str
    state: ServerState
    fault: str = ""
    lacks_room: bool = False


@dataclass(frozen=True, slots=True)
class UnknownServer:
    """One of this installation's servers, by name and metadata, that no record knows, or whose record has ended and
    that only this listing lacks.

    ``seen`` counts the complete listings in a row, this one included, that held it. ``created_at`` is the cloud's word,
    None when it does not tell. ``pilot`` is what DIRAC knows of the pilot that a VM of this id would have.
    """

    id: str
    vm: str
    vo: str
    cores: int
    seen: int
    created_at: datetime | None = None
    pilot: PilotState = PilotState.UNKNOWN


@dataclass(frozen=True, slots=True)
class CloudUse:
    """Quota and use of a project, by us and by others; None means no limit. Taken with the listing."""

    max_instances: int | None = None
    max_cores: int | None = None
    max_ram_mib: int | None = None
    used_instances: int = 0
    used_cores: int = 0
    used_ram_mib: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint in this cycle.

    ``unusable`` is "" or the reason why nothing may be started. ``servers`` is None when the listing failed or broke
    off: then no record of this endpoint changes. ``cloud`` is None when the limits are unknown. ``suspect_since`` is
    since when its complete listings are suspect (``Watch.is_suspect``) without a break, None when this one is not.
    ``watching_since`` is since when its listings came without a break; time-outs there count from that too.

    ``bounds`` are the endpoint's own limits, ``vo_bounds`` those of a VO there. ``priority``: endpoints of a higher one
    are filled first. ``domain``: endpoints that name the same one share one quota ("": it has its own).
    ``max_starting_cores`` limits the cores of VMs that have not shown life yet.

    ``shares`` weigh the VOs (empty: all alike; a VO that is not in it uses only what is lent). ``others`` are the cores
    in use there per VO by other installations' servers. ``lendable_since`` is per VO (in lower
    case) since when there was room and no other installation started anything for it, without a break; a VO is not in
    it when it is not so now.

    ``probes``: so many VMs per VO are kept on their way or waiting for work without known demand (vacuum mode).
    ``unknown``: our servers that no record knows.
    """

    key: EndpointKey
    vm_types: tuple[VMType, ...] = ()
    bounds: Bounds = Bounds()
    unusable: str = ""
    servers: tuple[ServerView, ...] | None = None
    cloud: CloudUse | None = None
    suspect_since: datetime | None = None
    watching_since: datetime | None = None
    vo_bounds: Mapping[str, Bounds] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    priority: int = 0
    domain: str = ""
    max_starting_cores: int | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    lendable_since: Mapping[str, datetime] = field(default_factory=dict)
    probes: int = 0
    unknown: tuple[UnknownServer, ...] = ()


@dataclass(frozen=True, slots=True)
class EndReport:
    """What a VM said of its own end: an HSF code (100 to 700) and a text."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """A VM's record, with what this cycle saw of it.

    ``missed`` counts the complete listings in a row, this one included, that did not hold its server.
    ``spoke`` is true once its first word was seen. ``pilot_finished_at`` is when its pilot
    was first seen finished, or the VM first said its end.
    ``jobs`` are the jobs its pilot ever matched. ``task_queue`` is the queue it was started for. ``outcome``,
    ``outcome_reason`` and ``outcome_code`` are set as soon as its end was decided (state Deleting).
    ``heartbeat_at`` is its last heartbeat, None while none ever came. ``no_room``: the cloud had no room for it.
    ``drain`` is "" or why it is to take no new payload, ``held`` "" or why nothing may end it (operators' levers).
    ``drifted`` is "" or in what it differs from what its VM type would boot today.
    ``pilot_entered_at`` is since when DIRAC knows its pilot, None while it does not: until then its silence says
    nothing. ``jobs_known`` is false when the pilot may have matched a job before that, which nobody could note.
    ``since`` is when it came into its state, ``running_at`` when it first began to run. ``version`` is that of all that
    it was told at boot.
    """

    id: str
    vm_type: VMTypeKey
    vo: str
    cores: int
    state: VMState
    created_at: datetime
    since: datetime
    ram_mib: int = 0
    server_id: str = ""
    missed: int = 0
    spoke: bool = False
    pilot: PilotState = PilotState.UNKNOWN
    jobs: int = 0
    said: EndReport | None = None
    outcome: Outcome | None = None
    outcome_reason: str = ""
    outcome_code: int = 0
    pilot_finished_at: datetime | None = None
    task_queue: int | None = None
    heartbeat_at: datetime | None = None
    no_room: bool = False
    drain: str = ""
    held: str = ""
    drifted: str = ""
    pilot_entered_at: datetime | None = None
    jobs_known: bool = False
    running_at: datetime | None = None
    version: str = ""

    @property
    def endpoint(self) -> EndpointKey:
        return self.vm_type.endpoint

    @property
    def alive_since(self) -> datetime:
        """When a VM that runs came to life; one that was drained and works again is in its state for a shorter time."""
        return self.running_at or self.since


@dataclass(frozen=True, slots=True)
class RecentEnd:
    """A VM that ended a short while ago: what back-off and the measured boot success need.

    ``no_room``: the cloud had no room for it, at its create or after; that says nothing of the VM type's health.
    """

    vm_type: VMTypeKey
    vo: str
    outcome: Outcome
    at: datetime
    no_room: bool = False


class LeverKind(str, Enum):
    """What an operator can do to a running director."""

    PAUSE = "Pause"  # no VM is created anywhere
    DRAIN = "Drain"  # nothing is started, and VMs take no new payload
    HOLD = "Hold"  # this VM is left as it is, for debugging
    OVERRIDE = "Override"  # another value for a limit or a share


@dataclass(frozen=True, slots=True)
class Lever:
    """An operator's order, with who gave it, why, and until when (None: until it is taken back).

    It concerns what its fields name; an empty one means any. DRAIN: a site, endpoint, VM type, VO, or a VO there. HOLD:
    ``vm``. OVERRIDE: ``option`` is MaxVMs, MaxCores, SoftMaxVMs or SoftMaxCores of an endpoint, a VM type or a VO
    (at an endpoint, or everywhere), or Share of a VO at an endpoint; ``value`` None takes the limit away.
    """

    id: int
    kind: LeverKind
    who: str
    why: str
    since: datetime
    until: datetime | None = None
    site: str = ""
    ce: str = ""
    queue: str = ""
    vo: str = ""
    vm: str = ""
    option: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one cycle saw. ``vos`` are the VOs that can be served now; ``refused_vos`` say why one cannot.

    ``watching_since`` is when the present unbroken run of cycles began (the director's start, or its first cycle after
    a pause): time-outs count only the time in which somebody looked. None: no such correction.
    ``vo_bounds`` limit a VO everywhere, ``domains`` a quota domain. ``levers`` may hold some that are over.
    ``gateway_since`` is since when VMs could reach a gateway without a break; None: they cannot now.
    ``untried``: by VM type and VO (in lower case) the version of what its VMs are told today, where VMs came to life
    well with another version and none did with this one yet.
    """

    endpoints: tuple[Endpoint, ...] = ()
    task_queues: tuple[TaskQueue, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
    recent_ends: tuple[RecentEnd, ...] = ()
    vos: frozenset[str] = frozenset()
    refused_vos: dict[str, str] = field(default_factory=dict)
    watching_since: datetime | None = None
    vo_bounds: Mapping[str, Bounds] = field(default_factory=dict)
    domains: Mapping[str, Bounds] = field(default_factory=dict)
    levers: tuple[Lever, ...] = ()
    gateway_since: datetime | None = None
    untried: Mapping[tuple[VMTypeKey, str], str] = field(default_factory=dict)
