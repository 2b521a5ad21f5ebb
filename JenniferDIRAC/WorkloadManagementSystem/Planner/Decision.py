"""What the planner decides: a Plan, and for all that it does not do the limit that stopped it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Outcome, VMState, VMTypeKey


class Limit(str, Enum):
    """What stopped a unit of demand; one of these is named for every core that is wanted and not started."""

    PAUSED = "Paused"  # an operator's lever stops creation everywhere
    DRAINED = "Drained"  # an operator's lever drains the site, endpoint, VM type or VO
    NO_MATCHING_VM_TYPE = "NoMatchingVMType"
    VO_NOT_SERVED = "VONotServed"  # the director does not serve the VO, or has no pilot credential for it
    VM_TYPE_UNUSABLE = "VMTypeUnusable"  # its image or flavor is not to be had
    ENDPOINT_UNUSABLE = "EndpointUnusable"  # site mask, resource status, broken configuration, cloud not answering
    CANARY = "Canary"  # what a VM is told has changed, and one VM tries it first
    BACKOFF = "Backoff"
    NO_ROOM = "NoRoom"  # the cloud had no room for this VM type a short while ago
    UNREADY = "TooManyUnready"  # the brake: too many of the endpoint's VMs do not come up
    SHARE = "Share"  # the room is left to a VO of another installation that is below its share
    ENDPOINT_MAX_VMS = "MaxVMs"
    ENDPOINT_MAX_CORES = "MaxCores"
    VM_TYPE_MAX_VMS = "VMTypeMaxVMs"
    VM_TYPE_MAX_CORES = "VMTypeMaxCores"
    VO_MAX_VMS = "VOMaxVMs"  # of the VO everywhere, or at this endpoint
    VO_MAX_CORES = "VOMaxCores"
    DOMAIN_MAX_VMS = "QuotaDomainMaxVMs"
    DOMAIN_MAX_CORES = "QuotaDomainMaxCores"
    SOFT_MAX_VMS = "SoftMaxVMs"  # beyond it one VM at a time is started
    SOFT_MAX_CORES = "SoftMaxCores"
    CLOUD_INSTANCES = "CloudQuotaInstances"
    CLOUD_CORES = "CloudQuotaCores"
    CLOUD_RAM = "CloudQuotaRAM"
    MAX_BOOTING = "MaxBooting"
    MAX_STARTING_CORES = "MaxStartingCores"
    MAX_CREATES_PER_CYCLE = "MaxCreatesPerCycle"


@dataclass(frozen=True, slots=True)
class Create:
    """Record an intent and start one VM for jobs of this task queue. Creates stand in the order of sending.

    Task queue 0 is none: the VM is to look for work that nobody knows of (vacuum mode).
    """

    vm_type: VMTypeKey
    vo: str
    cores: int
    ram_mib: int
    task_queue: int


@dataclass(frozen=True, slots=True)
class Move:
    """A record's transition that needs no call to the cloud. ``server_id`` is set when a server is adopted."""

    vm: str
    source: VMState
    target: VMState
    reason: str
    server_id: str = ""
    outcome: Outcome | None = None
    code: int = 0


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Collect:
    """Have the cloud delete one of our servers that no record knows."""

    endpoint: EndpointKey
    server_id: str
    vm: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one task queue wanted, and what it has: for whoever asks why.

    ``coming`` are the VMs on their way that are counted for it, ``jobs_coming`` the jobs they will take, discounted by
    measured boot success; ``started`` the VMs that this plan creates for it, by VM type, and ``jobs_started`` the jobs
    that these will take; ``jobs_from_running`` are those left to VMs at work. What is then left of ``jobs`` is unmet,
    but for half a job at most.
    """

    task_queue: int
    vo: str
    jobs: int
    processors: int
    coming: tuple[str, ...] = ()
    jobs_coming: float = 0.0
    started: Mapping[VMTypeKey, int] = field(default_factory=dict)
    jobs_started: float = 0.0
    jobs_from_running: float = 0.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """The limit that kept this plan from starting (another) VM of a type for a VO.

    ``left`` is how long it still binds, None when no clock ends it. ``option`` is "" or the CS option that sets it,
    from the section CEs of the site on, or that of the agent, or from /: ``detail`` ends with it.
    """

    vm_type: VMTypeKey
    vo: str
    limit: Limit
    detail: str
    left: timedelta | None = None
    option: str = ""


@dataclass(frozen=True, slots=True)
class Unmet:
    """Cores of a task queue that get nothing, and the limit that stopped them."""

    task_queue: int
    vo: str
    cores: int
    limit: Limit
    detail: str
    vm_type: VMTypeKey | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision. Executing it and planning again on what came of it gives an empty plan."""

    creates: tuple[Create, ...] = ()
    moves: tuple[Move, ...] = ()
    deletes: tuple[Delete, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    collects: tuple[Collect, ...] = ()
    answers: tuple[Answer, ...] = ()
    stops: tuple[Stopped, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.creates or self.moves or self.deletes or self.collects)
