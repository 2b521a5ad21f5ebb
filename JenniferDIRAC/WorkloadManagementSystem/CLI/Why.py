"""``why``: the service's explanation, a sentence a line."""

from __future__ import annotations

from typing import Annotated

import typer

from JenniferDIRAC.WorkloadManagementSystem.CLI import Output
from JenniferDIRAC.WorkloadManagementSystem.CLI.Output import Json
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import answer, connect
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain

app = typer.Typer()


@app.command()
def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="JOB, tq:ID, SITE, SITE/CE, SITE/CE/VMTYPE or VM. Default: all.", show_default=False
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Why a job waits, a site gets no VM, a VM does what it does: what is wanted, what is coming, and what stopped the
    rest, from the director's last plans, the VMs' records, and DIRAC.

    For a job and a task queue, also which VM types match and which do not, and on which requirement. A number is a job,
    tq:NUMBER a task queue, vm:DIGITS a VM whose id begins with digits only.

    Example: dirac-admin-cloud why
    Example: dirac-admin-cloud why 4711
    Example: dirac-admin-cloud why CLOUD.GRIF.fr/grif-cloud
    Example: dirac-admin-cloud why 3f2a9c
    """
    Output.show(
        answer(connect().explain(what)),
        as_json,
        lambda value, console: [console.print(plain(line), soft_wrap=True) for line in value["sentences"]],
    )
