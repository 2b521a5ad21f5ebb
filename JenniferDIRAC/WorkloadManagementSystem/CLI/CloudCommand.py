"""The verbs of ``dirac-admin-cloud``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax

from JenniferDIRAC.WorkloadManagementSystem.CLI import Tables
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import answer, connect
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

app = typer.Typer(
    help="Look after the virtual machines that the CloudDirector starts.\n\n"
    "Every verb asks the VirtualMachineManager service with your proxy; reading needs the property Operator or "
    "ServiceAdministrator, 'kill' needs Operator. Exit codes: 0 done, 1 refused by the service, 2 wrong usage, "
    "3 DIRAC or the service cannot be reached.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON, for programs.")]
VM = Annotated[str, typer.Argument(help="VM id, its first 6 or more digits, or its pilot reference.")]
_PIPE_WIDTH = 240
LIVE = [state.value for state in VMState if state is not VMState.ENDED]


@app.command()
def status(as_json: Json = False) -> None:
    """What every endpoint did for every VO in the director's last cycle, and what stopped the rest.

    Example: dirac-admin-cloud status
    """
    _print(answer(connect().getStatus()), as_json, Tables.status)


@app.command()
def vms(
    everything: Annotated[bool, typer.Option("--all", help="Ended VMs too.")] = False,
    state: Annotated[list[VMState] | None, typer.Option(help="Only VMs in this state; may be repeated.")] = None,
    site: Annotated[str, typer.Option(help="Only VMs at this site, such as CLOUD.GRIF.fr.")] = "",
    vo: Annotated[str, typer.Option(help="Only VMs of this VO.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List VMs, newest first; without options those that have not ended.

    Example: dirac-admin-cloud vms --all --site CLOUD.GRIF.fr --limit 20
    """
    selection: dict[str, Any] = {"site": site, "vo": vo}
    if state:
        selection["state"] = [one.value for one in state]
    elif not everything:
        selection["state"] = LIVE
    _print(answer(connect().getVirtualMachines(selection, limit)), as_json, Tables.vms)


@app.command()
def show(vm: VM, as_json: Json = False) -> None:
    """One VM's record, its life so far with reasons, and the end of its console when it is known.

    Example: dirac-admin-cloud show 3f2a9c
    """
    _print(answer(connect().getVirtualMachine(vm)), as_json, Tables.vm)


@app.command()
def kill(
    vm: VM,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; recorded with your name.")] = "",
    as_json: Json = False,
) -> None:
    """End a VM: the director deletes its server in its next cycle; a job that runs there is lost to DIRAC's stalled-job
    handling.

    Example: dirac-admin-cloud kill 3f2a9c --reason "broken disk"
    """
    _print(
        answer(connect().killVirtualMachine(vm, reason)),
        as_json,
        lambda record, console: console.print(
            f"VM {record['vm_id']} is {record['state']}: {record['outcome_reason']}", markup=False
        ),
    )


@app.command()
def render(
    endpoint: Annotated[str, typer.Argument(help="The CE, or site/CE, such as CLOUD.GRIF.fr/grif-cloud.")],
    vm_type: Annotated[str, typer.Argument(metavar="VMTYPE", help="The queue of the CE.")],
    vo: Annotated[str, typer.Option(help="Whose profile to take.")],
    as_json: Json = False,
) -> None:
    """Show exactly what a VM would get as user-data, with every secret masked.

    Example: dirac-admin-cloud render grif-cloud el9-4core --vo belle
    """
    _print(
        answer(connect().renderUserData(endpoint, vm_type, vo)),
        as_json,
        lambda text, console: console.print(
            Syntax(text, "yaml", background_color="default") if console.is_terminal else text,
            markup=False,
            highlight=False,
            soft_wrap=True,
        ),
    )


def _print(value: Any, as_json: bool, table) -> None:
    if as_json:
        print(json.dumps(value, indent=2))
    else:
        # A pipe has no width: what is cut off there is lost.
        console = Console(highlight=False)
        table(value, console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH))
