"""What the stand-in knows: Pilot 3's options, its environment, and what ``pilot.json`` says for this VO and CE.

Python 3.6 and later, standard library, few imports: in a guest without KVM each import is paid in tenths of a second.
"""

import getopt
import json
import os
import sys
import time

# Every option of Pilot 3 (DIRACGrid/Pilot, pilotTools.py): short form, long form ("=": takes a value). Those that have
# no field below are accepted and not used: what they ask for does not exist in the stand-in.
OPTIONS = (
    ("a:", "gridCEType="),
    ("c", "cert"),
    ("d", "debug"),
    ("e:", "extraPackages="),
    ("g:", "loggerURL="),
    ("h", "help"),
    ("k", "keepPP"),
    ("l:", "project="),
    ("m:", "maxNumberOfProcessors="),
    ("n:", "name="),
    ("o:", "option="),
    ("r:", "release="),
    ("s:", "section="),
    ("t:", "tag="),
    ("u:", "url="),
    ("x:", "execute="),
    ("y:", "CEType="),
    ("z", "pilotLogging"),
    ("C:", "configurationServer="),
    ("D:", "disk="),
    ("E:", "commandExtensions="),
    ("F:", "pilotCFGFile="),
    ("G:", "Group="),
    ("K:", "certLocation="),
    ("M:", "MaxCycles="),
    ("N:", "Name="),
    ("O:", "OwnerDN="),
    ("P:", "pilotProcessors="),
    ("Q:", "Queue="),
    ("R:", "reference="),
    ("S:", "setup="),
    ("T:", "CPUTime="),
    ("W:", "gateway="),
    ("X:", "commands="),
    ("Z:", "commandOptions="),
    ("", "architectureScript="),
    ("", "CVMFS_locations="),
    ("", "modules="),
    ("", "pilotUUID="),
    ("", "pipInstallOptions="),
    ("", "PollingTime="),
    ("", "preinstalledEnv="),
    ("", "preinstalledEnvPrefix="),
    ("", "requiredTag="),
    ("", "StopAfterFailedMatches="),
    ("", "StopOnApplicationFailure="),
    ("", "userEnvVariables="),
    ("", "wnVO="),
)
# They may be given several times.
LISTS = ("option", "tag", "requiredTag")
# Pilot 3 stops without them; so does the stand-in, or a VM that works here would fail there.
SECURITY_DIRECTORIES = ("X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES")


class PilotError(Exception):
    """The pilot cannot work here; the text says what was expected and what was found."""


