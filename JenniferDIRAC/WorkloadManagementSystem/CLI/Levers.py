"""The verbs by which operators steer a running director, each recorded with who and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from JenniferDIRAC.WorkloadManagementSystem.CLI import Output
from JenniferDIRAC.WorkloadManagementSystem.CLI.Output import VM, Json
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import answer, connect
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import moment, plain, table
from JenniferDIRAC.WorkloadManagementSystem.Why.Words import number

app = typer.Typer()

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LENGTH = re.compile(r"(\d+)([smhd])")
_NO_LIMIT = "none"


def _seconds(text: str) -> int:
    """30m, 2h, 3d, 1d12h as seconds."""
    parts = _LENGTH.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        raise typer.BadParameter("expected a length of time such as 30m, 2h, 3d or 1d12h")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def _moment(text: str) -> datetime:
    """An ISO 8601 time; UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("expected a time such as 2026-11-20T18:00, in UTC or with its zone") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _value(text: str) -> float | None:
    if text.lower() == _NO_LIMIT:
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number, or '{_NO_LIMIT}' for no limit") from None


Target = Annotated[str, typer.Argument(metavar="TARGET", help="SITE, SITE/CE, SITE/CE/VMTYPE, or all.")]
VO = Annotated[str, typer.Option("--vo", help="Only for this VO.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; recorded with your name.", show_default=False)]
For = Annotated[
    int | None,
    typer.Option("--for", parser=_seconds, metavar="TIME", help="How long: 30m, 2h, 3d, 1d12h.", show_default=False),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=_moment, metavar="TIME", help="Or until when: 2026-11-20T18:00 (UTC).", show_default=False),
]
Number = Annotated[
    int | None, typer.Option("--lever", min=1, help="Its number, as levers lists it.", show_default=False)
]


@app.command()
def drain(
    target: Target, reason: Reason, vo: VO = "", for_: For = None, until: Until = None, as_json: Json = False
) -> None:
    """Start nothing there any more: VMs without a job are ended, those at work may finish, for DrainTimeout at most.

    It stands until undrain, unless --for or --until end it: a site that is being repaired stays drained if the repair
    takes longer than thought.

    Example: dirac-admin-cloud drain CLOUD.GRIF.fr -m "disk migration" --until 2026-11-20T18:00
    Example: dirac-admin-cloud drain CLOUD.GRIF.fr/grif-cloud/el9-4core -m "image is broken"
    Example: dirac-admin-cloud drain all --vo t2k.org -m "their CVMFS is down" --for 6h
    """
    _pull({"kind": "Drain", "target": target, "vo": vo, "why": reason}, for_, until, as_json)


@app.command()
def undrain(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="As it was given to drain.", show_default=False)] = "",
    vo: VO = "",
    lever: Number = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Take back a drain: VMs that drain and still work go on, and new ones are started from the next cycle on.

    Example: dirac-admin-cloud undrain CLOUD.GRIF.fr
    Example: dirac-admin-cloud undrain --lever 12
    """
    _release({"kind": "Drain", "target": target, "vo": vo, "why": reason}, target, "a TARGET", lever, as_json)


@app.command()
def hold(vm: VM, reason: Reason, for_: For = None, until: Until = None, as_json: Json = False) -> None:
    """Keep a VM as it is, for debugging: the director neither ends nor deletes it, whatever it does or does not say.

    For 24 hours, unless --for or --until say otherwise: a hold that is forgotten keeps its cores for ever. A VM that
    switches itself off is kept, switched off.

    Example: dirac-admin-cloud hold 3f2a9c -m "look at its disk" --for 2h
    """
    _pull({"kind": "Hold", "vm": vm, "why": reason}, for_, until, as_json)


@app.command()
def release(
    vm: Annotated[str, typer.Argument(metavar="VM", help="The VM, as it was given to hold.", show_default=False)] = "",
    lever: Number = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Take back a hold: the director does with the VM what it would have done.

    Example: dirac-admin-cloud release 3f2a9c
    """
    _release({"kind": "Hold", "vm": vm, "why": reason}, vm, "a VM", lever, as_json)


