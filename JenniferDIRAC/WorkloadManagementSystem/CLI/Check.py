"""``check``: everything between a registered site and its first VM, one line each; on request that VM itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import place_of
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, did_you_mean
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, CloudError, Unreachable
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery, discover
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracChecks import (
    Served,
    check_director,
    check_pilot_credential,
    check_pilot_server,
    check_profile,
    check_sections,
    check_status,
    check_template,
    check_vos,
    served,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.GatewayCheck import check_gateways
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import (
    Aspect,
    Finding,
    Verdict,
    check_cloud,
    choice_of,
    delete_by_hand,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.TrialBoot import (
    Stage,
    TrialBoot,
    TrialResult,
    console_tail,
    trial_request,
)

DEADLINE_SECONDS = 60.0
BOOT_SECONDS = 900.0
INTERRUPTED_CODE = 130
_STYLES: Mapping[Verdict, str] = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.FAILED: "red bold",
    Verdict.NOT_TRIED: "dim",
}

_NEXT: Mapping[Stage, str] = {
    Stage.REQUESTED: "waiting for an active server",
    Stage.ACTIVE: "waiting for its first word",
    Stage.FIRST_WORD: "waiting for it to fetch the pilot",
    Stage.PILOT_FETCHED: "deleting",
    Stage.GONE: "done",
}


class NoSuchEndpoint(Exception):
    """Nothing is registered under that name; the text says what is."""


@dataclass
class Checked:
    """What was found at one endpoint, and what a trial needs to go on from there."""

    config: EndpointConfig
    told: Discovery
    served: list[Served]
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """One VM to be started."""

    one: Served
    vo: str
    cloud: CloudEndpoint
    max_user_data_bytes: int
    told: Discovery


def select(sites: CloudSites, target: str) -> CloudSites:
    """The endpoints of a site, a ``site/ce`` or a CE, with the problems of these; "": all.

    :raises NoSuchEndpoint: there is none
    """
    if not target:
        return sites

    def meant(place: str) -> bool:
        site, _, ce = place.partition("/")
        return target in (site, ce, place)

    found = CloudSites(
        tuple(config for config in sites.endpoints if meant(str(config))),
        tuple(problem for problem in sites.problems if meant(place_of(problem))),
    )
    if not found.endpoints and not found.problems:
        known = sorted({str(config) for config in sites.endpoints} | {place_of(problem) for problem in sites.problems})
        hint = did_you_mean(target, [name for place in known for name in (*place.split("/"), place)])
        raise NoSuchEndpoint(
            f"{target}: expected a site or endpoint of {', '.join(known) or '(none is registered)'}"
            f"{f' ({hint})' if hint else ''}; 'dirac-admin-cloud register SITE' makes one"
        )
    return found


class SiteChecker:
    """All checks of the endpoints that are meant, each cloud in a thread of its own."""

    def __init__(self, target: str, vo: str = "", vm_type: str = "", deadline: float = DEADLINE_SECONDS):
        """
        :param vm_type: one that is to be there
        :raises NoSuchEndpoint: nothing is registered under these names, or nothing of it serves the VO
        """
        self._sites = select(read_cloud_sites(), target)
        self._served = {config: served(config, vo) for config in self._sites.endpoints}
        self._deadline = deadline
        if vo and not any(one.vos for vm_types in self._served.values() for one in vm_types):
            raise NoSuchEndpoint(f"VO {vo}: no VM type of {target or 'any site'} serves it")
        queues = sorted({one.vm_type.queue for vm_types in self._served.values() for one in vm_types})
        if vm_type and vm_type not in queues:
            hint = did_you_mean(vm_type, queues)
            found = f"the VM types of {target or 'all sites'} are {', '.join(queues) or '(none)'}"
            raise NoSuchEndpoint(f"VM type {vm_type}: {found}{f' ({hint})' if hint else ''}")

    def run(self) -> tuple[list[Finding], list[Checked]]:
        """What concerns all of DIRAC, and what concerns each endpoint."""
        workers = {
            config: EndpointWorker(str(config), partial(make_endpoint, config)) for config in self._sites.endpoints
        }
        futures = {
            str(config): worker.start("tell all it has", partial(discover, with_servers=True))
            for config, worker in workers.items()
        }
        common = self._common([one for vm_types in self._served.values() for one in vm_types])
        statuses = {config: check_status(config) for config in workers}
        wait(futures.values(), timeout=self._deadline)
        now = datetime.now(UTC)
        checked = []
        for config in workers:
            discovery = _discovery(futures[str(config)])
            one = Checked(config, discovery, self._served[config])
            one.findings = [*check_sections([config], ()), *check_vos(one.served), statuses[config]]
            one.findings += check_cloud(config, discovery, now)
            for vm_type in one.served:
                choice = choice_of(vm_type.vm_type, discovery)
                processors = choice.flavor.cores if choice else 1
                one.findings += check_template(vm_type, discovery.max_user_data_bytes, processors)
            checked.append(one)
        return common, checked

    def _common(self, vm_types: list[Served]) -> list[Finding]:
        vos = sorted({vo for one in vm_types for vo in one.vos})
        findings = check_sections((), self._sites.problems)
        if vos:
            findings.append(check_director(vos))
            findings += self._gateways()
        for vo in vos:
            users = [one for one in vm_types if vo in one.vos]
            findings.append(check_profile(vo, users))
            findings.append(check_pilot_credential(vo, users))
            findings.append(check_pilot_server(vo))
        return findings

    def _gateways(self) -> list[Finding]:
        try:
            return check_gateways(read_director_config(), self._served)
        except ConfigError as error:
            return [Finding("DIRAC", Aspect.GATEWAY, Verdict.NOT_TRIED, str(error), "mend the director's section")]


def trials(checked: Iterable[Checked], vm_type: str) -> tuple[list[Trial], list[Finding]]:
    """A VM for each VM type that passed what it needs, and what is not tried."""
    to_do, skipped = [], []
    for one in checked:
        for each in one.served:
            if vm_type and each.vm_type.queue != vm_type:
                continue
            # What is full, late or near its end may work all the same.
            failed = [
                finding.aspect.value
                for finding in one.findings
                if finding.verdict is Verdict.FAILED
                and finding.aspect is not Aspect.STATUS
                and finding.where in (str(one.config), each.where)
            ]
            if failed or not each.vos:
                why = f"after {', '.join(dict.fromkeys(failed))}" if failed else "no VO is served"
                skipped.append(Finding(each.where, Aspect.BOOT, Verdict.NOT_TRIED, why))
                continue
            cloud = make_endpoint(one.config)
            to_do.append(Trial(each, each.vos[0], cloud, one.told.max_user_data_bytes, one.told))
    return to_do, skipped


def boot(to_do: list[Trial], timeout: float, console: Console) -> list[tuple[Trial, TrialResult]]:
    """Start all of them, one at a time at each endpoint, and follow them; Ctrl-C ends and deletes them.

    :raises KeyboardInterrupt: after all are deleted
    """
    stop, results = threading.Event(), []
    waiting: dict[str, str] = {}

    def work(mine: list[Trial]) -> None:
        for trial in mine:
            waiting[trial.one.where] = "requesting"
            if not stop.is_set():
                results.append((trial, _boot_one(trial, timeout, console, stop, waiting)))
            waiting.pop(trial.one.where, None)

    by_endpoint: dict[str, list[Trial]] = {}
    for trial in to_do:
        by_endpoint.setdefault(str(trial.one.config), []).append(trial)
    threads = [threading.Thread(target=work, args=(mine,)) for mine in by_endpoint.values()]
    # No exception: one that is raised in Thread.join makes Python 3.11 believe that the thread has ended.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *signalled: stop.set()) for number in numbers}
    try:
        with console.status("") if console.is_terminal else nullcontext() as spinner:
            for thread in threads:
                thread.start()
            said = False
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(0.1)
                if stop.is_set() and not said:
                    said = True
                    console.print("Interrupted: deleting …")
                if spinner:
                    spinner.update(plain("; ".join(f"{where}: {what}" for where, what in dict(waiting).items())))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.is_set():
        for trial, result in results:
            if result.left_behind:
                console.print(plain(finding_of(trial, result).advice), style="red", soft_wrap=True)
        raise KeyboardInterrupt
    return results


def finding_of(trial: Trial, result: TrialResult) -> Finding:
    """A trial as one more check."""
    stages = ", ".join(f"{stage.value} {seconds:.1f} s" for stage, seconds in result.reached.items())
    where = trial.one.where
    if result.left_behind:
        advice = delete_by_hand(trial.one.config, [result.name])
        text = f"{result.problem or 'it worked'}; its server {result.name} could not be deleted ({stages})"
        return Finding(where, Aspect.BOOT, Verdict.FAILED, text, advice)
    if result.problem:
        advice = "its console, below, tells more" if result.console else ""
        return Finding(where, Aspect.BOOT, Verdict.FAILED, f"{result.problem} ({stages or 'never made'})", advice)
    return Finding(where, Aspect.BOOT, Verdict.OK, stages)


def nothing_booted(results: list[tuple[Trial, TrialResult]], target: str) -> list[Finding]:
    """Who asks for a VM and gets none has not seen what was asked for."""
    if results:
        return []
    return [Finding(target or "all sites", Aspect.BOOT, Verdict.FAILED, "no VM was booted", "see what failed above")]


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """One line per check, and a second where there is something to do, under a heading for each place."""
    places: dict[str, list[Finding]] = {}
    for finding in findings:
        places.setdefault(finding.where, []).append(finding)
    for place, here in places.items():
        console.print(plain(place), style="bold")
        for one in here:
            line = Text("  ").append(f"{one.verdict.value:<10}", style=_STYLES[one.verdict])
            console.print(line.append(f"{one.aspect.value:<18}").append_text(plain(one.detail)), soft_wrap=True)
            if one.advice:
                console.print(Text(" " * 30 + "→ ").append_text(plain(one.advice)), soft_wrap=True)


def print_console(result: TrialResult, console: Console) -> None:
    """The end of the console of a VM that failed, as text that steers no terminal."""
    if result.problem and result.console:
        console.print(Text(f"\nThe end of the console of {result.name}:", style="bold"))
        console.print(plain(console_tail(result.console)))


def summary(findings: Iterable[Finding]) -> str:
    """How many ended how."""
    verdicts = [finding.verdict for finding in findings]
    return ", ".join(f"{verdicts.count(verdict)} {verdict.value}" for verdict in Verdict if verdict in verdicts)


def as_json(findings: list[Finding], results: list[tuple[Trial, TrialResult]]) -> dict[str, Any]:
    return {
        "ok": all(finding.verdict is not Verdict.FAILED for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "trials": [
            {
                "where": trial.one.where,
                "vo": trial.vo,
                "server": result.name,
                "seconds": {stage.value: round(seconds, 2) for stage, seconds in result.reached.items()},
                "problem": result.problem,
                "left_behind": result.left_behind,
                "console": console_tail(result.console) if result.problem else "",
            }
            for trial, result in results
        ],
    }


def _discovery(future: Future[Discovery]) -> Discovery:
    """What a cloud told, or the one error in place of all its parts."""
    if not future.done():
        error: CloudError = Unreachable("the cloud has not answered yet")
    elif (raised := future.exception()) is None:
        return future.result()
    else:
        error = raised if isinstance(raised, CloudError) else CloudError(f"{type(raised).__name__}: {raised}")
    return Discovery(error, error, error, error)


def _boot_one(
    trial: Trial, timeout: float, console: Console, stop: threading.Event, waiting: dict[str, str]
) -> TrialResult:
    where = trial.one.where

    def tell(stage: Stage, seconds: float) -> None:
        waiting[where] = _NEXT[stage]
        console.print(plain(f"[{seconds:6.1f} s] {where} for {trial.vo}: {stage.value}"), soft_wrap=True)

    choice = choice_of(trial.one.vm_type, trial.told)
    if choice is None:  # trials() has sorted these out
        return TrialResult("", problem="its image, flavor or network cannot be had")
    try:
        request = trial_request(trial.one.config, trial.one.vm_type, choice, trial.vo, trial.max_user_data_bytes)
    except (ContextError, ConfigError) as error:
        return TrialResult("", problem=str(error))
    try:
        return TrialBoot(trial.cloud, request, tell, stop.is_set).run(timeout)
    except Exception as error:  # the outermost loop of a trial's thread: what was made is deleted by now
        return TrialResult(request.identity.name, problem=f"{type(error).__name__}: {error}")
