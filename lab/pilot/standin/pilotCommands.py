"""What the stand-in does: write ``pilot.cfg``, then become the JobAgent.

Pilot 3 starts ten dirac-* commands to the same end. The stand-in starts none: each costs 10 s in a guest without KVM.
"""

import os

from pilotTools import log

CONFIGURATION = "pilot.cfg"
# Instead of a benchmark of one minute: HS06 of a slow core, and a day.
CPU_POWER, CPU_SECONDS = 10.0, 86400


def configure(params):
    """Write ``pilot.cfg``, which JobAgent and job wrapper read (and JobAgent updates)."""
    seconds = params.cpu_seconds or CPU_SECONDS
    work = int(seconds * CPU_POWER)
    options = {
        "/DIRAC/Configuration/Servers": params.servers,
        "/DIRAC/Security/UseServerCertificate": "yes" if params.certificate else "no",
        "/LocalSite/Site": params.site,
        "/LocalSite/GridCE": params.ce,
        "/LocalSite/CEQueue": params.queue,
        "/LocalSite/LocalCE": params.inner_ce or "InProcess",
        "/LocalSite/GridMiddleware": params.flavour,
        "/LocalSite/PilotReference": params.reference,
        "/LocalSite/ReleaseVersion": params.version,
        "/LocalSite/CPUTime": work,
        "/LocalSite/CPUTimeLeft": work,
        "/LocalSite/CPUNormalizationFactor": CPU_POWER,
        "/LocalSite/CPUScalingFactor": CPU_POWER,
        "/Resources/Computing/CEDefaults/NumberOfProcessors": params.processors,
        "/Resources/Computing/CEDefaults/MaxRAM": memory_mib(),
    }
    if params.project:
        options["/LocalSite/ReleaseProject"] = params.project
    if params.certificate:
        options["/DIRAC/Security/CertFile"] = os.path.join(params.certificate_directory, "hostcert.pem")
        options["/DIRAC/Security/KeyFile"] = os.path.join(params.certificate_directory, "hostkey.pem")
    if params.vo != "unknown":
        options["/Resources/Computing/CEDefaults/VirtualOrganization"] = params.vo
    if params.payload_processors:
        options["/Resources/Computing/CEDefaults/MaxNumberOfProcessors"] = params.payload_processors
    for name, tags in (("Tag", params.tags), ("RequiredTag", params.required_tags)):
        if tags:
            options["/Resources/Computing/CEDefaults/" + name] = ", ".join(sorted(set(tags)))
    for setting in params.settings:
        path, value = setting.split("=", 1)
        options[path] = value
    with open(CONFIGURATION, "w") as stream:
        stream.write("\n".join(cfg_lines(as_tree(options))) + "\n")
    log("INFO", f"{CONFIGURATION} written: {params.site}, CE {params.ce}, queue {params.queue}, VO {params.vo}")


def launch(params, environment):
    """Become the JobAgent in the preinstalled environment: its exit code and its output are the pilot's."""
    for pair in filter(None, params.variables.replace(" ", "").split(",")):
        name, _, value = pair.partition(":::")
        environment[name] = value
    environment["DIRACSYSCONFIG"] = os.path.realpath(CONFIGURATION)
    environment["PYTHONUNBUFFERED"] = "yes"
    if not params.keep_python_path:
        environment.pop("PYTHONPATH", None)
    if params.execute:
        command = 'source "$0" && exec bash -c "$1"'
        arguments = [params.execute]
    else:
        command = 'source "$0" && exec dirac-agent WorkloadManagement/JobAgent "$@"'
        arguments = job_agent_options(params)
    log("INFO", "starting: " + (params.execute or "JobAgent " + " ".join(arguments)))
    os.execvpe("bash", ["bash", "-c", command, params.environment_script] + arguments, environment)


def job_agent_options(params):
    """The JobAgent's options, as Pilot 3's LaunchAgent gives them."""
    pool = params.inner_ce.split("/")[0] == "Pool"
    options = {
        "MaxCycles": 5000 if pool else params.max_cycles,
        "PollingTime": min(20, params.polling_time) if pool else params.polling_time,
        "StopOnApplicationFailure": "False" if pool else params.stop_on_failure,
        "StopAfterFailedMatches": max(params.processors, params.failed_matches) if pool else params.failed_matches,
        "LogLevel": "DEBUG" if params.debug else "INFO",
    }
    if pool:
        options["FillingModeFlag"] = "True"
    inner = {"WorkingDirectory": os.getcwd(), "/LocalSite/InstancePath": os.getcwd()}
    inner["/AgentJobRequirements/ExtraOptions"] = CONFIGURATION
    if params.owner_group:
        inner["OwnerGroup"] = params.owner_group
    if params.owner_dn:
        inner["OwnerDN"] = params.owner_dn
    arguments = pairs(options) + ["-s", "/Resources/Computing/CEDefaults"] + pairs(inner)
    return arguments + ["--cfg", CONFIGURATION]


def pairs(options):
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def memory_mib():
    with open("/proc/meminfo") as stream:
        return int(stream.readline().split()[1]) // 1024


def as_tree(options):
    tree = {}
    for path, value in options.items():
        *sections, name = path.strip("/").split("/")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return tree


def cfg_lines(tree, indent=""):
    """DIRAC's configuration format: every brace on a line of its own."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield indent + name
            yield indent + "{"
            yield from cfg_lines(value, indent + "  ")
            yield indent + "}"
        else:
            yield f"{indent}{name} = {value}"
