"""The planner's values: what a cycle sees (Snapshot), what it may do (Policy) and what it decides (Plan).

Only the standard library: the planner is called by an agent today and may be called by something else tomorrow.
Times are timezone-aware UTC, cores are whole cores, RAM is in MiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum


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


class Limit(str, Enum):
    """What stopped a unit of demand; one of these is named for every core that is wanted and not started."""

    NO_MATCHING_VM_TYPE = "NoMatchingVMType"
    VO_NOT_SERVED = "VONotServed"  # the director does not serve the VO, or has no pilot credential for it
    VM_TYPE_UNUSABLE = "VMTypeUnusable"  # its image or flavor is not to be had
    ENDPOINT_UNUSABLE = "EndpointUnusable"  # site mask, resource status, broken configuration, cloud not answering
    BACKOFF = "Backoff"
    ENDPOINT_MAX_VMS = "MaxVMs"
    ENDPOINT_MAX_CORES = "MaxCores"
    VM_TYPE_MAX_VMS = "VMTypeMaxVMs"
    VM_TYPE_MAX_CORES = "VMTypeMaxCores"
    CLOUD_INSTANCES = "CloudQuotaInstances"
    CLOUD_CORES = "CloudQuotaCores"
    CLOUD_RAM = "CloudQuotaRAM"
    MAX_BOOTING = "MaxBooting"
    MAX_CREATES_PER_CYCLE = "MaxCreatesPerCycle"


@dataclass(frozen=True, order=True)
class EndpointKey:
    """A CE of a site in the CS."""

    site: str
    ce: str

    def __str__(self) -> str:
        return f"{self.site}/{self.ce}"


@dataclass(frozen=True, order=True)
class VMTypeKey:
    """A queue of a CE in the CS."""

    site: str
    ce: str
    queue: str

    @property
    def endpoint(self) -> EndpointKey:
        return EndpointKey(self.site, self.ce)

    def __str__(self) -> str:
        return f"{self.site}/{self.ce}/{self.queue}"


@dataclass(frozen=True)
class TaskQueue:
    """Waiting jobs of one DIRAC task queue; ``matches`` are the VM types for which the Matcher named it.

    ``vo`` is that of the queue's OwnerGroup. ``processors`` are those of each job.
    """

    id: int
    vo: str
    jobs: int
    processors: int = 1
    matches: frozenset[VMTypeKey] = frozenset()


@dataclass(frozen=True)
class VMType:
    """What can be booted at an endpoint. ``vos`` empty means every VO. ``max_*`` None means no limit of its own.

    ``fills_cores`` is true when one VM runs several jobs at once (inner CE Pool); else it runs one at a time.
    ``unusable`` is "" or the reason why none can be started (its image or flavor does not exist …).
    ``cores`` are those of the flavor, ``slots`` those that its pilot offers to jobs (0: all of them).
    ``matches_known`` is false when the Matcher gave no answer for it, or could not be told its size.
    """

    key: VMTypeKey
    cores: int
    ram_mib: int = 0
    vos: frozenset[str] = frozenset()
    max_vms: int | None = None
    max_cores: int | None = None
    fills_cores: bool = False
    unusable: str = ""
    slots: int = 0
    matches_known: bool = True

    def jobs_at_once(self, processors: int, cores: int = 0) -> int:
        """How many jobs of that many processors one VM of this type runs at a time (0: it cannot run any).

        ``cores``: those of a VM that was made when the flavor was another, or is known while the flavor is not.
        """
        offered = self.slots or cores or self.cores
        if processors > offered:
            return 0
        return offered // processors if self.fills_cores else 1


@dataclass(frozen=True)
class ServerView:
    """One of *our* servers as listed: name and metadata agree that it is this installation's VM ``vm``."""

    id: str
    vm: str
    state: ServerState
    fault: str = ""


@dataclass(frozen=True)
class CloudUse:
    """Quota and use of a project, by us and by others; None means no limit. Taken with the listing."""

    max_instances: int | None = None
    max_cores: int | None = None
    max_ram_mib: int | None = None
    used_instances: int = 0
    used_cores: int = 0
    used_ram_mib: int = 0


