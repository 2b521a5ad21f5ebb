"""How a command prints: a table for people or JSON for programs, and what was wrong on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from JenniferDIRAC.WorkloadManagementSystem.CLI import Tables
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import EXIT_REFUSED, errors

Json = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON, for programs.")]
VM = Annotated[str, typer.Argument(metavar="VM", help="VM id, its first 6 or more digits, or its pilot reference.")]
_PIPE_WIDTH = 240


def show(
    value: Any, as_json: bool, table: Callable[[Any, Console], Any], plain_values: Callable = lambda value: value
) -> None:
    """Print a value as JSON, or as ``table`` prints it."""
    if as_json:
        print(json.dumps(plain_values(value), indent=2))
    else:
        table(value, console())


def console() -> Console:
    """Of stdout. A pipe has no width: what is cut off there is lost."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def refused(error: Exception, code: int = EXIT_REFUSED) -> typer.Exit:
    """The exit after saying why on stderr."""
    errors.print(Tables.plain(str(error)), style="red", soft_wrap=True)
    return typer.Exit(code)
