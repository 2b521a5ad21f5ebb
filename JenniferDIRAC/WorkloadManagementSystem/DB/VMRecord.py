"""What the VirtualMachineDB takes and gives: immutable values, times in timezone-aware UTC, RAM in MiB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import ERROR_CODE, GOOD_OUTCOMES
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    EndpointKey,
    Lever,
    Outcome,
    RecentEnd,
    VMState,
    VMTypeKey,
)


@dataclass(frozen=True)
class Intent:
    """A VM that is about to be asked for; ``vm_id`` is a UUID as 32 hexadecimal digits. ``version`` is that of all
    that it is told at boot."""

    vm_id: str
    vm_type: VMTypeKey
    vo: str
    cores: int
    ram_mib: int
    task_queue: int
    pilot_reference: str
    pilot_stamp: str
    template: str = ""
    version: str = ""
    image: str = ""
    flavor: str = ""
    networks: str = ""
    zone: str = ""

    @property
    def reason(self) -> str:
        """That of the VM's first transition."""
        return f"task queue {self.task_queue} of {self.vo}"


@dataclass(frozen=True)
class VMRecord:
    """All we know of one VM, except its console.

    ``since`` is when it came into its state. ``image``, ``flavor`` and ``networks`` are the resolved ids, the last
    joined by commas. ``version`` is that of all that it was told at boot, "" where nobody noted it. ``code`` is HSF's,
    0 while there is none. ``said_*`` are the VM's own words: not to be trusted.
    ``no_room``: the cloud had no room for it. ``heartbeat_at`` is its last heartbeat.
    ``pilot_entered_at`` is since when DIRAC knows its pilot.
    """

    vm_id: str
    vm_type: VMTypeKey
    vo: str
    cores: int
    ram_mib: int
    state: VMState
    since: datetime
    created_at: datetime
    pilot_reference: str
    pilot_stamp: str
    task_queue: int
    template: str
    version: str = ""
    outcome: Outcome | None = None
    outcome_reason: str = ""
    code: int = 0
    server_id: str = ""
    image: str = ""
    flavor: str = ""
    networks: str = ""
    zone: str = ""
    jobs: int = 0
    said_code: int | None = None
    said_reason: str = ""
    pilot_entered_at: datetime | None = None
    first_word_at: datetime | None = None
    running_at: datetime | None = None
    matched_at: datetime | None = None
    pilot_finished_at: datetime | None = None
    ended_at: datetime | None = None
    no_room: bool = False
    heartbeat_at: datetime | None = None

    @property
    def endpoint(self) -> EndpointKey:
        return self.vm_type.endpoint

    @property
    def lived(self) -> bool:
        """Whether it came to life well, as far as a record tells: it had a job, or ended in good order."""
        return self.jobs > 0 or (self.outcome in GOOD_OUTCOMES and self.code < ERROR_CODE)

    @property
    def recent_end(self) -> RecentEnd | None:
        """Its end, if that tells of a VM type's room or health: not that of a VM which an absent cloud never made."""
        if self.outcome is None or self.ended_at is None:
            return None
        if self.outcome is Outcome.FAILED_TO_START and not self.server_id and not self.no_room:
            return None
        return RecentEnd(self.vm_type, self.vo, self.outcome, self.ended_at, self.no_room)

    @property
    def jobs_known(self) -> bool:
        """Whether DIRAC knew its pilot before it spoke: else a match may not have been noted."""
        if self.pilot_entered_at is None:
            return False
        # Within a cycle the word is seen first, and may be old.
        return self.first_word_at is None or self.pilot_entered_at < self.first_word_at


@dataclass(frozen=True)
class Trial:
    """A version of what VMs of a type are told for a VO."""

    vm_type: VMTypeKey
    vo: str
    version: str


@dataclass(frozen=True)
class Transition:
    """One step of a VM's life; ``source`` is None for the intent."""

    source: VMState | None
    target: VMState
    at: datetime
    reason: str
    actor: str


@dataclass(frozen=True)
class CycleReport:
    """What the last cycle did for one VO at one endpoint. Demand that no endpoint can serve has no site and no CE."""

    site: str
    ce: str
    vo: str
    at: datetime
    line: str
    wanted_cores: int = 0
    started: int = 0
    vms: Mapping[VMState, int] = field(default_factory=dict)
    unmet: tuple[Unmet, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class LeverRecord:
    """A lever and how it was taken back; ``released_at`` is None while it was not."""

    lever: Lever
    released_at: datetime | None = None
    released_by: str = ""
    released_why: str = ""


@dataclass(frozen=True)
class Count:
    """How many VMs of a VO are in one state at an endpoint."""

    site: str
    ce: str
    vo: str
    state: VMState
    vms: int
    cores: int
