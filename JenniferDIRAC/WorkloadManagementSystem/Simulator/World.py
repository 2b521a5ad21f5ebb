"""The simulated world: a clock, events, clouds with VMs in them, and DIRAC's task queues and pilots.

Nothing here decides anything: directors and other provisioners act on the world through its clouds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand, DiracUnavailable, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, PilotState, TaskQueue, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import Guest
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Measure import Measure
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Scenario
from JenniferDIRAC.WorkloadManagementSystem.Simulator.SimulatedCloud import SimulatedCloud
from JenniferDIRAC.WorkloadManagementSystem.Simulator.TaskQueues import Job, TaskQueues
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import Submission

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HS06_SECONDS_PER_HOUR = 36000  # of DIRAC's reference core


class World:
    """``seconds`` count from the beginning. ``sights`` counts what a director could see of it, and what would make
    it decide otherwise: fewer waiting jobs alone never do."""

    def __init__(self, scenario: Scenario, submissions: Iterable[Submission]):
        self.scenario = scenario
        self.seconds = 0.0
        self.now = EPOCH
        self.sights = 0
        self.faults_over = False
        self.queues = TaskQueues()
        self.pilots: dict[str, PilotFacts] = {}
        self.measure = Measure(self)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._submissions = iter(submissions)
        self._number = 0
        self.clouds = {
            EndpointKey(cloud.site, cloud.ce): SimulatedCloud(
                self, cloud, f"{scenario.seed}/{cloud.site}/{cloud.ce}", lambda: self.faults_over
            )
            for cloud in scenario.clouds
        }
        self.hours = {
            VMTypeKey(cloud.site, cloud.ce, one.queue): one.hours for cloud in scenario.clouds for one in cloud.vm_types
        }
        #: Who acts now; what is told of every server that is made, and of every one that is deleted, with who did it.
        self.actor = ""
        self.on_made: Callable[[Guest], None] = lambda guest: None
        self.on_delete: Callable[[str, Guest], None] = lambda actor, guest: None
        self._next_submission()

    # Time

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(seconds, self.seconds), next(self._order), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.seconds + seconds, act)

    @property
    def next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def advance(self, until: float) -> None:
        """Let everything happen that happens until then."""
        while self._events and self._events[0][0] <= until:
            self.step()
        self._set(until)

    def step(self) -> None:
        """Let the next event happen."""
        at, _, act = heapq.heappop(self._events)
        self._set(at)
        act()

    def _set(self, seconds: float) -> None:
        self.measure.pass_time(seconds)
        self.seconds = seconds
        self.now = EPOCH + timedelta(seconds=seconds)

    def seconds_of(self, moment: datetime) -> float:
        return (moment - EPOCH).total_seconds()

    def seen(self) -> None:
        """Something changed that a director could see."""
        self.sights += 1

    # Jobs

    def _next_submission(self) -> None:
        submission = next(self._submissions, None)
        if submission is not None:
            self.at(submission.at, lambda: self.submit(submission))

    def submit(self, submission: Submission) -> None:
        """These jobs, and some time later the next."""
        cold = self._number if not self.measure.vms_of(submission.vo) else None
        self._number += 1
        self.queues.add(
            Job(self.seconds, submission.vo, submission.processors, each, cold) for each in submission.seconds
        )
        self.measure.submitted(submission.vo, len(submission.seconds))
        self.seen()
        self._next_submission()

    def take_job(self, guest: Guest, processors: int, hours: float) -> Job | None:
        job = self.queues.take(guest.settings.vo, processors, hours)
        if job is not None:
            self.measure.job_taken(guest, job)
            if guest.jobs == 0 or not self.queues.waiting[job.vo]:
                self.seen()
        return job

    def job_ended(self, guest: Guest, job: Job) -> None:
        self.measure.job_ended(guest, job)

    def jobs_lost(self, guest: Guest, jobs: list[Job]) -> None:
        """DIRAC reschedules what its VM did not finish."""
        for job in jobs:
            self.measure.job_ended(guest, job, lost=True)
        self.queues.add(jobs, again=True)
        self.seen()

    def stop_work(self) -> None:
        """No job waits any more, and none is submitted."""
        self._submissions = iter(())
        self.queues = TaskQueues()
        self.seen()

    # Pilots, as DIRAC knows them: nothing of one that nobody entered

    def pilot_is(self, reference: str, state: PilotState) -> None:
        facts = self.pilots.get(reference)
        if facts is not None and facts.state is not state:
            self.pilots[reference] = replace(facts, state=state)
            self.seen()

    def pilot_took_a_job(self, reference: str) -> None:
        if reference in self.pilots:
            facts = self.pilots[reference]
            self.pilots[reference] = replace(facts, jobs=facts.jobs + 1)

    # VMs

    def _cloud_of(self, guest: Guest) -> SimulatedCloud:
        return self.clouds[EndpointKey(guest.settings.site, guest.settings.ce)]

    def console(self, guest: Guest, text: str) -> None:
        try:
            self._cloud_of(guest).write_console(guest.server_id, text)
        except CloudError:
            return
        self.seen()

    def stop_server(self, guest: Guest) -> None:
        try:
            self._cloud_of(guest).stop(guest.server_id)
        except CloudError:
            return
        self.measure.stopped(guest)
        self.seen()

    def guest_made(self, guest: Guest, installation: str) -> None:
        guest.installation = installation
        self.measure.made(guest)
        self.on_made(guest)

    def guest_deleted(self, guest: Guest) -> None:
        self.on_delete(self.actor, guest)

    def guest_gone(self, guest: Guest) -> None:
        del self._cloud_of(guest).guests[guest.server_id]
        self.measure.gone(guest)
        self.seen()


class SimulatedDirac:
    """What the director asks of DIRAC (``DiracServices``), answered by the world.

    ``away`` names the services that do not answer: Matcher, PilotManager.
    """

    def __init__(self, world: World):
        self._world = world
        self.away: set[str] = set()

    def task_queues(self, parameters):
        if "Matcher" in self.away:
            return Demand((), dict.fromkeys(parameters, "the Matcher does not answer"))
        found: dict[int, tuple] = {}
        for key, resource in parameters.items():
            hours = resource["CPUTime"] / HS06_SECONDS_PER_HOUR
            for queue in self._world.queues.matching(resource["NumberOfProcessors"], hours):
                found.setdefault(queue.id, (queue, set()))[1].add(key)
        return Demand(
            tuple(
                TaskQueue(queue.id, queue.vo, len(queue.jobs), queue.processors, frozenset(keys))
                for _, (queue, keys) in sorted(found.items())
            )
        )

    def pilot_credential(self, vo):
        return "/CN=pilot", f"{vo}_pilot"

    def refusal_to_start(self, vos):
        return ""

    def unusable_endpoints(self, endpoints):
        return {}

    def pilot_facts(self, references):
        self._ask_pilot_manager()
        pilots = self._world.pilots
        return {one: pilots[one] for one in references if one in pilots}

    def register_pilot(self, reference, stamp, vo, vm_type, status):
        self._ask_pilot_manager()
        self._world.pilots[reference] = PilotFacts(PilotState.RUNNING if status == "Running" else PilotState.WAITING, 0)

    def end_pilot(self, reference, status, reason, vm_type):
        self._ask_pilot_manager()
        # Nobody asks for it again: DIRAC keeps it, a simulation of years need not.
        self._world.pilots.pop(reference, None)

    def _ask_pilot_manager(self) -> None:
        if "PilotManager" in self.away:
            raise DiracUnavailable("PilotManager does not answer")
