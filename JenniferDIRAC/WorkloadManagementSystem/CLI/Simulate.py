"""The verb ``simulate`` of ``dirac-admin-cloud``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from JenniferDIRAC.WorkloadManagementSystem.CLI import Tables
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import EXIT_REFUSED, errors

ALL = "all"
OURS = "ours"
_WRONG_USAGE = 2


def simulate(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario, or a YAML or JSON file.")] = "demonstrator",
    trace: Annotated[
        Path | None,
        typer.Option(help="CSV of jobs, not the scenario's: submitted_at,vo,jobs,processors,seconds."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="How many days. Default: the scenario's.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same run. Default: the scenario's.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the director as OPTION=VALUE, such as MaxBooting=40; may be repeated."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="ours, site-director, vmdirac, vcycle or all; may be repeated. Default: ours."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write figures and drawings to this HTML file.")] = None,
    list_scenarios: Annotated[bool, typer.Option("--list", help="Name the shipped scenarios.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, for programs.")] = False,
) -> None:
    """Try a policy before it is set: the real planner and life cycle, over simulated clouds and simulated jobs.

    Nothing is asked of DIRAC or of any cloud. A scenario says which clouds there are, with quotas, limits and shares,
    and which jobs come; copy a shipped one (--list) and change it. Options of the director are those of the agent's
    section. Other policies run in the same world with the same jobs: DIRAC's SiteDirector with its cloud CE, VMDIRAC's
    CloudDirector and VCycle, written from their documented rules.

    The report: VMs started for each one needed, core-hours and what was wasted of them, waiting times, how well the
    shares were held, the calls to the clouds. docs/simulator.md says how each is counted.

    Example: dirac-admin-cloud simulate
    Example: dirac-admin-cloud simulate burst --policy all --html burst.html
    Example: dirac-admin-cloud simulate my.yaml --days 365 --option PollingTime=60 --option MaxBooting=40 --json
    Example: dirac-admin-cloud simulate my.yaml --trace jobs.csv
    """
    logging.disable(logging.WARNING)
    from JenniferDIRAC.WorkloadManagementSystem.Simulator import Drawing, Report, Scenario, Workload
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.OurDirector import OurDirector
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.Replays import REPLAYS
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.Simulation import run
    from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

    console = Console(highlight=False)
    provisioners = {OURS: OurDirector} | REPLAYS
    if list_scenarios:
        for name, about in Scenario.shipped().items():
            console.print(f"{name}: {about}", markup=False, soft_wrap=True)
        return
    names = list(provisioners) if ALL in (policy or ()) else list(dict.fromkeys(policy or [OURS]))
    if unknown := [name for name in names if name not in provisioners]:
        raise _refused(f"--policy {unknown[0]}: expected {', '.join(provisioners)} or {ALL}", _WRONG_USAGE)
    try:
        if html:
            Drawing.check_available()
        loaded = Scenario.load(scenario)
        changes = {"days": days, "seed": seed, "policy": loaded.policy | _options(option or [])}
        loaded = loaded.changed(**{name: value for name, value in changes.items() if value is not None})
        jobs = Workload.read_trace(trace) if trace else Workload.generated(loaded)
        if unknown_vos := {submission.vo for submission in jobs} - set(loaded.vos):
            raise Scenario.ScenarioError(f"{trace}: VO {', '.join(sorted(unknown_vos))} is not one of the scenario's")
    except (Scenario.ScenarioError, Drawing.NoDrawings) as error:
        raise _refused(str(error)) from None
    results = []
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for name in names:
            task = progress.add_task(name, total=1.0)
            world = World(loaded, jobs)
            provisioner = provisioners[name](world)
            results.append(run(world, provisioner, lambda done, task=task: progress.update(task, completed=done)))
            progress.update(task, completed=1.0)
    runs = [Report.figures(result) for result in results]
    if html:
        try:
            html.write_text(Drawing.page(loaded, results, runs))
        except OSError as error:
            raise _refused(f"{html}: {error.strerror}") from None
    if as_json:
        print(json.dumps(Report.as_json(loaded, runs), indent=2))
    else:
        Report.print_figures(loaded, runs, console if console.is_terminal else Console(highlight=False, width=160))


def _options(words: list[str]) -> dict[str, str]:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if wrong := [word for word in words if "=" not in word]:
        raise _refused(f"--option {wrong[0]}: expected OPTION=VALUE, such as MaxBooting=40", _WRONG_USAGE)
    return options


def _refused(text: str, code: int = EXIT_REFUSED) -> typer.Exit:
    errors.print(Tables.plain(text), style="red", soft_wrap=True)
    return typer.Exit(code)
