"""The stand-in takes what Pilot 3 takes: options, environment, and the merged ``pilot.json``."""

import json
import subprocess
import sys

import pytest

from lab.pilot.publish import STANDIN

# The option table of Pilot 3 (DIRACGrid/Pilot, June 2026), with a value for those that take one.
PILOT_3_OPTIONS = """
--requiredTag=x -a x --gridCEType=x -c --cert -d --debug -e x --extraPackages=x -g x --loggerURL=x -k --keepPP -l x
--project=x -n x --name=x -o x --option=x -m 1 --maxNumberOfProcessors=1 --modules=x --userEnvVariables=a:::b
--pipInstallOptions=x -r x --release=x -s x --section=x -t x --tag=x -u x --url=x -x true --execute=true -y InProcess
--CEType=InProcess -z --pilotLogging -C x --configurationServer=x -D 1 --disk=1 -E x --commandExtensions=x -G x
--Group=x -K x --certLocation=x -M 1 --MaxCycles=1 --PollingTime=1 --StopOnApplicationFailure=False
--StopAfterFailedMatches=1 -N x --Name=x -O x --OwnerDN=x --wnVO=x -P 1 --pilotProcessors=1 -Q x --Queue=x -R x
--reference=x -S x --setup=x -T 1 --CPUTime=1 -W x --gateway=x -X x --commands=x -Z a=b --commandOptions=a=b
--pilotUUID=x --preinstalledEnvPrefix=x --architectureScript=x --CVMFS_locations=x
""".split()

PUBLISHED = {
    "CEs": {
        "ce": {"Site": "CLOUD.A.fr", "GridCEType": "JenniferQEMU", "LocalCEType": "", "q": {"LocalCEType": "Pool"}}
    },
    "ConfigurationServers": ["dips://a:9135/Configuration/Server", "dips://b:9135/Configuration/Server"],
    "Defaults": {"Pilot": {"Version": "9.1.1", "Project": "Everybody"}},
    "belle": {"Defaults": {"Pilot": {"Version": "9.1.2"}}, "Pilot": {"Version": "9.1.3, 9.0.0"}},
}


