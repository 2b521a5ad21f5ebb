"""One command's conversation with DIRAC: connect once, ask, and turn refusals into exit codes."""

from __future__ import annotations

import sys
from typing import Any

import DIRAC
import typer
from rich.console import Console

EXIT_REFUSED = 1  # the service answered, and said no
EXIT_UNREACHABLE = 3  # no configuration, no valid proxy, or the service does not answer

errors = Console(stderr=True, highlight=False)


def connect():
    """The client of the VirtualMachineManager service, with the caller's proxy.

    :raises typer.Exit: with EXIT_UNREACHABLE when DIRAC cannot be used
    """
    arguments, sys.argv = sys.argv, sys.argv[:1]  # DIRAC reads the command line too, and must not see ours
    try:
        DIRAC.initialize(log_level=DIRAC.LogLevel.FATAL)
    except Exception as error:
        errors.print(
            f"DIRAC cannot be used: {error}\nIs there a valid proxy (dirac-proxy-info) and a dirac.cfg?", markup=False
        )
        raise typer.Exit(EXIT_UNREACHABLE) from None
    finally:
        sys.argv = arguments

    from JenniferDIRAC.WorkloadManagementSystem.Client.VirtualMachineManagerClient import VirtualMachineManagerClient

    return VirtualMachineManagerClient()


def answer(result: dict) -> Any:
    """The value of a service's answer.

    :raises typer.Exit: with EXIT_REFUSED or EXIT_UNREACHABLE, after saying why on stderr
    """
    if result["OK"]:
        return result["Value"]
    errors.print(result["Message"], markup=False)
    unreachable = result.get("Errno", 0) != 0 and "connect" in result["Message"].lower()
    raise typer.Exit(EXIT_UNREACHABLE if unreachable else EXIT_REFUSED)
