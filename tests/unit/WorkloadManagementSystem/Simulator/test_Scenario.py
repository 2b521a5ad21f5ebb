"""Scenarios and traces say what they do not understand."""

import json
import math

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import ScenarioError, load, parse, shipped
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import Submission, generated, read_trace

CLOUD = {"site": "CLOUD.A.fr", "ce": "a", "vm_types": [{"queue": "q"}]}


def scenario(**values):
    return {"vos": ["belle"], "clouds": [CLOUD]} | values


@pytest.mark.parametrize("name", ["burst", "campaign", "demonstrator", "trickle"])
def test_a_shipped_scenario_is_about_something_and_has_work(name):
    assert shipped()[name]
    assert generated(load(name))


def test_a_file_may_be_yaml_or_json(tmp_path):
    (tmp_path / "one.yaml").write_text("vos: [belle]\nclouds: [{site: CLOUD.A.fr, ce: a, vm_types: [{queue: q}]}]\n")
    (tmp_path / "one.json").write_text(json.dumps(scenario()))
    assert load(str(tmp_path / "one.yaml")) == load(str(tmp_path / "one.json"))


@pytest.mark.parametrize(
    "content, words",
    [
        (scenario(colour="red"), "colour"),
        (scenario(clouds=[CLOUD | {"MaxVMs": 3}]), r"clouds\.0\.MaxVMs"),
        (scenario(clouds=[CLOUD, CLOUD]), "same site and ce"),
        (scenario(clouds=[CLOUD | {"shares": {"t2k.org": 1}}]), r"t2k\.org is not in vos"),
        (scenario(clouds=[CLOUD | {"faults": {"list_servers": {"REJECT": 0.1}}}]), "REJECT; it can have EMPTY_LIST"),
        (scenario(workload=[{"kind": "steady", "vo": "belle"}]), "cores"),
        (scenario(workload=[{"kind": "flood", "vo": "belle"}]), "flood"),
        (scenario(policy={"MaxBootign": 3}), "did you mean MaxBooting"),
        ("nonsense", "Input should be"),
    ],
)
def test_what_is_wrong_is_named(content, words):
    with pytest.raises(ScenarioError, match=words):
        parse(content, "test")


def test_a_scenario_that_does_not_exist_is_told_with_the_nearest():
    with pytest.raises(ScenarioError, match="did you mean demonstrator"):
        load("demonstratr")


def test_options_of_the_director_are_those_of_the_agents_section():
    assert (
        parse(scenario(policy={"MaxBooting": 3, "PollingTime": 60}), "test").director_config().policy.max_booting == 3
    )


def test_a_cloud_and_its_vm_types_have_the_limits_of_their_sections():
    limits = {"max_vms": 4, "max_cores": 8, "soft_max_vms": 2, "soft_max_cores": 5}
    room = {"priority": 2, "quota_domain": "grif", "max_starting_cores": 3, "vacuum_vms": 1, "shares": {"belle": 7.0}}
    cloud = CLOUD | limits | room | {"vo_limits": {"belle": limits}, "vm_types": [{"queue": "q"} | limits]}
    config = parse(scenario(clouds=[cloud]), "test").clouds[0].config()
    assert config.model_dump(include=limits.keys() | room.keys()) == limits | room
    assert config.vo_limits["belle"].model_dump() == limits
    assert config.vm_types[0].model_dump(include=limits.keys()) == limits


def test_other_work_changes_nothing_of_a_works_jobs():
    steady = {"kind": "steady", "vo": "belle", "cores": 10}
    burst = {"kind": "burst", "vo": "belle", "jobs": 5, "processors": 8}
    alone = generated(parse(scenario(workload=[steady]), "test"))
    both = generated(parse(scenario(workload=[steady, burst]), "test"))
    assert alone == tuple(one for one in both if one.processors == 1)


def test_steady_work_keeps_about_so_many_cores_busy():
    steady = {"kind": "steady", "vo": "belle", "cores": 50, "processors": 2, "hours": 3}
    drawn = generated(parse(scenario(workload=[steady], days=60), "test"))
    cores = sum(sum(one.seconds) * one.processors for one in drawn) / (60 * 86400)
    assert math.isclose(cores, 50, rel_tol=0.1)


def test_a_campaign_submits_all_its_jobs_within_its_days():
    campaign = {"kind": "campaign", "vo": "belle", "jobs": 250, "batch": 100, "from_day": 2, "to_day": 5}
    drawn = generated(parse(scenario(workload=[campaign]), "test"))
    assert [len(one.seconds) for one in drawn] == [100, 100, 50]
    assert all(2 <= one.at / 86400 < 5 for one in drawn)


def test_a_trace_counts_from_its_first_submission(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text(
        "submitted_at,vo,jobs,processors,seconds,site\n2026-01-02T00:00:10,belle,2,1,3600,x\n"
        "2026-01-02T00:00:00+00:00,t2k.org,1,8,60,y\n"
    )
    assert read_trace(file) == (Submission(0, "t2k.org", (60,), 8), Submission(10, "belle", (3600, 3600), 1))


@pytest.mark.parametrize(
    "text, words",
    [
        ("vo,jobs\nbelle,1\n", "submitted_at"),
        ("submitted_at,vo,jobs,processors,seconds\n0,belle,1,1,60\n0,belle,0,1,60\n", "line 3"),
        ("submitted_at,vo,jobs,processors,seconds\nyesterday,belle,1,1,60\n", "line 2"),
        ("submitted_at,vo,jobs,processors,seconds\n0,belle,1\n", "line 2"),
        ("submitted_at,vo,jobs,processors,seconds\n", "no submission"),
    ],
)
def test_a_trace_that_cannot_be_read_says_where(tmp_path, text, words):
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=words):
        read_trace(file)
