"""The package's profiles: what each is said to give a VO's VMs."""

import pytest
from profiles import PROFILES, context_of, fill, profile

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracChecks import TO_BE_FILLED_IN, Served, check_profile, served
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import Aspect, Verdict

PILOT_WORDS = {
    "CVMFS_locations",
    "Extensions",
    "GenericPilotGroup",
    "GenericPilotUser",
    "Project",
    "Version",
    "pilotFileServer",
}


def option(argv, name):
    return argv[argv.index(name) + 1] if name in argv else None


def test_the_three_vos_of_the_demonstrator_have_one():
    assert set(PROFILES) == {"belle", "t2k.org", "hyperk.org"}


@pytest.mark.parametrize("vo", PROFILES)
def test_a_profile_is_of_its_vo_alone_and_of_words_that_are_read(cs, vo):
    assert list(profile(vo)) == ["Operations"] and list(profile(vo)["Operations"]) == [vo]
    assert set(profile(vo)["Operations"][vo]) == {"Pilot", "Cloud"}
    assert set(profile(vo)["Operations"][vo]["Pilot"]) <= PILOT_WORDS
    fill(cs, vo)
    read_profile(vo)  # which refuses what it does not know, and what looks like a secret


@pytest.mark.parametrize(
    ("vo", "repositories"),
    [
        ("belle", ("belle.cern.ch", "grid.cern.ch")),
        ("t2k.org", ("t2k.egi.eu", "dirac.egi.eu", "grid.cern.ch")),
        ("hyperk.org", ("hyperk.egi.eu", "dirac.egi.eu", "grid.cern.ch")),
    ],
)
def test_a_vos_vms_mount_its_software_and_take_the_cas_from_cvmfs(cs, vo, repositories):
    context = context_of(cs, vo)
    assert context.cvmfs.repositories == repositories
    assert context.cert_dir == "/cvmfs/grid.cern.ch/etc/grid-security/certificates"


def test_belle_ii_pilots_are_belle_diracs(cs):
    argv = context_of(cs, "belle").pilot_argv
    assert (option(argv, "-l"), option(argv, "-e")) == ("Belle", "Belle")


@pytest.mark.parametrize("vo", ["t2k.org", "hyperk.org"])
def test_the_pilots_of_t2k_and_hyper_k_are_plain_dirac_from_cvmfs(cs, vo):
    argv = context_of(cs, vo).pilot_argv
    assert (option(argv, "-l"), option(argv, "-e")) == (None, None)
    assert "--CVMFS_locations=/cvmfs/dirac.egi.eu" in argv
    assert f"--wnVO={vo}" in argv


def checked(vo):
    (endpoint,) = read_cloud_sites().endpoints
    return check_profile(vo, served(endpoint))


@pytest.mark.parametrize("vo", PROFILES)
def test_check_names_what_nobody_filled_in(cs, vo):
    fill(cs, vo)
    finding = checked(vo)
    assert (finding.aspect, finding.verdict) == (Aspect.PROFILE, Verdict.FAILED)
    for name in ("GenericPilotUser", "Version"):
        assert f"Pilot/{name}" in finding.detail
    assert "GenericPilotGroup" not in finding.detail


@pytest.mark.parametrize("vo", PROFILES)
def test_a_profile_that_is_filled_in_lacks_squids_at_most(cs, vo):
    cs({"Registry": {"VO": {vo: {}}}})
    fill(cs, vo, GenericPilotUser="pilot", Version="v9.1")
    assert TO_BE_FILLED_IN not in checked(vo).detail
    assert checked(vo).verdict is not Verdict.FAILED


def filled_world(world, ce=None, **cloud):
    world(pilot={"Version": "v9.1"}, cloud=cloud, **(ce or {"CVMFSProxy": ""}))
    (endpoint,) = read_cloud_sites().endpoints
    return check_profile("belle", [Served(endpoint, endpoint.vm_types[0], ("belle",))])


def test_a_profile_with_a_squid_is_complete(world):
    finding = filled_world(world, CVMFSRepositories="belle.cern.ch", CVMFSProxy="http://squid:3128")
    assert (finding.verdict, finding.detail) == (Verdict.OK, "v9.1; CVMFS of belle.cern.ch")


def test_the_endpoints_without_a_squid_are_named(world):
    finding = filled_world(world, CVMFSRepositories="belle.cern.ch")
    assert finding.verdict is Verdict.WARNING
    assert "no squid at CLOUD.Here.org/ours" in finding.detail


def test_what_a_profile_leaves_to_image_and_pilot_is_said(world):
    world()
    finding = check_profile("belle", [])
    assert finding.verdict is Verdict.OK
    assert "no release in Pilot/Version" in finding.detail and "no CVMFSRepositories" in finding.detail


def test_a_wrong_profile_is_told(world):
    finding = filled_world(world, PilotUser="root")
    assert finding.verdict is Verdict.FAILED
    assert "PilotUser" in finding.detail


def test_certificates_cannot_be_written_into_cvmfs(world):
    finding = filled_world(world, TrustAnchors="/etc/ca.pem", X509CertDir="/cvmfs/grid.cern.ch/certificates")
    assert finding.verdict is Verdict.FAILED
    assert "X509CertDir: expected a directory that TrustAnchors can be written to" in finding.detail
