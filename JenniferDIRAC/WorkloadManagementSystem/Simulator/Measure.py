"""What a simulation comes to: use, waste and waiting, from what happened in the world."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

if TYPE_CHECKING:
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import Guest
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.TaskQueues import Job
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

POINTS = 1500  # of a drawing


@dataclass
class Waste:
    """Core-seconds of VMs. ``held`` is all, from the request to the end of the server or its own switching off;
    ``busy`` what jobs used of it; ``boot`` until the pilot's first request for a job; ``idle`` free cores between that
    and the end of the last job, other work on the VM or not; ``tail`` after its last job; ``failed`` all of VMs that
    never had a job; ``lost`` of jobs that were cut off."""

    held: float = 0
    busy: float = 0
    boot: float = 0
    idle: float = 0
    tail: float = 0
    failed: float = 0
    lost: float = 0


@dataclass(frozen=True)
class Point:
    """A moment of a drawing: mean cores held and busy, and jobs waiting at its end, by VO."""

    day: float
    held: dict[str, float]
    busy: dict[str, float]
    waiting: dict[str, int]


@dataclass
class _Use:
    """Cores in use, and core-seconds since the last point."""

    cores: Counter = field(default_factory=Counter)
    sums: Counter = field(default_factory=Counter)

    def pass_time(self, seconds: float) -> None:
        for key, cores in self.cores.items():
            if cores:
                self.sums[key] += cores * seconds


class Measure:
    """Counts from ``since`` on; VMs made and jobs taken before are not counted."""

    def __init__(self, world: World):
        scenario = world.scenario
        self._world = world
        self.since = scenario.warm_up_days * 86400
        self.waste = Waste()
        self.waste_of: defaultdict[str, Waste] = defaultdict(Waste)
        self.started: Counter[str] = Counter()  # VMs by VO
        self.needed: Counter[str] = Counter()  # VMs that ran a job, by VO
        self.jobs_submitted: Counter[str] = Counter()
        self.jobs_done = 0
        self.waits: list[float] = []
        self.first_matches: dict[int, float] = {}  # by the number of a submission that found no VM of its VO
        self.points: list[Point] = []
        self.largest: Counter[EndpointKey] = Counter()  # cores at an endpoint
        self._vms: Counter[str] = Counter()
        self._held, self._busy = _Use(), _Use()
        self._at_endpoint: Counter[EndpointKey] = Counter()
        self._place: Counter[tuple[EndpointKey, str]] = Counter()
        self.hungry_use: Counter[tuple[EndpointKey, str]] = Counter()  # core-seconds while all its VOs were hungry
        self.shares = {EndpointKey(cloud.site, cloud.ce): cloud.shares for cloud in scenario.clouds if cloud.shares}
        self._last = 0.0
        self._step = scenario.days * 86400 / POINTS
        self._next_point = self._step

    # What happens

    def pass_time(self, until: float) -> None:
        while self._next_point <= until:
            self._pass(self._next_point)
            self._point()
            self._next_point += self._step
        self._pass(until)

    def _pass(self, until: float) -> None:
        seconds = until - self._last
        if seconds <= 0:
            return
        self._last = until
        self._held.pass_time(seconds)
        self._busy.pass_time(seconds)
        if until <= self.since:
            return
        waiting = self._world.queues.waiting
        for key, shares in self.shares.items():
            if all(waiting[vo] for vo, share in shares.items() if share):
                for vo in shares:
                    self.hungry_use[key, vo] += self._place[key, vo] * seconds

    def _point(self) -> None:
        step = self._step
        held, busy = ({vo: sum_ / step for vo, sum_ in use.sums.items()} for use in (self._held, self._busy))
        self._held.sums.clear()
        self._busy.sums.clear()
        waiting = {vo: jobs for vo, jobs in self._world.queues.waiting.items() if jobs}
        self.points.append(Point(self._last / 86400, held, busy, waiting))

    def submitted(self, vo: str, jobs: int) -> None:
        if self._counts:
            self.jobs_submitted[vo] += jobs

    def made(self, guest: Guest) -> None:
        self._hold(guest, +1)
        if self._counts:
            self.started[guest.settings.vo] += 1

    def job_taken(self, guest: Guest, job: Job) -> None:
        self._busy.cores[job.vo] += job.processors
        if self._counts:
            self.waits.append(self._world.seconds - job.at)
            if job.cold is not None:
                self.first_matches.setdefault(job.cold, self._world.seconds - job.at)

    def job_ended(self, guest: Guest, job: Job, lost: bool = False) -> None:
        self._busy.cores[job.vo] -= job.processors
        self.jobs_done += not lost and self._counts

    def stopped(self, guest: Guest) -> None:
        """It switched itself off: from now on it costs a quota, but no core."""
        self._let_go(guest)

    def gone(self, guest: Guest) -> None:
        if guest.stopped_at is None:
            self._let_go(guest)
        self._at_endpoint[_place(guest)] -= guest.settings.cores
        if guest.made_at >= self.since:
            self._account(guest)

    def finish(self) -> None:
        """Count the VMs that are still there."""
        for cloud in self._world.clouds.values():
            for guest in cloud.guests.values():
                if guest.made_at >= self.since:
                    self._account(guest)

    # Answers

    def vms_of(self, vo: str) -> int:
        return self._vms[vo]

    @property
    def _counts(self) -> bool:
        return self._world.seconds >= self.since

    def _hold(self, guest: Guest, sign: int) -> None:
        cores, vo = sign * guest.settings.cores, guest.settings.vo
        self._held.cores[vo] += cores
        self._vms[vo] += sign
        self._place[_place(guest), vo] += cores
        if sign > 0:
            key = _place(guest)
            self._at_endpoint[key] += cores
            self.largest[key] = max(self.largest[key], self._at_endpoint[key])

    def _let_go(self, guest: Guest) -> None:
        self._hold(guest, -1)

    def _account(self, guest: Guest) -> None:
        now, cores = self._world.seconds, guest.settings.cores
        over = min(each for each in (guest.stopped_at, guest.gone_at, now) if each is not None)
        running = sum(job.processors * (over - since) for job, since in guest.running.values())
        busy = guest.core_seconds + running
        for waste in (self.waste, self.waste_of[guest.settings.vo]):
            held = cores * (over - guest.made_at)
            waste.held += held
            waste.busy += busy
            waste.lost += guest.lost_core_seconds
            if not guest.jobs:
                waste.failed += held
                continue
            boot = cores * (guest.ready_at - guest.made_at)
            tail = 0.0 if guest.idle_since is None else cores * (over - guest.idle_since)
            waste.boot += boot
            waste.tail += tail
            waste.idle += held - boot - tail - busy - guest.lost_core_seconds
        self.needed[guest.settings.vo] += guest.jobs > 0


def _place(guest: Guest) -> EndpointKey:
    return EndpointKey(guest.settings.site, guest.settings.ce)
