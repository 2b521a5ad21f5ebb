"""What happens inside a simulated VM: it boots, says its first word, and its pilot takes jobs until it finds none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Fault
from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import END, HELLO, PILOT_START
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Pilot
from JenniferDIRAC.WorkloadManagementSystem.Simulator.TaskQueues import Job

if TYPE_CHECKING:
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

SUCCESS, NO_WORK, BAD_NODE = 200, 300, 500  # HSF-TN-2016-04
POWEROFF = 30.0  # seconds from the pilot's end to the server's
# When a VM that is to die or whose pilot is to fail does so, seconds after its first word.
DEATH, FAILURE = 1800.0, 60.0


PILOT_3 = Pilot()  # its own defaults


@dataclass(frozen=True)
class VMSettings:
    """What a simulated VM reads in its user-data. ``linger``: seconds from its pilot's end until it switches itself
    off."""

    vm: str
    reference: str
    vo: str
    site: str
    ce: str
    queue: str
    cores: int
    hours: float
    pool: bool
    pilot: Pilot
    linger: float = POWEROFF

    def user_data(self) -> bytes:
        return json.dumps(vars(self) | {"pilot": self.pilot.model_dump()}).encode()

    @classmethod
    def read(cls, user_data: bytes) -> VMSettings:
        values = json.loads(user_data)
        return cls(**values | {"pilot": Pilot(**values["pilot"])})


@dataclass(frozen=True)
class Constitution:
    """What is drawn when a VM is made: seconds from ACTIVE to its first word, from there to its pilot's first request,
    and what is wrong with it."""

    first_word: float
    pilot: float
    sickness: str = ""


class Guest:
    """One VM. Times are the world's seconds; None while they have not come."""

    def __init__(
        self,
        world: World,
        settings: VMSettings,
        server_id: str,
        boots: Constitution,
        active_at: float,
        fate: Fault | None,
    ):
        self.world, self.settings, self.server_id, self.boots, self.fate = world, settings, server_id, boots, fate
        self.installation = ""
        self.made_at = world.seconds
        self.ready_at: float | None = None
        self.matched_at: float | None = None
        self.idle_since: float | None = None  # the end of its last job
        self.stopped_at: float | None = None
        self.gone_at: float | None = None
        self.spoke = False
        self.closing = False
        self.pilot_over = False
        self.jobs = 0
        self.core_seconds = 0.0  # of jobs, those not finished included
        self.lost_core_seconds = 0.0
        self.running: dict[int, tuple[Job, float]] = {}
        self._cycles = self._misses = self._started = 0
        self._asleep = False
        world.at(active_at, self._active)
        if fate is Fault.VANISH:
            world.at(active_at + (active_at - self.made_at), self._vanished)

    @property
    def at_work(self) -> bool:
        """Whether its pilot asks for jobs or runs some."""
        return self.ready_at is not None and not self.pilot_over and self._alive

    @property
    def _alive(self) -> bool:
        return self.stopped_at is None and self.gone_at is None

    @property
    def free(self) -> int:
        if self.running and not self.settings.pool:
            return 0
        return self.settings.cores - sum(job.processors for job, _ in self.running.values())

    # Its life

    def _active(self) -> None:
        self.world.seen()
        if not self._alive or self.fate in (Fault.NO_CAPACITY, Fault.NEVER_ACTIVE):
            return
        if self.fate is Fault.DIES_AT_ONCE:
            self._stop()
        elif self.boots.sickness != "never_speaks":
            self.world.after(self.boots.first_word, self._first_word)

    def _first_word(self) -> None:
        if not self._alive:
            return
        self.spoke = True
        self._say(HELLO, uptime=round(self.boots.first_word))
        match self.boots.sickness:
            case "pilot_fails":
                self.world.after(FAILURE, lambda: self._end(BAD_NODE, "the pilot ended before any job, exit code 1"))
            case sickness:
                self.world.after(self.boots.pilot, self._pilot)
                if sickness == "dies":
                    self.world.after(DEATH, self._die)

    def _pilot(self) -> None:
        if not self._alive:
            return
        self.ready_at = self.world.seconds
        self._say(PILOT_START)
        self._ask()

    def _ask(self) -> None:
        self._asleep = False
        if not self._alive or self.closing:
            return
        self.world.pilot_is(self.settings.reference, PilotState.RUNNING)  # the Matcher notes who asks
        matched = False
        while self.free and (job := self._match()) is not None:
            matched = True
            self._misses = 0
            self._run(job)
        self._cycles += 1
        if not self.free:
            return
        pilot = self.settings.pilot
        if matched:
            self._sleep(pilot.polling)
            return
        self._misses += 1
        if self._misses > (max(pilot.stop_after, self.settings.cores) if self.settings.pool else pilot.stop_after):
            self._close()
        else:
            self._sleep(pilot.polling * (self._misses + 1) * 2)

    def _sleep(self, seconds: float) -> None:
        self._asleep = True
        self.world.after(seconds, self._ask)

    def _match(self) -> Job | None:
        left = self.settings.hours - (self.world.seconds - self.ready_at) / 3600
        # A job as long as the queue allows is matched by a VM that has just started.
        return self.world.take_job(self, self.free, left if self.jobs else self.settings.hours)

    def _run(self, job: Job) -> None:
        self._started += 1
        number = self._started
        self.running[number] = job, self.world.seconds
        if self.matched_at is None:
            self.matched_at = self.world.seconds
        self.idle_since = None
        self.jobs += 1
        self.world.pilot_took_a_job(self.settings.reference)
        self.world.after(job.seconds, lambda: self._job_done(number))

    def _job_done(self, number: int) -> None:
        if number not in self.running or not self._alive:
            return
        job, _ = self.running.pop(number)
        self.core_seconds += job.processors * job.seconds
        self.world.job_ended(self, job)
        if not self.running:
            self.idle_since = self.world.seconds
        if self.closing or (self._cycles >= self.settings.pilot.max_cycles and not self.settings.pool):
            self._close()
        elif not self._asleep:
            self._ask()

    def _close(self) -> None:
        """Its pilot takes no more jobs, and ends with the last of them."""
        self.closing = True
        if not self.running:
            self._end(SUCCESS if self.jobs else NO_WORK, "Nothing to do for more than some cycles")

    def _end(self, code: int, reason: str) -> None:
        if not self._alive or self.pilot_over:
            return
        self.pilot_over = True
        self.world.pilot_is(self.settings.reference, PilotState.FINISHED)
        self._say(END, code=code, reason=reason)
        self.world.after(self.settings.linger, self._stop)

    def _stop(self) -> None:
        if self._alive:
            self.stopped_at = self.world.seconds
            self.world.stop_server(self)

    def _die(self) -> None:
        if self._alive and not self.pilot_over:
            self._lose_jobs()
            self._stop()

    def _vanished(self) -> None:
        if self.gone_at is None:
            self.gone()

    # What others do to it

    def gone(self) -> None:
        """Its server is no more."""
        self.gone_at = self.world.seconds
        self._lose_jobs()
        self.world.guest_gone(self)

    def drain(self) -> None:
        """Takes no more jobs."""
        if not self.pilot_over and self._alive and self.ready_at is not None:
            self._close()

    def _lose_jobs(self) -> None:
        lost = []
        for job, since in self.running.values():
            self.lost_core_seconds += job.processors * (self.world.seconds - since)
            lost.append(job)
        self.running.clear()
        if lost:
            self.world.jobs_lost(self, lost)

    def _say(self, word: str, **values: object) -> None:
        text = "".join(f" {name}={json.dumps(value)}" for name, value in values.items())
        self.world.console(self, f"\n@jennifer {self.settings.vm} {word}{text}\n")