@pytest.fixture
def standin(tmp_path):
    """Run the pilot in a directory of its own, with an environment script whose dirac-agent prints its arguments."""
    programs = tmp_path / "bin"
    programs.mkdir()
    agent = programs / "dirac-agent"
    agent.write_text('#!/bin/sh\nprintf "argument: %s\\n" "$@"\nenv\nexit 3\n')
    agent.chmod(0o755)
    (tmp_path / "diracosrc").write_text(f'export PATH="{programs}:$PATH" SOURCED=yes\n')
    (tmp_path / "pilot.json").write_text(json.dumps(PUBLISHED))
    (tmp_path / "proxy").write_text("a proxy")
    environment = {"PATH": "/usr/bin:/bin", "X509_USER_PROXY": str(tmp_path / "proxy"), "PYTHONPATH": "/elsewhere"}
    for name in ("X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "file").touch()
        environment[name] = str(directory)

    def run(*options, **more):
        command = [sys.executable, STANDIN / "dirac-pilot.py", f"--preinstalledEnv={tmp_path}/diracosrc", *options]
        return subprocess.run(
            command, cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, check=False
        )

    run.directory = tmp_path
    return run


def configuration(standin):
    from diraccfg import CFG

    return CFG().loadFromFile(str(standin.directory / "pilot.cfg")).getAsDict()


def test_every_option_of_pilot_3_is_taken(standin):
    done = standin(*PILOT_3_OPTIONS)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_an_unknown_option_is_refused_by_name(standin):
    done = standin("-N", "ce", "--unheardOf=1")
    assert done.returncode == 1
    assert "option --unheardOf not recognized" in done.stdout


def test_the_job_agent_gets_the_options_and_its_exit_code_is_the_pilots(standin):
    done = standin("-N", "ce", "-n", "CLOUD.B.fr", "-y", "InProcess", "-M", "100", "--MaxCycles=1", "--PollingTime=10")
    assert done.returncode == 3
    assert "argument: WorkloadManagement/JobAgent" in done.stdout
    assert "argument: MaxCycles=1\n" in done.stdout
    assert "argument: PollingTime=10\n" in done.stdout
    assert "argument: StopAfterFailedMatches=10\n" in done.stdout
    assert "SOURCED=yes" in done.stdout
    assert f"DIRACSYSCONFIG={standin.directory}/pilot.cfg" in done.stdout
    assert "PYTHONPATH" not in done.stdout


def test_a_pool_is_filled_until_every_processor_has_failed_to_match(standin):
    done = standin("-N", "ce", "-Q", "q", "-P", "8", "--StopAfterFailedMatches=1")
    assert "argument: StopAfterFailedMatches=8\n" in done.stdout
    assert "argument: FillingModeFlag=True\n" in done.stdout


def test_site_and_servers_come_from_pilot_json(standin):
    standin("-N", "ce", "-Q", "q", "--wnVO=belle", "-P", "2", "-t", "ssd", "-o", "/LocalSite/SharedArea=/sw")
    cfg = configuration(standin)
    site = cfg["LocalSite"]
    assert (site["Site"], site["GridCE"], site["CEQueue"], site["LocalCE"]) == ("CLOUD.A.fr", "ce", "q", "Pool")
    assert site["SharedArea"] == "/sw"
    assert cfg["DIRAC"]["Configuration"]["Servers"].split(", ") == PUBLISHED["ConfigurationServers"]
    resource = cfg["Resources"]["Computing"]["CEDefaults"]
    assert (resource["NumberOfProcessors"], resource["Tag"], resource["VirtualOrganization"]) == ("2", "ssd", "belle")


@pytest.mark.parametrize(("vo", "version"), [("belle", "9.1.3"), ("t2k.org", "9.1.1")])
def test_what_a_vo_says_wins_over_the_defaults(standin, vo, version):
    standin("-N", "ce", DIRAC_PILOT_VO=vo)
    site = configuration(standin)["LocalSite"]
    assert (site["ReleaseVersion"], site["ReleaseProject"]) == (version, "Everybody")


def test_the_command_line_wins_over_pilot_json(standin):
    standin("-N", "ce", "--wnVO=belle", "-r", "9.1.9", "-n", "CLOUD.B.fr", "-C", "dips://c:9135/Configuration/Server")
    cfg = configuration(standin)
    assert (cfg["LocalSite"]["ReleaseVersion"], cfg["LocalSite"]["Site"]) == ("9.1.9", "CLOUD.B.fr")
    assert cfg["DIRAC"]["Configuration"]["Servers"] == "dips://c:9135/Configuration/Server"


def test_the_reference_of_a_vm_is_its_uuid(standin):
    standin("-N", "ce", "--pilotUUID=stamp", "-R", "ignored", PILOT_UUID="cloud://a/1")
    site = configuration(standin)["LocalSite"]
    assert (site["PilotReference"], site["GridMiddleware"]) == ("cloud://a/1", "CLOUD")


@pytest.mark.parametrize("name", ["X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES"])
def test_an_empty_security_directory_stops_the_pilot_with_a_word(standin, name):
    (standin.directory / name / "file").unlink()
    done = standin("-N", "ce")
    assert done.returncode == 1
    assert f"{name}: expected a directory that is not empty" in done.stdout


@pytest.mark.parametrize(
    ("options", "environment", "complaint"),
    [
        ((), {}, "no site"),
        (("-n", "CLOUD.A.fr"), {}, "no CE"),
        (("-N", "ce", "-M", "many"), {}, "--MaxCycles: expected a whole number, found 'many'"),
        (("-N", "ce", "--preinstalledEnv=/nowhere"), {}, "no DIRAC environment: expected a file, found '/nowhere'"),
        (("-N", "ce"), {"X509_USER_PROXY": "/nowhere"}, "X509_USER_PROXY: expected a proxy"),
        (("-N", "ce", "-F", "/nowhere"), {}, "/nowhere: expected the JSON"),
    ],
)
def test_what_is_missing_is_named(standin, options, environment, complaint):
    done = standin(*options, **environment)
    assert done.returncode == 1
    assert complaint in done.stdout
    assert not (standin.directory / "pilot.cfg").exists()