def log(level, text):
    """One line on standard output, at once, in UTC."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stdout.write(f"{now} {level:7s} [StandInPilot] {text}\n")
    sys.stdout.flush()


def parse(arguments):
    """The command line as {long name: value}; flags are True, repeatable options are lists."""
    short = "".join(option for option, _ in OPTIONS)
    names = {"-" + option[0]: name.rstrip("=") for option, name in OPTIONS if option}
    try:
        pairs, rest = getopt.getopt(arguments, short, [name for _, name in OPTIONS])
    except getopt.GetoptError as error:
        raise PilotError(f"command line: {error}") from error
    if rest:
        raise PilotError(f"command line: expected options only, found {rest}")
    options = {name: [] for name in LISTS}
    for key, value in pairs:
        name = names.get(key, key.lstrip("-"))
        if name in LISTS:
            options[name].append(value)
        else:
            options[name] = value or True
    return options


def read_pilot_json(path):
    try:
        with open(path) as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise PilotError(f"{path}: expected the JSON that DIRAC's synchroniser writes, found: {error}") from error


def pilot_section(published, vo, setup):
    """The Pilot section of ``/Operations`` for a VO: later places win over earlier ones, as in Pilot 3."""
    places = ["Defaults", setup, f"{vo}/Defaults", f"{vo}/{setup}" if setup else "", vo]
    merged = {}
    for place in places:
        section = published
        for name in place.split("/") + ["Pilot"] if place else ["Pilot"]:
            section = section.get(name, {})
        merged.update(section)
    return merged


class PilotParams:
    """Everything the commands need, from command line, environment and ``pilot.json`` (the command line wins)."""

    def __init__(self, arguments, environment):
        options = parse(arguments)
        self.help = "help" in options
        published = read_pilot_json(options.get("pilotCFGFile", "pilot.json"))
        self.vo = options.get("wnVO") or environment.get("DIRAC_PILOT_VO") or "unknown"
        setup = options.get("setup") or published.get("DefaultSetup", "")
        section = pilot_section(published, self.vo, setup)
        self.ce, self.queue = options.get("Name", ""), options.get("Queue", "")
        ce = published.get("CEs", {}).get(self.ce, {})
        queue = ce.get(self.queue, {})
        self.site = options.get("name") or ce.get("Site", "")
        self.inner_ce = options.get("CEType") or queue.get("LocalCEType") or ce.get("LocalCEType") or ""
        servers = published.get("ConfigurationServers", [])
        self.servers = options.get("configurationServer") or ", ".join(servers)
        self.version = (options.get("release") or section.get("Version", "")).split(",")[0].strip()
        self.project = options.get("project") or section.get("Project", "")
        self.max_cycles = number(options, "MaxCycles", 10)
        self.polling_time = number(options, "PollingTime", 20)
        self.failed_matches = number(options, "StopAfterFailedMatches", 10)
        self.stop_on_failure = options.get("StopOnApplicationFailure", "True")
        self.processors = number(options, "pilotProcessors", os.cpu_count() or 1)
        self.payload_processors = number(options, "maxNumberOfProcessors", 0)
        self.cpu_seconds = number(options, "CPUTime", 0)
        self.tags, self.required_tags = options["tag"], options["requiredTag"]
        self.settings = [option for option in options["option"] if "=" in option]
        self.variables = options.get("userEnvVariables", "")
        self.environment_script = environment_script(options, self.version)
        self.execute = options.get("execute", "")
        self.owner_group, self.owner_dn = options.get("Group", ""), options.get("OwnerDN", "")
        self.debug = "debug" in options
        self.certificate = "cert" in options
        self.certificate_directory = options.get("certLocation", os.path.join(os.getcwd(), "etc/grid-security"))
        self.keep_python_path = "keepPP" in options
        # PILOT_UUID is how a VM is told its pilot's reference; the stamp stands in for it elsewhere
        self.reference = environment.get("PILOT_UUID") or options.get("pilotUUID", "")
        self.flavour = "CLOUD" if environment.get("PILOT_UUID") else "DIRAC"

    def check(self, environment):
        """:raises PilotError: something without which the JobAgent could not work is missing"""
        for what, value in (("site (-n, or its CE in pilot.json)", self.site), ("CE (-N)", self.ce)):
            if not value:
                raise PilotError(f"no {what} was given")
        if not self.servers:
            raise PilotError("no configuration server: expected ConfigurationServers in pilot.json, or -C")
        if not os.path.isfile(self.environment_script):
            raise PilotError(
                f"no DIRAC environment: expected a file, found {self.environment_script!r} "
                "(--preinstalledEnv or --preinstalledEnvPrefix)"
            )
        for name in SECURITY_DIRECTORIES:
            directory = environment.get(name, "")
            if not os.path.isdir(directory) or not os.listdir(directory):
                raise PilotError(f"{name}: expected a directory that is not empty, found {directory!r}")
        proxy = environment.get("X509_USER_PROXY", "")
        if not self.certificate and not os.access(proxy, os.R_OK):
            raise PilotError(f"X509_USER_PROXY: expected a proxy that user {os.getuid()} can read, found {proxy!r}")


def number(options, name, default):
    try:
        return int(options.get(name, default))
    except ValueError:
        raise PilotError(f"--{name}: expected a whole number, found {options[name]!r}") from None


def environment_script(options, version):
    prefix = options.get("preinstalledEnvPrefix", "")
    if options.get("preinstalledEnv") or not prefix:
        return options.get("preinstalledEnv", "")
    architecture = f"{os.uname().sysname}-{os.uname().machine}"
    return os.path.join(prefix, version or "pro", architecture, "diracosrc")
