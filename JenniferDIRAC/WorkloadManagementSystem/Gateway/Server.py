"""The gateway as a process of a DIRAC server: what ``dirac-cloud-gateway`` starts."""

from __future__ import annotations

import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import DIRAC
import typer
from DIRAC import gLogger
from DIRAC.ConfigurationSystem.Client import PathFinder
from DIRAC.Core.Security.Locations import getHostCertificateAndKeyLocation
from DIRAC.WorkloadManagementSystem.Client.ServerUtils import getPilotAgentsDB

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import read_director_config
from JenniferDIRAC.ConfigurationSystem.GatewayConfig import SERVICE_NAME, GatewayConfig, read_gateway_config
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Application import Parts, make_app
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import BadCertificate, HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Chores import Chores, Limits, chores_of
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Listener import Listener, open_ear, room_for
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import LogStore, Quotas
from JenniferDIRAC.WorkloadManagementSystem.Gateway.PilotOutputs import PilotOutputs

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3


class CannotStart(Exception):
    """The gateway cannot work as things are; the text says what to mend."""


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def gateway(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="In place of the option Port.")] = None,
    log_path: Annotated[
        Path | None, typer.Option(help="Directory of the VMs' logs, in place of the option LogPath.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="One line per request.")] = False,
) -> None:
    """The gateway that virtual machines talk to: tickets, heartbeats, logs, end reports, over TLS.

    Run it on a DIRAC server that has the VirtualMachineDB and a host certificate, beside the CloudDirector or on
    another host, as a systemd service; VMs must reach its port. It reads dirac.cfg as every DIRAC service does, and its
    options from /Systems/WorkloadManagement/Services/CloudGateway. The director sends VMs to it when its option Gateway
    names it: https://HOST:9164.

    Is it there? curl --cacert CA.pem https://HOST:9164/health

    It ends in good order with SIGTERM or Ctrl-C. Exit codes: 0 ended in good order, 1 it cannot start and says why,
    2 wrong usage, 3 DIRAC's Configuration cannot be reached.
    """
    _start_dirac(verbose)
    try:
        config = _with(read_gateway_config(), port, log_path)
        run(config, VirtualMachineDB().store, _host_certificate(), gLogger.getSubLogger("CloudGateway"))
    except (CannotStart, ConfigError, StoreUnavailable, BadCertificate) as error:
        print(f"The gateway does not start: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_REFUSED) from None


def run(config: GatewayConfig, store: VirtualMachineStore, certificate: HostCertificate, log: Any) -> None:
    """Serve until SIGTERM.

    :raises CannotStart: the port or the directory cannot be used
    """
    try:
        logs = LogStore(config.logs, Quotas.of(config), config.max_rate_kib * 1024)
    except OSError as error:
        raise CannotStart(f"the directory of the VMs' logs, {config.logs}, cannot be used: {error}") from None
    try:
        ear = open_ear(config.port)
    except OSError as error:
        raise CannotStart(f"port {config.port} cannot be used: {error}") from None
    if (connections := room_for(config.max_connections)) < config.max_connections:
        log.warn("Fewer connections than MaxConnections", f"{connections}: the limit of open files (ulimit -n) is low")
    limits = Limits(read_director_config)
    parts = Parts(store.sessions, logs, limits, log, time.time, config.chunk_time)
    name = f"{socket.getfqdn()}:{config.port}"
    outputs = PilotOutputs(store, logs, getPilotAgentsDB(), partial(log.warn, "Pilots' output"))
    chores = Chores(chores_of(store, logs, limits, outputs, certificate, config.keep, name, log), log)
    longest = 3 * config.chunk_time.total_seconds()
    listener = Listener(make_app(parts), certificate, ear, connections, log, longest=longest)
    log.notice("The gateway listens", f"at {name}; logs in {config.logs}")
    chores.start()
    try:
        listener.listen()
    finally:
        chores.stop()
    log.notice("The gateway has ended")


def _start_dirac(verbose: bool) -> None:
    arguments, sys.argv = sys.argv, sys.argv[:1]  # DIRAC reads the command line too, and must not see ours
    try:
        DIRAC.initialize(host_credentials=True)
    except Exception as error:  # DIRAC's own kinds, and whatever its configuration files make it raise
        print(f"DIRAC cannot be used: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_UNREACHABLE) from None
    finally:
        sys.argv = arguments
    gLogger.initialize(SERVICE_NAME, PathFinder.getServiceSection(SERVICE_NAME))
    if verbose:
        gLogger.setLevel("VERBOSE")


def _with(config: GatewayConfig, port: int | None, log_path: Path | None) -> GatewayConfig:
    chosen = {"port": port, "log_path": log_path and log_path.absolute()}
    return config.model_copy(update={name: value for name, value in chosen.items() if value is not None})


def _host_certificate() -> HostCertificate:
    found = getHostCertificateAndKeyLocation()
    if not found:
        raise BadCertificate(
            "no host certificate: expected /DIRAC/Security/CertFile and KeyFile, or hostcert.pem and hostkey.pem in "
            f"{DIRAC.rootPath}/etc/grid-security"
        )
    return HostCertificate(*map(Path, found))
