"""Everything the director asks of DIRAC: one class at the border, values and exceptions inside of it.

The calls are those of DIRAC 9.1's SiteDirector (WorkloadManagementSystem/Agent/SiteDirector.py).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client.Helpers import Registry
from DIRAC.FrameworkSystem.Client.ProxyManagerClient import gProxyManager
from DIRAC.ResourceStatusSystem.Client.ResourceStatus import ResourceStatus
from DIRAC.ResourceStatusSystem.Client.SiteStatus import SiteStatus
from DIRAC.WorkloadManagementSystem.Client import PilotStatus
from DIRAC.WorkloadManagementSystem.Client.MatcherClient import MatcherClient
from DIRAC.WorkloadManagementSystem.Client.ServerUtils import getPilotAgentsDB
from DIRAC.WorkloadManagementSystem.private.ConfigHelper import findGenericPilotCredentials
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, PilotState, TaskQueue, VMTypeKey

_PROCESSORS_TAG = re.compile(r"^(\d+)Processors$")
_USABLE = ("Active", "Degraded")
_UNKNOWN_ELEMENT = "Cache misses"  # how DIRAC's RSSCache says that it does not know an element
_GRID_TYPE = "JenniferDIRAC"  # of our pilots in PilotAgentsDB
# A VO's VMs that are started within this time share a proxy: its key takes a tenth of a second to make.
_PROXY_SHARED_FOR = timedelta(minutes=10)


class DiracUnavailable(Exception):
    """A DIRAC service did not answer, or refused; the text says which and what it said."""


@dataclass(frozen=True)
class PilotFacts:
    """What PilotAgentsDB and JobToPilotMapping know of one pilot."""

    state: PilotState
    jobs: int


@dataclass(frozen=True)
class Demand:
    """The task queues, and the VM types for which the Matcher gave no answer, with its reason."""

    task_queues: tuple[TaskQueue, ...] = ()
    unanswered: Mapping[VMTypeKey, str] = field(default_factory=dict)


class DiracServices:
    """The real DIRAC, seen with the agent's host credentials."""

    def __init__(self) -> None:
        self._pilots = getPilotAgentsDB()
        self._proxies: dict[tuple[str, timedelta], tuple[float, Secret]] = {}

    def refusal_to_start(self, vos: Iterable[str]) -> str:
        """Why the director must not run on this set-up, or ""."""
        vos = list(vos)
        if not vos:
            return (
                "no VO to serve: expected a list in /Systems/WorkloadManagement/Agents/CloudDirector/VO, "
                "for instance 'VO = belle, t2k.org'"
            )
        single = gConfig.getValue("/DIRAC/VirtualOrganization", "")
        if single and len(vos) > 1:
            return (
                f"/DIRAC/VirtualOrganization is '{single}', but several VOs are to be served ({', '.join(vos)}): "
                "with it Operations(vo=…) ignores the VO and every VO gets the first one's pilots. Remove the option"
            )
        known = set(value_of("the VOs of /Registry/VO", gConfig.getSections("/Registry/VO")))
        unknown = [vo for vo in vos if vo not in known]
        if unknown:
            return f"VO {', '.join(unknown)} is not in /Registry/VO (found {', '.join(sorted(known)) or 'nothing'})"
        return ""

    def unusable_endpoints(self, endpoints: Iterable[EndpointKey]) -> dict[EndpointKey, str]:
        """The endpoints that the site mask or the resource status takes out of use, each with the reason.

        One that the ResourceStatus system does not know (yet) is one of them, and no reason to refuse the others.
        """
        endpoints = list(endpoints)
        if not endpoints:
            return {}
        # Asked once: a ResourceStatus that is away costs DIRAC's own client half a minute already.
        sites = value_of("the site mask (ResourceStatus)", SiteStatus().getSiteStatuses(None))
        reasons = {}
        for key in endpoints:
            status = sites.get(key.site, "unknown")
            if status not in _USABLE:
                reasons[key] = f"site {key.site} is {status} in the site mask"
                continue
            result = ResourceStatus().getElementStatus(key.ce, "ComputingElement", vO="all")
            if _UNKNOWN_ELEMENT in result.get("Message", ""):
                status = "unknown"
            else:
                status = value_of("the resource status", result).get(key.ce, {}).get("all", "unknown")
            if status not in _USABLE:
                reasons[key] = f"CE {key.ce}: resource status {status}"
        return reasons

    def task_queues(self, parameters: Mapping[VMTypeKey, Mapping[str, object]]) -> Demand:
        """Task queues with waiting jobs, each once, with all VM types for which the Matcher names it."""
        matcher = MatcherClient()
        found: dict[int, dict] = {}
        matches: dict[int, set[VMTypeKey]] = {}
        unanswered: dict[VMTypeKey, str] = {}
        for vm_type, resource in parameters.items():
            try:
                queues = _ask("the Matcher", partial(matcher.getMatchingTaskQueues, dict(resource)))
            except DiracUnavailable as error:
                unanswered[vm_type] = str(error)
                continue
            for tq_id, queue in queues.items():
                found[int(tq_id)] = queue
                matches.setdefault(int(tq_id), set()).add(vm_type)
        queues = tuple(
            TaskQueue(
                id=tq_id,
                vo=Registry.getVOForGroup(queue["OwnerGroup"]) or "",
                jobs=int(queue["Jobs"]),
                processors=_processors(queue.get("Tags", ())),
                matches=frozenset(matches[tq_id]),
            )
            for tq_id, queue in sorted(found.items())
        )
        return Demand(queues, unanswered)

    def pilot_credential(self, vo: str) -> tuple[str, str]:
        """DN and group of the VO's generic pilot."""
        return _ask(f"the pilot credential of {vo}", partial(findGenericPilotCredentials, vo=vo))

    def pilot_proxy(self, vo: str, lifetime: timedelta) -> Secret:
        """A limited proxy of the VO's generic pilot, valid for ``lifetime`` (and a few minutes).

        What DIRAC 9.1's ProxyManager gives is neither: ``limited`` has no effect there (its
        ``generateChainFromRequestString`` limits only what is limited already, and that is never stored), and it is
        valid for half as long again.
        """
        made_at, proxy = self._proxies.get((vo, lifetime), (-math.inf, None))
        if proxy is None or time.monotonic() - made_at > _PROXY_SHARED_FOR.total_seconds():
            proxy = self._new_proxy(vo, lifetime + _PROXY_SHARED_FOR)
            self._proxies[vo, lifetime] = time.monotonic(), proxy
        return proxy

    def _new_proxy(self, vo: str, lifetime: timedelta) -> Secret:
        dn, group = self.pilot_credential(vo)
        chain = _ask(
            f"a pilot proxy of {vo} from the ProxyManager",
            partial(
                gProxyManager.downloadProxy,
                dn,
                group,
                limited=True,
                requiredTimeLeft=int(lifetime.total_seconds()),
                cacheTime=60,
            ),
        )
        made = chain.generateProxyToString(int(lifetime.total_seconds()), diracGroup=group, limited=True)
        return Secret(value_of("a pilot proxy", made))

    def pilot_facts(self, references: Iterable[str]) -> dict[str, PilotFacts]:
        """What DIRAC knows of these pilots; one that is not registered is not in the answer."""
        references = list(references)
        if not references:
            return {}
        result = self._pilots.getPilotInfo(references)
        if not result["OK"] and "No pilots found" in result["Message"]:
            return {}
        return {
            reference: PilotFacts(_pilot_state(info["Status"]), len(info.get("Jobs", ())))
            for reference, info in value_of("PilotManager", result).items()
        }

    def register_pilot(self, reference: str, stamp: str, vo: str, vm_type: VMTypeKey, status: str) -> None:
        """Enter a pilot with reference *and* stamp, and its state, as SiteDirector does at submission."""
        value_of("PilotManager", self._pilots.addPilotReferences([reference], vo, _GRID_TYPE, {reference: stamp}))
        self._set_status(reference, status, "VM requested by the CloudDirector", vm_type)

    def end_pilot(self, reference: str, status: str, reason: str, vm_type: VMTypeKey) -> None:
        """Give a pilot whose VM has ended its final state (one of ``PilotStatus.PILOT_FINAL_STATES``)."""
        self._set_status(reference, status, reason, vm_type)

    def _set_status(self, reference: str, status: str, reason: str, vm_type: VMTypeKey) -> None:
        result = self._pilots.setPilotStatus(reference, status, vm_type.ce, reason[:255], vm_type.site, vm_type.queue)
        value_of("PilotManager", result)


def value_of(what: str, result: Mapping[str, Any]) -> Any:
    """A DIRAC result's value.

    :param what: was asked
    :raises DiracUnavailable: it is an S_ERROR
    """
    if not result["OK"]:
        raise DiracUnavailable(f"{what}: {result['Message']}")
    return result["Value"]


@retry(retry=retry_if_exception_type(DiracUnavailable), stop=stop_after_attempt(2), wait=wait_fixed(0.2), reraise=True)
def _ask(what: str, question: Callable[[], dict]) -> Any:
    """The answer to a question that changes nothing: asked twice, for a TLS handshake may break off for no reason."""
    return value_of(what, question())


def _processors(tags: Iterable[str]) -> int:
    """Processors of a task queue's jobs: JobScheduling tags a job for n of them with ``nProcessors``."""
    return max((int(match[1]) for tag in tags if (match := _PROCESSORS_TAG.match(tag))), default=1)


def _pilot_state(status: str) -> PilotState:
    if status in PilotStatus.PILOT_WAITING_STATES:
        return PilotState.WAITING
    if status == PilotStatus.RUNNING:
        return PilotState.RUNNING
    return PilotState.FINISHED if status in PilotStatus.PILOT_FINAL_STATES else PilotState.UNKNOWN
