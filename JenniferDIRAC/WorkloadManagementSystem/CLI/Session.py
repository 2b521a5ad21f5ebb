"""One command's conversation with DIRAC: connect once, ask, and turn refusals into exit codes."""

from __future__ import annotations

import errno
import sys
from typing import Any

import DIRAC
import typer
from DIRAC.Core.Utilities import DErrno
from DIRAC.Core.Utilities.DErrno import cmpError
from rich.console import Console

EXIT_REFUSED = 1  # the service answered, and said no
EXIT_UNREACHABLE = 3  # no configuration, no valid proxy, or the service does not answer

errors = Console(stderr=True, highlight=False)


def start_dirac() -> None:
    """Make this process a client of DIRAC, with the caller's proxy.

    :raises typer.Exit: with EXIT_UNREACHABLE when DIRAC cannot be used
    """
    arguments, sys.argv = sys.argv, sys.argv[:1]  # DIRAC reads the command line too, and must not see ours
    try:
        DIRAC.initialize(log_level=DIRAC.LogLevel.FATAL)
    except Exception as error:  # DIRAC's own kinds, and whatever its configuration files make it raise
        said = error.args[0] if error.args else error
        said = said.get("Message", said) if isinstance(said, dict) else said
        errors.print(f"DIRAC cannot be used: {said}", markup=False)
        errors.print("Is there a valid proxy (dirac-proxy-info), and a dirac.cfg that names the servers?")
        raise typer.Exit(EXIT_UNREACHABLE) from None
    finally:
        sys.argv = arguments


def connect():
    """The client of the VirtualMachineManager service, with the caller's proxy.

    :raises typer.Exit: with EXIT_UNREACHABLE when DIRAC cannot be used
    """
    start_dirac()
    from JenniferDIRAC.WorkloadManagementSystem.Client.VirtualMachineManagerClient import VirtualMachineManagerClient

    return VirtualMachineManagerClient()


def answer(result: dict) -> Any:
    """The value of a service's answer.

    :raises typer.Exit: with EXIT_REFUSED or EXIT_UNREACHABLE, after saying why on stderr
    """
    if result["OK"]:
        return result["Value"]
    errors.print(result["Message"], markup=False, soft_wrap=True)
    if cmpError(result, DErrno.ENOAUTH):
        errors.print("Your proxy's group lacks a property that this needs, see dirac-admin-cloud --help.")
    unreachable = cmpError(result, errno.ECONNREFUSED) or "connect to" in result["Message"]
    raise typer.Exit(EXIT_UNREACHABLE if unreachable else EXIT_REFUSED)