@dataclass(frozen=True)
class Endpoint:
    """An endpoint in this cycle.

    ``unusable`` is "" or the reason why nothing may be started. ``servers`` is None when the listing failed or broke
    off: then no record of this endpoint changes. ``cloud`` is None when the limits are unknown. ``suspect_since`` is
    since when its complete listings are suspect (``Lifecycle.is_suspect``) without a break, None when this one is not.
    ``watching_since`` is since when its listings came without a break; time-outs there count from that too.
    """

    key: EndpointKey
    vm_types: tuple[VMType, ...] = ()
    max_vms: int | None = None
    max_cores: int | None = None
    unusable: str = ""
    servers: tuple[ServerView, ...] | None = None
    cloud: CloudUse | None = None
    suspect_since: datetime | None = None
    watching_since: datetime | None = None


@dataclass(frozen=True)
class EndReport:
    """What a VM said of its own end: an HSF code (100 to 700) and a text."""

    code: int
    reason: str


@dataclass(frozen=True)
class VirtualMachine:
    """A VM's record, with what this cycle saw of it.

    ``missed`` counts the complete listings in a row, this one included, that did not hold its server.
    ``spoke`` is true once its first word was seen. ``pilot_finished_at`` is when its pilot
    was first seen finished, or the VM first said its end.
    ``jobs`` are the jobs its pilot ever matched. ``task_queue`` is the queue it was started for. ``outcome``,
    ``outcome_reason`` and ``outcome_code`` are set as soon as its end was decided (state Deleting).
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

    @property
    def endpoint(self) -> EndpointKey:
        return self.vm_type.endpoint


@dataclass(frozen=True)
class RecentEnd:
    """A VM that ended a short while ago: what back-off needs."""

    vm_type: VMTypeKey
    vo: str
    outcome: Outcome
    at: datetime


@dataclass(frozen=True)
class Snapshot:
    """Everything one cycle saw. ``vos`` are the VOs that can be served now; ``refused_vos`` say why one cannot.

    ``watching_since`` is when the present unbroken run of cycles began (the director's start, or its first cycle after
    a pause): time-outs count only the time in which somebody looked. None: no such correction.
    """

    endpoints: tuple[Endpoint, ...] = ()
    task_queues: tuple[TaskQueue, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
    recent_ends: tuple[RecentEnd, ...] = ()
    vos: frozenset[str] = frozenset()
    refused_vos: dict[str, str] = field(default_factory=dict)
    watching_since: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """Time-outs and caps; each default carries its reason in ``docs/operating.md``."""

    settle_timeout: timedelta = timedelta(minutes=2)  # intent without a server in two listings: it was never made
    launch_timeout: timedelta = timedelta(minutes=10)  # request to ACTIVE
    registration_timeout: timedelta = timedelta(minutes=15)  # ACTIVE to first word
    poweroff_timeout: timedelta = timedelta(minutes=10)  # pilot finished to server STOPPED
    max_lifetime: timedelta = timedelta(days=7)
    fizzle_time: timedelta = timedelta(minutes=10)  # a VM that ends sooner without a job or a reason fizzled
    backoff: timedelta = timedelta(minutes=5)
    max_booting: int = 20  # per endpoint
    max_creates_per_cycle: int = 10  # per endpoint
    max_deletes_per_cycle: int = 20  # per endpoint
    missed_listings: int = 2  # complete listings without a server before its record believes it
    suspect_timeout: timedelta = timedelta(minutes=30)  # a list that stays suspect for longer is believed


@dataclass(frozen=True)
class Create:
    """Record an intent and start one VM for jobs of this task queue. Creates stand in the order of sending."""

    vm_type: VMTypeKey
    vo: str
    cores: int
    ram_mib: int
    task_queue: int


@dataclass(frozen=True)
class Move:
    """A record's transition that needs no call to the cloud. ``server_id`` is set when a server is adopted."""

    vm: str
    source: VMState
    target: VMState
    reason: str
    server_id: str = ""
    outcome: Outcome | None = None
    code: int = 0


@dataclass(frozen=True)
class Delete:
    """Move the record to Deleting and ask the cloud to delete the server.

    With source Deleting or Ended the record stays as it is, and only the cloud is asked (again).
    """

    vm: str
    endpoint: EndpointKey
    server_id: str
    source: VMState
    outcome: Outcome
    reason: str
    code: int = 0


@dataclass(frozen=True)
class Unmet:
    """Cores of a task queue that get nothing, and the limit that stopped them."""

    task_queue: int
    vo: str
    cores: int
    limit: Limit
    detail: str
    vm_type: VMTypeKey | None = None


@dataclass(frozen=True)
class Plan:
    """The decision. Executing it and planning again on what came of it gives an empty plan."""

    creates: tuple[Create, ...] = ()
    moves: tuple[Move, ...] = ()
    deletes: tuple[Delete, ...] = ()
    unmet: tuple[Unmet, ...] = ()
