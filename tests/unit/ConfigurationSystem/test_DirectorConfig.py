"""The agent's own options."""

from datetime import timedelta

import pytest

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig, read_director_config
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

SECTION = "/Systems/WorkloadManagement/Agents/CloudDirector"


def agent(**options):
    return {"Systems": {"WorkloadManagement": {"Agents": {"CloudDirector": options}}}}


def the_problem(cs, **options):
    cs(agent(**options))
    with pytest.raises(ConfigError) as caught:
        read_director_config()
    (problem,) = caught.value.problems
    return problem


def test_time_outs_are_seconds_and_the_rest_keeps_the_planners_defaults(cs):
    cs(agent(VO="belle, t2k.org", LaunchTimeout=60, MaxBooting=3))
    config = read_director_config()
    assert config.vos == ("belle", "t2k.org")
    assert config.policy == Policy(launch_timeout=timedelta(minutes=1), max_booting=3)


def test_every_value_of_the_policy_can_be_set(cs):
    fields = DirectorConfig.model_fields
    names = [fields[name].alias for name in Policy.__dataclass_fields__]
    cs(agent(VO="belle", **dict.fromkeys(names, 7)))
    policy = read_director_config().policy
    assert {getattr(policy, name) for name in Policy.__dataclass_fields__} == {7, timedelta(seconds=7)}


def test_options_of_every_dirac_agent_are_no_mistake(cs):
    cs(agent(VO="belle", PollingTime=10, LogLevel="DEBUG", MaxCycles=1, ControlDirectory="/x", shifterProxy="y"))
    assert read_director_config().polling_time == timedelta(seconds=10)


def test_a_director_without_vos_is_told_what_it_lacks(cs):
    assert the_problem(cs).path == f"{SECTION}/VO"
    assert the_problem(cs, VO="").path == f"{SECTION}/VO"


def test_an_unknown_option_is_refused(cs):
    problem = the_problem(cs, VO="belle", LaunchTimout=5)
    assert (problem.path, problem.hint) == (f"{SECTION}/LaunchTimout", "did you mean LaunchTimeout?")


@pytest.mark.parametrize("value", ["0", "10 minutes", "-5", ""])
def test_a_time_that_is_none_is_refused(cs, value):
    problem = the_problem(cs, VO="belle", LaunchTimeout=value)
    assert problem.expected == "a whole number of seconds, at least 1"


def test_a_secret_is_refused_without_its_value(cs):
    assert "hunter2" not in str(the_problem(cs, VO="belle", Password="hunter2"))


def test_quota_domains_have_limits(cs):
    cs(agent(VO="belle", QuotaDomains={"grif": {"MaxCores": 40, "SoftMaxVMs": 5}}))
    domains = read_director_config().quota_domains
    assert {name: bounds_of(limits) for name, limits in domains.items()} == {
        "grif": Bounds(max_cores=40, soft_max_vms=5)
    }


def test_an_unknown_limit_of_a_quota_domain_is_refused(cs):
    problem = the_problem(cs, VO="belle", QuotaDomains={"grif": {"MaxCore": 40}})
    assert problem.path == f"{SECTION}/QuotaDomains/grif/MaxCore"
    assert problem.hint.startswith("did you mean MaxCores")
