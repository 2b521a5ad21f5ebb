"""Which requirement keeps a task queue's jobs from a VM type, in DIRAC's rules; the lab asks DIRAC itself."""

from dataclasses import replace

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Offered, Wanted, obstacles

KEY = VMTypeKey("CLOUD.GRIF.fr", "grif", "el9")
OFFER = Offered(KEY, cpu_time=86400, processors=2, ram_mib=4096)
WANTED = Wanted("belle", "belle_user", cpu_time=3600)


def texts(wanted: dict, offer: dict | None = None) -> dict[str, str]:
    found = obstacles(replace(WANTED, **_frozen(wanted)), replace(OFFER, **_frozen(offer or {})))
    return {one.requirement.value: one.text for one in found}


def _frozen(values: dict) -> dict:
    return {name: frozenset(value) if isinstance(value, list) else value for name, value in values.items()}


@pytest.mark.parametrize(
    ("wanted", "offer", "expected"),
    [
        ({}, {"vos": ["t2k.org", "hyperk.org"]}, {"VO": "the jobs are belle's, it serves hyperk.org, t2k.org"}),
        (
            {},
            {"owner_group": "belle_prod"},
            {"OwnerGroup": "the jobs are of the group belle_user, it serves belle_prod only"},
        ),
        ({"sites": ["A", "B"]}, {}, {"Site": "the jobs may run at A, B only"}),
        ({"banned_sites": ["CLOUD.GRIF.fr"]}, {}, {"BannedSites": "the jobs ban the site CLOUD.GRIF.fr"}),
        ({"ces": ["other"]}, {}, {"GridCE": "the jobs may run at the CE other only"}),
        (
            {"cpu_time": 90000},
            {},
            {"CPUTime": "the jobs want 90000 s of CPU time (HS06), it offers 86400"},
        ),
        ({"min_ram_mib": 5000}, {}, {"RAM": "the jobs want 5000 MiB of RAM, it offers 4096"}),
        (
            {"tags": ["4Processors", "MultiProcessor"]},
            {},
            {"Processors": "the jobs want 4 processors, it offers 2"},
        ),
        (
            {"tags": ["MultiProcessor"]},
            {"processors": 1},
            {"Processors": "the jobs want several processors, it offers 1"},
        ),
        (
            {"tags": ["2Processors"]},
            {"processors": 1, "size_known": False},
            {"Processors": "the jobs want 2 processors, it offers as many as its flavor has, which is not known here"},
        ),
        (
            {"tags": ["WholeNode", "MultiProcessor"]},
            {"processors": 1},
            {"WholeNode": "the jobs want a whole node, and its WholeNode is not set"},
        ),
        (
            {"tags": ["GPU", "4Processors"]},
            {"processors": 8},
            {"Tag": "the jobs want the tag GPU, which it does not have"},
        ),
        (
            {},
            {"tags": ["GPU"], "required_tags": ["GPU"]},
            {"RequiredTag": "it takes jobs with the tag GPU only"},
        ),
        (
            {"tags": ["GPU"]},
            {"tags": ["GPU"], "required_tags": ["Big"]},
            {"RequiredTag": "it requires the tag Big, which is not among its own (Tag): the Matcher refuses that"},
        ),
        (
            {"platforms": ["el8", "el7"]},
            {"platform": "el9"},
            {"Platform": "the jobs have the platform el7, el8, it takes el9 only"},
        ),
        (
            {"job_types": ["User"]},
            {"job_type": "MCSim"},
            {"JobType": "the jobs have the job type User, it takes MCSim only"},
        ),
    ],
)
def test_a_requirement_that_is_not_met_is_told_with_both_sides(wanted, offer, expected):
    assert texts(wanted, offer) == expected


@pytest.mark.parametrize(
    ("wanted", "offer"),
    [
        ({}, {}),
        ({}, {"vos": ["BELLE"]}),
        ({"sites": ["X", "CLOUD.GRIF.fr"]}, {}),
        ({"banned_sites": ["X"]}, {}),
        ({"ces": ["GRIF"]}, {}),
        ({"cpu_time": 86400}, {}),
        ({"min_ram_mib": 4096}, {}),
        ({"min_ram_mib": 4096}, {"ram_mib": 0}),
        ({"tags": ["2Processors", "MultiProcessor"]}, {}),
        ({"tags": ["WholeNode", "MultiProcessor"]}, {"whole_node": True}),
        ({"tags": ["gpu"]}, {"tags": ["GPU"]}),
        ({"tags": ["GPU"]}, {"tags": ["any"]}),
        ({"tags": ["GPU", "Big"]}, {"tags": ["GPU", "Big"], "required_tags": ["GPU"]}),
        ({}, {"tags": ["GPU"], "required_tags": ["Any"]}),
        ({"platforms": ["el8"]}, {}),
        ({"platforms": ["el8"]}, {"platform": "ANY"}),
        ({"job_types": ["User"]}, {"job_type": "user"}),
    ],
)
def test_what_is_met_or_not_asked_for_is_no_obstacle(wanted, offer):
    assert texts(wanted, offer) == {}


def test_every_obstacle_is_told_not_only_the_first():
    wanted = {"sites": ["X"], "cpu_time": 90000, "tags": ["8Processors", "GPU"], "platforms": ["el8"]}
    assert list(texts(wanted, {"platform": "el9"})) == ["Site", "CPUTime", "Platform", "Processors", "Tag"]


def test_the_values_are_read_as_taskqueuedb_and_the_matcher_know_them():
    row = {
        "OwnerGroup": "belle_user",
        "CPUTime": 600,
        "Sites": ["A"],
        "BannedSites": ["B"],
        "GridCEs": ["c"],
        "Platforms": ["el9"],
        "JobTypes": ["User"],
        "Tags": ["4Processors"],
        "MinRAM": 2048,
        "Jobs": 3,
    }
    wanted = Wanted.of(row, "belle")
    assert wanted == Wanted(
        "belle",
        "belle_user",
        600,
        2048,
        frozenset({"A"}),
        frozenset({"B"}),
        frozenset({"c"}),
        frozenset({"el9"}),
        frozenset({"User"}),
        frozenset({"4Processors"}),
    )
    assert (wanted.processors, WANTED.processors) == (4, 1)
    parameters = {"CPUTime": 5, "NumberOfProcessors": 4, "MaxRAM": 1, "Tag": ["GPU"], "WholeNode": True}
    assert Offered.of(KEY, parameters) == Offered(
        KEY, cpu_time=5, processors=4, ram_mib=1, tags=frozenset({"GPU"}), whole_node=True
    )