@app.command()
def override(
    target: Target,
    option: Annotated[
        str, typer.Argument(metavar="OPTION", help="MaxVMs, MaxCores, SoftMaxVMs, SoftMaxCores or Share.")
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A number, or none to take the limit away.")],
    reason: Reason,
    vo: VO = "",
    for_: For = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Give a limit or a share another value than the CS, at once and without changing the CS.

    Of an endpoint, a VM type, a VO at an endpoint, or with 'all --vo' a VO everywhere. SITE, and all without --vo, mean
    each endpoint there: MaxVMs 5 of a site with two allows 10. A lower limit ends no VM. It stands until restore,
    unless --for or --until end it.

    Example: dirac-admin-cloud override CLOUD.GRIF.fr/grif-cloud MaxCores 100 -m "cooling" --for 2d
    Example: dirac-admin-cloud override all MaxVMs 50 --vo belle -m "their database is slow"
    Example: dirac-admin-cloud override CLOUD.GRIF.fr/grif-cloud Share 80 --vo belle -m "conference" --for 7d
    """
    request = {"kind": "Override", "target": target, "vo": vo, "option": option, "why": reason}
    _pull(request | {"value": _value(value)}, for_, until, as_json)


@app.command()
def restore(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="As it was given to override.", show_default=False)
    ] = "",
    option: Annotated[
        str, typer.Argument(metavar="OPTION", help="As it was given to override.", show_default=False)
    ] = "",
    vo: VO = "",
    lever: Number = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Take back an override: the CS counts again.

    Example: dirac-admin-cloud restore CLOUD.GRIF.fr/grif-cloud MaxCores
    """
    request = {"kind": "Override", "target": target, "option": option, "vo": vo, "why": reason}
    _release(request, target and option, "a TARGET and an OPTION", lever, as_json)


@app.command()
def pause(reason: Reason, for_: For = None, until: Until = None, as_json: Json = False) -> None:
    """Create no VM anywhere; those that are there go on, and are looked after.

    For 24 hours, unless --for or --until say otherwise: a pause that is forgotten stops all jobs.

    Example: dirac-admin-cloud pause -m "new release" --for 30m
    """
    _pull({"kind": "Pause", "why": reason}, for_, until, as_json)


@app.command()
def resume(reason: Reason = "", as_json: Json = False) -> None:
    """Take back every pause.

    Example: dirac-admin-cloud resume
    """
    _release({"kind": "Pause", "why": reason}, "all", "", None, as_json)


@app.command()
def levers(
    everything: Annotated[bool, typer.Option("--all", help="Those that are over or taken back, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="With --all: at most so many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """The levers that stand: what each concerns, who pulled it, why, since when and until when.

    Example: dirac-admin-cloud levers
    Example: dirac-admin-cloud levers --all --limit 20
    """
    print_levers = _print_all if everything else _print_standing
    Output.show(answer(connect().getLevers(limit if everything else 0)), as_json, print_levers)


def _pull(request: dict[str, Any], seconds: int | None, until: datetime | None, as_json: bool) -> None:
    request["seconds"] = seconds
    request["until"] = until and until.isoformat()
    Output.show(answer(connect().pullLever(request)), as_json, _print_pulled)


def _release(request: dict[str, Any], named: str, what: str, lever: int | None, as_json: bool) -> None:
    if not named and not lever:
        raise Output.refused(ValueError(f"name {what}, or --lever and its number"), 2)
    if lever:  # then nothing else tells which
        request = {"kind": request["kind"], "why": request["why"]}
    Output.show(answer(connect().releaseLevers(request, lever or 0)), as_json, _print_released)


def _print_pulled(value: Mapping[str, Any], console: Console) -> None:
    lever = value["lever"]
    until = f"until {moment(lever['until'])} UTC" if lever["until"] else "until it is taken back"
    console.print(plain(f"Lever {lever['id']}: {lever['kind']} of {lever['about']}, {until}."), soft_wrap=True)
    if lever["kind"] == "Drain":
        console.print(f"It concerns {number(value['vms'], 'VM')} with {number(value['cores'], 'core')} now.")
    console.print("The director heeds it from its next cycle on.")


def _print_released(levers: list[Mapping[str, Any]], console: Console) -> None:
    for lever in levers:
        console.print(plain(f"Lever {lever['id']} is taken back: {lever['kind']} of {lever['about']}."), soft_wrap=True)


def _print_standing(value: Mapping[str, Any], console: Console) -> None:
    if not value["levers"]:
        console.print("No lever stands.")
        return
    shown = table("Id", "Kind", "What", "Who", "Why", "Since (UTC)", "Until (UTC)")
    for lever in value["levers"]:
        shown.add_row(*map(plain, _row(lever)))
    console.print(shown)


def _print_all(value: Mapping[str, Any], console: Console) -> None:
    shown = table("Id", "Kind", "What", "Who", "Why", "Since (UTC)", "Until (UTC)", "Taken back")
    for record in value["levers"]:
        back = ""
        if record["released_at"]:
            back = f"{moment(record['released_at'])} by {record['released_by']}"
            back += f": {record['released_why']}" if record["released_why"] else ""
        shown.add_row(*map(plain, (*_row(record["lever"]), back)))
    console.print(shown)


def _row(lever: Mapping[str, Any]) -> tuple[str, ...]:
    until = moment(lever["until"]) if lever["until"] else "taken back"
    who, why = lever["who"], lever["why"]
    return str(lever["id"]), lever["kind"], lever["about"], who, why, moment(lever["since"]), until
