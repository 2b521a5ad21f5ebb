"""How many VMs one cycle may end."""

from dataclasses import replace

import pytest
from planner_world import NOW, POLICY, ago, seen, vm

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

LOST = {"state": VMState.RUNNING, "jobs": 1, "pilot": PilotState.RUNNING, "heartbeat_at": ago(80)}
# The gateway hears one, so that silence is the silent ones' own.
HEARD = vm("heard", **LOST | {"heartbeat_at": ago(1)})


def deleted(vms, state=ServerState.ACTIVE, policy=POLICY):
    deletes = plan_cycle(seen(*vms, HEARD, state=state), policy, NOW).deletes
    return [delete.vm for delete in deletes if delete.vm != HEARD.id]


def many(number, **what):
    return [vm(f"vm{each:02}", minutes=100 + each, **what) for each in range(number)]


def test_of_the_vms_that_show_life_one_tenth_is_ended_by_the_clock_the_oldest_first():
    assert deleted(many(30, **LOST)) == ["vm27", "vm28", "vm29"]


def test_where_there_are_few_one_is():
    assert deleted(many(5, **LOST)) == ["vm04"]
    assert deleted(many(5, **LOST), policy=replace(POLICY, max_kill_percent=0)) == ["vm04"]


@pytest.mark.parametrize(
    "late",
    [
        LOST,
        {**LOST, "heartbeat_at": None, "created_at": ago(60 * 24 * 8)},
        {**LOST, "heartbeat_at": None, "jobs": 0},
        {"state": VMState.RUNNING, "spoke": True},
        {**LOST, "heartbeat_at": None, "state": VMState.DRAINING, "drain": "x", "since": ago(60 * 25)},
    ],
    ids=["heartbeat", "age", "idle", "no pilot", "draining"],
)
def test_every_timeout_of_a_vm_that_shows_life_is_braked(late):
    assert len(deleted(many(5, **late))) == 1


def test_what_never_showed_life_is_not_braked():
    assert len(deleted(many(5, state=VMState.BOOTING))) == 5


def test_what_the_cloud_shows_is_not_braked():
    assert len(deleted(many(5, **LOST), ServerState.STOPPED)) == 5
    assert len(deleted(many(5, **LOST), ServerState.ERROR)) == 5


def test_what_the_vms_said_is_not_braked():
    done = {**LOST, "pilot": PilotState.FINISHED, "pilot_finished_at": ago(11)}
    assert len(deleted(many(5, **done))) == 5


def test_what_an_operator_ordered_is_not_braked():
    assert len(deleted(many(5, state=VMState.DELETING, outcome=Outcome.KILLED))) == 5
    assert len(deleted(many(5, state=VMState.DRAINING, pilot=PilotState.RUNNING, drain="adm drains GRIF"))) == 5


def test_a_vm_that_the_brake_spares_takes_nobodys_place():
    late = many(5, **LOST)
    silent = [vm(f"silent{number}", minutes=50) for number in range(3)]
    assert deleted([*late, *silent], policy=replace(POLICY, max_deletes_per_cycle=3)) == ["silent0", "silent1", "vm04"]
