"""The reasons for a mismatch against the Matcher's own word: every task queue below with every resource below."""

import pytest

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import VMTypeConfig
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Matching import Offered, Wanted, obstacles
from lab.dirac.answers import ask

QUEUES = {
    "plain": {},
    "cpu": {"CPUTime": 86400 * 4},
    "ram": {"MinRAM": 4096},
    "site": {"Sites": ["CLOUD.GRIF.fr", "CLOUD.X.fr"]},
    "site in other letters": {"Sites": ["cloud.grif.fr"]},
    "other site": {"Sites": ["CLOUD.X.fr"]},
    "banned": {"BannedSites": ["CLOUD.GRIF.fr"]},
    "CE": {"GridCEs": ["grif"]},
    "other CE": {"GridCEs": ["other"]},
    "platform": {"Platforms": ["el9"]},
    "platforms": {"Platforms": ["EL8", "el7"]},
    "job type": {"JobTypes": ["MCSim"]},
    "user jobs": {"JobTypes": ["User"]},
    "group": {"OwnerGroup": "t2k.org_user"},
    "2 processors": {"Tags": ["2Processors", "MultiProcessor"]},
    "4 processors": {"Tags": ["4Processors", "MultiProcessor"]},
    "several processors": {"Tags": ["MultiProcessor"]},
    "whole node": {"Tags": ["WholeNode", "MultiProcessor"]},
    "GPU": {"Tags": ["GPU"]},
    "GPU and Big": {"Tags": ["GPU", "Big"]},
    "much": {"Tags": ["4Processors", "MultiProcessor", "GPU"], "MinRAM": 3000, "Sites": ["CLOUD.GRIF.fr"]},
}
VM_TYPES = {
    "plain": {},
    "short": {"cpu_time": 3600},
    "2 processors": {"number_of_processors": 2},
    "8 processors": {"number_of_processors": 8, "max_ram": 16384},
    "whole node": {"number_of_processors": 2, "whole_node": True},
    "whole node of 1": {"whole_node": True},
    "GPU": {"tags": ("GPU",)},
    "gpu in other letters": {"tags": ("gpu",)},
    "GPU only": {"tags": ("GPU", "Big"), "required_tags": ("GPU",)},
    "any tag": {"tags": ("Any",)},
    "requires any": {"tags": ("GPU",), "required_tags": ("any",)},
    "el9": {"platform": "el9"},
    "any platform": {"platform": "ANY"},
    "MCSim only": {"job_type": "MCSim"},
    "group": {"owner_group": "belle_user"},
}


@pytest.fixture
def queues(dirac):
    """The ids of the task queues, by name, in a TaskQueueDB that holds no other."""
    from DIRAC.WorkloadManagementSystem.DB.TaskQueueDB import TaskQueueDB

    database = TaskQueueDB()
    for job, definition in enumerate(QUEUES.values(), 1):
        wanted = {"Owner": "alice", "OwnerGroup": "belle_user", "CPUTime": 3600} | definition
        assert database.insertJob(job, wanted, 1)["OK"]
    ids = {name: ask(database.getTaskQueueForJob, job) for job, name in enumerate(QUEUES, 1)}
    assert len(set(ids.values())) == len(QUEUES)
    return ids, ask(database.retrieveTaskQueues)


def parameters(options: dict) -> dict:
    values = {
        "site": "CLOUD.GRIF.fr",
        "ce": "grif",
        "queue": "q",
        "vos": frozenset(),
        "cpu_time": 86400,
        "wall_time": 86400,
        "image": "x",
        "flavor": "x",
        "number_of_processors": 1,
        "max_ram": 2048,
    }
    return VMTypeConfig(**values | options).matcher_parameters()


@pytest.mark.parametrize("name", VM_TYPES)
def test_what_the_matcher_refuses_has_a_reason_and_what_it_takes_has_none(queues, name):
    from DIRAC.WorkloadManagementSystem.Client.MatcherClient import MatcherClient

    ids, rows = queues
    resource = parameters(VM_TYPES[name])
    taken = set(ask(MatcherClient().getMatchingTaskQueues, dict(resource)))
    offer = Offered.of(VMTypeKey("CLOUD.GRIF.fr", "grif", "q"), resource)
    reasons = {queue: obstacles(Wanted.of(rows[id], "belle"), offer) for queue, id in ids.items()}
    assert {queue for queue, id in ids.items() if id in taken} == {queue for queue, why in reasons.items() if not why}
    assert any(reasons.values())


def test_a_required_tag_that_is_not_its_own_is_refused_by_the_matcher_as_a_question(queues):
    from DIRAC.WorkloadManagementSystem.Client.MatcherClient import MatcherClient

    resource = parameters({"required_tags": ("Big",)})
    assert "Wrong conditions" in MatcherClient().getMatchingTaskQueues(dict(resource))["Message"]
    (why,) = obstacles(Wanted("belle", tags=frozenset()), Offered.of(VMTypeKey("A", "a", "q"), resource))
    assert "which is not among its own" in why.text
