"""The pilot's command line, environment and file servers, drawn from the CS as the SiteDirector draws them.

Source of the options and their order: ``SiteDirector._getPilotOptions`` of DIRAC 9.1 and the option table of Pilot 3.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from DIRAC.ConfigurationSystem.Client.Helpers import CSGlobals
from DIRAC.ConfigurationSystem.Client.Helpers.Operations import Operations

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import DEFAULT_CERT_DIR, ContextError

# An idle pilot of Pilot 3's own defaults keeps its VM for 43 minutes; after the n-th failed match JobAgent sleeps
# PollingTime x (n + 1) x 2. With these it goes after 40 s, and one job snatched by another pilot does not end it.
# A VM is dear to start, so it may take many short jobs: 100 cycles; the queue's time ends it sooner.
IDLE_OPTIONS = ("--PollingTime=10", "--StopAfterFailedMatches=1", "-M", "100")

_OWN_EXTENSION = "Jennifer"  # a server's extension: a pilot has nothing of it to install


def pilot_arguments(
    vo: str, vm_type: VMTypeConfig, profile: ProfileConfig, processors: int, pilot_stamp: str
) -> tuple[str, ...]:
    """The arguments of ``dirac-pilot.py`` as a list for exec; where an option comes twice, the pilot takes the last.

    :param processors: of the VM, for a VM type that does not say its own
    :raises ContextError: an option of the CS has unbalanced quotes
    """
    processors = vm_type.number_of_processors or processors
    options = [*IDLE_OPTIONS, "-P", str(processors), "-m", str(processors)]
    options += _vo_options(Operations(vo=vo))
    options += ["-N", vm_type.ce, "-Q", vm_type.queue, "-n", vm_type.site, f"--wnVO={vo}"]
    options += _queue_options(vm_type)
    options += _split("ExtraPilotOptions", vm_type.extra_pilot_options)
    options += _split("PilotOptions", profile.pilot_options)
    return (*options, "--pilotUUID", pilot_stamp)


def pilot_environment(vo: str, profile: ProfileConfig, pilot_reference: str, pilot_stamp: str) -> dict[str, str]:
    """What the pilot finds in its environment; ``X509_USER_PROXY`` is added in the VM, which knows the place."""
    grid_security = "/etc/grid-security"
    return {
        # Pilot 3 takes its reference from here, and not from -R, which one of its own commands overwrites.
        "PILOT_UUID": pilot_reference,
        "DIRAC_PILOT_STAMP": pilot_stamp,
        "DIRAC_PILOT_VO": vo,
        "X509_CERT_DIR": str(profile.x509_cert_dir or DEFAULT_CERT_DIR),
        "X509_VOMS_DIR": f"{grid_security}/vomsdir",
        "X509_VOMSES": f"{grid_security}/vomses",
    }


def pilot_file_urls(vo: str) -> tuple[str, ...]:
    """The places of ``pilot.tar`` and its companions, from ``/Operations/<vo>/Pilot/pilotFileServer``, in order.

    :raises ContextError: none is set, or one is neither https nor a file of the VM
    """
    locations = Operations(vo=vo).getValue("Pilot/pilotFileServer", [])
    urls = [location if re.match(r"\w+:/", location) else f"https://{location}" for location in locations]
    wrong = [url for url in urls if not url.startswith(("https://", "file:/"))]
    if wrong or not urls:
        path = f"/Operations/{vo}/Pilot/pilotFileServer"
        raise ContextError(f"{path}: expected https servers with the pilot's files, found {', '.join(wrong) or 'none'}")
    # DIRAC's web server has them under /pilot, a plain one at its root.
    return tuple(url.rstrip("/") for url in urls) + tuple(f"{url.rstrip('/')}/pilot" for url in urls)


def pilot_logger(vo: str, ce: str) -> str:
    """The address of DIRAC's remote pilot logging for this VO at this CE, "" where it is switched off."""
    operations = Operations(vo=vo)
    admitted = operations.getValue("Pilot/RemoteLoggerCEsWhiteList", [])
    if not operations.getValue("Pilot/RemoteLogging", False) or (admitted and ce not in admitted):
        return ""
    return operations.getValue("Pilot/RemoteLoggerURL", "")


def _vo_options(operations: Operations) -> list[str]:
    # Pilot/Installation has no part in this: Pilot 3 has dropped -V and stops at options that it does not know.
    options = []
    if project := operations.getValue("Pilot/Project", ""):
        options += ["-l", project]
    if script := operations.getValue("Pilot/ArchitectureScript", ""):
        options.append(f"--architectureScript={script}")
    for name, option in (
        ("PreinstalledEnv", "--preinstalledEnv"),
        ("PreinstalledEnvPrefix", "--preinstalledEnvPrefix"),
        ("CVMFS_locations", "--CVMFS_locations"),
    ):
        if value := operations.getValue(f"Pilot/{name}", ""):
            options.append(f"{option}={value}")
            break
    extensions = operations.getValue("Pilot/Extensions", []) or [
        name for name in CSGlobals.getCSExtensions() if "Web" not in name and name != _OWN_EXTENSION
    ]
    if extensions and extensions[0] != "None":
        options += ["-e", ",".join(extensions)]
    return options


def _queue_options(vm_type: VMTypeConfig) -> list[str]:
    settings = list(vm_type.generic_options)
    if vm_type.shared_area:
        settings.append(f"/LocalSite/SharedArea={vm_type.shared_area}")
    options = [word for setting in settings for word in ("-o", setting)]
    for option, value in (
        ("--userEnvVariables", vm_type.user_env_variables),
        ("--modules", vm_type.modules),
        ("--pipInstallOptions", vm_type.pip_install_options),
    ):
        if value:
            options.append(f"{option}={value}")
    return options


def _split(name: str, options: Iterable[str]) -> list[str]:
    """The words of options as a shell would split them: the SiteDirector's wrapper does the same."""
    try:
        return [word for option in options for word in shlex.split(option)]
    except ValueError as error:
        raise ContextError(f"{name}: expected options as a shell takes them, found one with {error}") from None
