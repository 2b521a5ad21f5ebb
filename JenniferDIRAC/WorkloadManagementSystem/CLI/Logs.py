"""``logs`` and ``console``: what a VM said, as far as it came here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from JenniferDIRAC.WorkloadManagementSystem.CLI import Output, Tables
from JenniferDIRAC.WorkloadManagementSystem.CLI.Output import VM, Json
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import EXIT_REFUSED, answer, connect, errors

app = typer.Typer()

FOLLOW_SECONDS = 2.0
CHUNK = 256 * 1024
_BYTES_OF_A_LINE = 200
#: Which log is meant by one who names none: the first of these that is there.
PREFERRED = ("pilot", "jennifer", "cloud-init")


@app.command()
def logs(
    vm: VM,
    label: Annotated[
        str, typer.Argument(metavar="LOG", help="pilot, jennifer, cloud-init … Default: the pilot's, if it is there.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until the VM has ended.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=1, help="Only about so many lines of the end. Default: all.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", "-l", help="Which logs there are, and nothing of them.")] = False,
    as_json: Json = False,
) -> None:
    """What a VM wrote, as it sent it to the gateway: 'pilot' is the pilot's output, 'jennifer' the VM's own words from
    boot to power-off, 'cloud-init' the output of its boot. A VM that never came to the gateway has a 'console' only.

    Example: dirac-admin-cloud logs 3f2a9c --follow
    Example: dirac-admin-cloud logs 3f2a9c jennifer
    Example: dirac-admin-cloud logs 3f2a9c --list
    """
    if as_json and follow:
        raise Output.refused(ValueError("--json and --follow do not go together"), 2)
    client = connect()
    found = answer(client.getLogs(vm))
    if listing:
        Output.show(found, as_json, _print_list)
        return
    name = label or _preferred(found["logs"])
    if follow and not name and not found["ended"]:
        errors.print(f"VM {found['vm_id']} sent no log yet; waiting for one …")
    while follow and not name and not found["ended"]:
        time.sleep(FOLLOW_SECONDS)
        found = answer(client.getLogs(vm))
        name = _preferred(found["logs"])
    if not name:
        errors.print(f"VM {found['vm_id']} sent no log yet; its console may tell: dirac-admin-cloud console {vm}")
        raise typer.Exit(EXIT_REFUSED)
    offset = -tail * _BYTES_OF_A_LINE if tail else 0
    pieces: list[str] = []
    say = pieces.append if as_json else lambda text: print(text, end="", flush=True)
    last = read_on(lambda at: answer(client.readLog(found["vm_id"], name, at, CHUNK)), offset, follow, say)
    if as_json:
        print(json.dumps({**last, "text": "".join(pieces)}, indent=2))


@app.command()
def console(vm: VM, as_json: Json = False) -> None:
    """The end of a VM's console (16 KiB) as the director last fetched it from the cloud: for a VM that never spoke, or
    that broke down. Nothing has to work in the VM for that.

    Example: dirac-admin-cloud console 3f2a9c
    """
    found = answer(connect().getVirtualMachine(vm))
    text = found["console_tail"]
    if as_json:
        print(json.dumps({"vm_id": found["vm_id"], "console": text}, indent=2))
    elif text:
        print(Tables.plain(text).plain)
    else:
        errors.print(
            f"The console of VM {found['vm_id']} was not fetched: it is when a VM breaks down, or ends without a word "
            "from it. Its logs: dirac-admin-cloud logs " + vm,
            soft_wrap=True,
        )
        raise typer.Exit(EXIT_REFUSED)


def read_on(
    read: Callable[[int], dict[str, Any]],
    offset: int,
    follow: bool,
    say: Callable[[str], object],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Read a log to its end and, where it is followed, to that of its VM; gives the last piece.

    :param read: a piece from an offset on
    """
    while True:
        piece = read(offset)
        say(piece["text"])
        at_end = piece["next"] >= piece["size"] or piece["next"] == offset
        offset = piece["next"]
        if not at_end:
            continue
        if not follow or piece["ended"]:
            return piece
        sleep(FOLLOW_SECONDS)


def _preferred(found: list[dict[str, Any]]) -> str:
    labels = [log["label"] for log in found]
    return next((label for label in (*PREFERRED, *labels) if label in labels), "")


def _print_list(found: dict[str, Any], console: Any) -> None:
    if not found["logs"]:
        console.print(f"VM {found['vm_id']} sent no log yet.")
        return
    shown = Tables.table("Log", "Bytes", "Last word (UTC)")
    for log in found["logs"]:
        shown.add_row(Tables.plain(log["label"]), str(log["size"]), Tables.moment(log["written_at"]))
    console.print(shown)
