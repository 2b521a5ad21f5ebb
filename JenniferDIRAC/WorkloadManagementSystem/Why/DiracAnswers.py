"""What DIRAC says of jobs, task queues and the Matcher's choice, seen with the service's host credentials."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from DIRAC.ConfigurationSystem.Client.Helpers import Registry
from DIRAC.WorkloadManagementSystem.Client.JobMonitoringClient import JobMonitoringClient
from DIRAC.WorkloadManagementSystem.Client.MatcherClient import MatcherClient
from DIRAC.WorkloadManagementSystem.DB.TaskQueueDB import TaskQueueDB

from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable, value_of
from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, PilotState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.WhyJob import JobFacts

_AT_ONCE = 8
_NOT_IN_ANY = "Not in TaskQueues"


class DiracAnswers:
    """Each question raises DiracUnavailable where DIRAC does not answer it."""

    @cached_property
    def _services(self) -> DiracServices:
        return DiracServices()

    @cached_property
    def _task_queues(self) -> TaskQueueDB:
        # No service of DIRAC's tells a job's task queue.
        try:
            return TaskQueueDB()
        except Exception as error:  # the only kind that DIRAC's DB classes raise
            raise DiracUnavailable(f"TaskQueueDB: {error}") from error

    def job(self, job: int) -> JobFacts | None:
        """The job, or None when there is none of that number."""
        # The keys are texts: numbers do not survive the way.
        found = value_of("JobMonitoring", JobMonitoringClient().getJobsSummary([job])).get(str(job))
        if not found:
            return None
        group = found.get("OwnerGroup", "")
        return JobFacts(
            id=job,
            status=found.get("Status", ""),
            minor=found.get("MinorStatus", ""),
            application=found.get("ApplicationStatus", ""),
            site=found.get("Site", ""),
            owner=found.get("Owner", ""),
            group=group,
            vo=vo_of(group),
            updated_at=_time(found.get("LastUpdateTime")),
        )

    def task_queue_of(self, job: int) -> int | None:
        """The task queue that holds the job, or None."""
        result = self._task_queues.getTaskQueueForJob(job)
        if not result["OK"] and _NOT_IN_ANY in result["Message"]:
            return None
        return int(value_of("TaskQueueDB", result))

    def task_queue(self, id: int) -> Mapping[str, Any] | None:
        """A task queue with jobs, as TaskQueueDB tells it, or None."""
        return value_of("TaskQueueDB", self._task_queues.retrieveTaskQueues([id])).get(id)

    def matched(
        self, parameters: Mapping[VMTypeKey, Mapping[str, Any]]
    ) -> dict[VMTypeKey, frozenset[int] | DiracUnavailable]:
        """The task queues that the Matcher names for each VM type, or why it gave no answer."""
        answers: dict[VMTypeKey, frozenset[int] | DiracUnavailable] = {}

        def ask(vm_type: VMTypeKey) -> None:
            try:
                found = value_of("the Matcher", MatcherClient().getMatchingTaskQueues(dict(parameters[vm_type])))
                answers[vm_type] = frozenset(map(int, found))
            except DiracUnavailable as error:
                answers[vm_type] = error

        side_by_side(_AT_ONCE, ask, parameters)
        return answers

    def unusable_endpoints(self, keys: list[EndpointKey]) -> dict[EndpointKey, str]:
        return self._services.unusable_endpoints(keys)

    def pilot_state(self, reference: str) -> PilotState:
        facts = self._services.pilot_facts([reference]).get(reference)
        return facts.state if facts else PilotState.UNKNOWN


def vo_of(group: str) -> str:
    return Registry.getVOForGroup(group) or ""


def _time(value: Any) -> datetime | None:
    """A time of JobDB, which is in UTC and does not say so."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None
