"""A VO's profile."""

from datetime import timedelta
from pathlib import Path

import pytest

from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig, read_profile
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds


def operations(defaults=None, **belle):
    return {"Operations": {"Defaults": {"Cloud": defaults or {}}, "belle": {"Cloud": belle}}}


def the_problem(cs, defaults=None, **options):
    cs(operations(defaults, **options))
    with pytest.raises(ConfigError) as caught:
        read_profile("belle")
    (problem,) = caught.value.problems
    return problem


def test_a_vo_without_a_section_has_the_defaults(cs):
    cs({})
    assert read_profile("belle") == ProfileConfig()


def test_the_vos_options_stand_over_those_of_all_vos(cs):
    cs(operations({"PilotUser": "common", "ProxyLifetime": 3600}, PilotUser="belle"))
    assert (read_profile("belle").pilot_user, read_profile("t2k.org").pilot_user) == ("belle", "common")
    assert read_profile("belle").proxy_lifetime == timedelta(hours=1)


def test_lists_paths_and_host_lines_are_read(cs):
    cs(operations(
        PilotOptions="--debug, -o /LocalSite/X=1",
        TrustAnchors="/etc/ca.pem",
        ExtraHosts="10.0.2.2 dirac.here.org dirac, fd00::2 other",
    ))  # fmt: skip
    profile = read_profile("belle")
    assert profile.pilot_options == ("--debug", "-o /LocalSite/X=1")
    assert profile.trust_anchors == Path("/etc/ca.pem")
    assert profile.extra_hosts == ("10.0.2.2 dirac.here.org dirac", "fd00::2 other")


@pytest.mark.parametrize("value", ["10.0.2.2", "dirac 10.0.2.2", "10.0.2.2 a;b", "300.0.0.1 dirac"])
def test_a_line_that_hosts_would_not_understand_is_refused(cs, value):
    assert the_problem(cs, ExtraHosts=value).path == "/Operations/belle/Cloud/ExtraHosts"


@pytest.mark.parametrize("value", ["root", "Some User", "", "x; reboot"])
def test_the_pilots_user_is_an_unprivileged_name(cs, value):
    assert the_problem(cs, PilotUser=value).expected == "the name of an unprivileged user"


def test_unknown_options_and_sections_are_refused(cs):
    assert the_problem(cs, PilotOption="--debug").hint == "did you mean PilotOptions?"
    assert the_problem(cs, Templates={"a": 1}).path == "/Operations/belle/Cloud/Templates"


@pytest.mark.parametrize("where", ["Defaults", "belle"])
def test_a_secret_is_refused_with_its_place_and_without_its_value(cs, where):
    secret = {"PilotOptions": "--token hunter2"}
    problem = the_problem(cs, secret) if where == "Defaults" else the_problem(cs, **secret)
    assert problem.path == f"/Operations/{where}/Cloud/PilotOptions"
    assert "hunter2" not in str(problem)


def test_a_secret_in_a_subsection_is_found_too(cs):
    assert the_problem(cs, More={"Secret": "hunter2"}).path == "/Operations/belle/Cloud/More/Secret"


def test_a_vo_has_limits_over_all_endpoints(cs):
    cs(operations(MaxCores=100, SoftMaxVMs=20))
    assert bounds_of(read_profile("belle")) == Bounds(max_cores=100, soft_max_vms=20)
