"""The pilot's command line is one that Pilot 3 takes, and says what the SiteDirector's would."""

import getopt

import pytest

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.WorkloadManagementSystem.Context.PilotCommand import (
    pilot_arguments,
    pilot_environment,
    pilot_file_urls,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError

# The options of Pilot 3 as of 2026-06, as getopt takes them.
SHORT = "a:cde:g:hkl:n:o:m:r:s:t:u:x:y:zC:D:E:F:G:K:M:N:O:P:Q:R:S:T:W:X:Z:"
LONG = (
    "requiredTag= gridCEType= cert debug extraPackages= loggerURL= help keepPP project= name= option="
    " maxNumberOfProcessors= modules= userEnvVariables= pipInstallOptions= release= section= tag= url= execute= CEType="
    " pilotLogging configurationServer= disk= commandExtensions= pilotCFGFile= Group= certLocation= MaxCycles="
    " PollingTime= StopOnApplicationFailure= StopAfterFailedMatches= Name= OwnerDN= wnVO= pilotProcessors= Queue="
    " reference= setup= CPUTime= gateway= commands= commandOptions= pilotUUID= preinstalledEnv= preinstalledEnvPrefix="
    " architectureScript= CVMFS_locations="
)
ALL_QUEUE_OPTIONS = {
    "GenericOptions": "/LocalSite/A=1, /LocalSite/B=two words",
    "SharedArea": "/shared/area",
    "UserEnvVariables": "A:::1,B:::2",
    "ExtraPilotOptions": "--debug, -D 5000",
    "Modules": "https://github.com/DIRACGrid/DIRAC.git:::DIRAC:::integration",
    "PipInstallOptions": "--index-url=https://here.org",
}


def arguments(processors=1):
    (vm_type,) = read_cloud_sites().endpoints[0].vm_types
    return pilot_arguments("belle", vm_type, read_profile("belle"), processors, "0123abcd")


def understood(processors=1):
    """What Pilot 3 makes of our arguments: all values of each option, in order."""
    options, rest = getopt.getopt(list(arguments(processors)), SHORT, LONG.split())
    assert rest == []
    values = {}
    for name, value in options:
        values.setdefault(name, []).append(value)
    return values


def test_the_pilot_knows_where_it_is_and_for_whom(world):
    options = understood()
    assert (options["-n"], options["-N"], options["-Q"]) == (["CLOUD.Here.org"], ["ours"], ["q"])
    assert (options["--wnVO"], options["--pilotUUID"]) == (["belle"], ["0123abcd"])


def test_an_idle_pilot_ends_soon(world):
    options = understood()
    assert options["--PollingTime"] == ["10"]
    assert options["--StopAfterFailedMatches"] == ["1"]
    assert options["-M"] == ["100"]


def test_the_processors_are_those_of_the_vm_type_else_of_the_flavor(world):
    assert understood(processors=8)["-P"] == understood(processors=8)["-m"] == ["2"]
    world(queue={"NumberOfProcessors": 0})
    assert understood(processors=8)["-P"] == understood(processors=8)["-m"] == ["8"]


def test_all_options_of_a_queue_reach_the_pilot_as_one_word_each(world):
    world(queue=ALL_QUEUE_OPTIONS)
    options = understood()
    assert options["-o"] == ["/LocalSite/A=1", "/LocalSite/B=two words", "/LocalSite/SharedArea=/shared/area"]
    assert options["--userEnvVariables"] == ["A:::1,B:::2"]
    assert (options["--debug"], options["-D"]) == ([""], ["5000"])
    assert options["--modules"] == [ALL_QUEUE_OPTIONS["Modules"]]
    assert options["--pipInstallOptions"] == [ALL_QUEUE_OPTIONS["PipInstallOptions"]]


def test_what_the_profile_sets_wins_over_our_defaults(world):
    world(cloud={"PilotOptions": "--PollingTime=60, -M 5, -o '/LocalSite/C=1 2'"})
    options = understood()
    assert (options["--PollingTime"][-1], options["-M"][-1], options["-o"]) == ("60", "5", ["/LocalSite/C=1 2"])


def test_the_vos_pilot_options_are_drawn_as_the_site_director_draws_them(world):
    world(pilot={"Project": "BelleDIRAC", "ArchitectureScript": "dirac-platform", "Extensions": "Belle"})
    options = understood()
    assert (options["-l"], options["--architectureScript"]) == (["BelleDIRAC"], ["dirac-platform"])
    assert options["-e"] == ["Belle"]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["PreinstalledEnv", "PreinstalledEnvPrefix", "CVMFS_locations"], "--preinstalledEnv"),
        (["PreinstalledEnvPrefix", "CVMFS_locations"], "--preinstalledEnvPrefix"),
        (["CVMFS_locations"], "--CVMFS_locations"),
        ([], None),
    ],
)
def test_one_way_of_installing_is_named_the_most_local_first(world, settings, wanted):
    world(pilot=dict.fromkeys(settings, "/somewhere"))
    ways = {"--preinstalledEnv", "--preinstalledEnvPrefix", "--CVMFS_locations"}
    assert ways & understood().keys() == ({wanted} if wanted else set())


def test_a_server_side_extension_is_not_installed_by_pilots(world):
    assert "-e" not in understood()
    world(pilot={"Extensions": "None"})
    assert "-e" not in understood()


def test_installation_has_no_option_any_more(world):
    world(pilot={"Installation": "x"})
    assert "-V" not in arguments()


def test_unbalanced_quotes_are_an_error_that_names_the_option(world):
    world(cloud={"PilotOptions": "-o 'x"})
    with pytest.raises(ContextError, match="PilotOptions"):
        arguments()


def test_the_reference_is_in_the_environment_where_pilot_3_looks_for_it(world):
    environment = pilot_environment("belle", read_profile("belle"), "jennifer://ours/1", "0123abcd")
    assert environment["PILOT_UUID"] == "jennifer://ours/1"
    assert environment["DIRAC_PILOT_STAMP"] == "0123abcd"
    assert environment["DIRAC_PILOT_VO"] == "belle"
    assert environment.keys() >= {"X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES"}


def test_the_certificates_directory_is_the_profiles(world):
    world(cloud={"X509CertDir": "/cvmfs/grid.cern.ch/etc/grid-security/certificates"})
    environment = pilot_environment("belle", read_profile("belle"), "r", "s")
    assert environment["X509_CERT_DIR"] == "/cvmfs/grid.cern.ch/etc/grid-security/certificates"


def test_file_servers_are_tried_in_order_at_both_places(world):
    world(pilot={"pilotFileServer": "a.org:8443, https://b.org/files/"})
    assert pilot_file_urls("belle") == (
        "https://a.org:8443",
        "https://b.org/files",
        "https://a.org:8443/pilot",
        "https://b.org/files/pilot",
    )


@pytest.mark.parametrize("value", ["", "http://plain.org"])
def test_a_pilot_comes_over_tls_or_not_at_all(world, value):
    world(pilot={"pilotFileServer": value})
    with pytest.raises(ContextError, match="/Operations/belle/Pilot/pilotFileServer"):
        pilot_file_urls("belle")
