"""What VMs are told has changed: one of them tries it before the rest get it."""

from dataclasses import replace

import pytest
from planner_world import GRIF, NOW, POLICY, ago, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import lived
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Outcome,
    PilotState,
    RecentEnd,
    VMState,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

NEW = "el9@3f2a91c0"
UNTRIED = {(key(), "belle"): NEW}


def plan_with(*vms, jobs=3, untried=UNTRIED, queues=None, vm_types=(), **other):
    """What is started for belle's jobs beside these VMs while a version is untried."""
    servers = tuple(server(one) for one in vms if one.state is not VMState.PLANNED)
    where = endpoint(GRIF, *vm_types, servers=servers)
    queues = queues or [task_queue(jobs=jobs)]
    return plan_cycle(snapshot(where, queues=queues, vms=vms, untried=untried, **other), POLICY, NOW)


def test_one_vm_tries_it_and_the_rest_wait_for_it_with_its_name():
    plan = plan_with()
    assert len(plan.creates) == 1
    (unmet,) = plan.unmet
    assert (unmet.limit, unmet.cores) == (Limit.CANARY, 2)
    assert f"its context changed ({NEW}): one VM tries it before the rest get it" in unmet.detail
    assert "it is started in this cycle" in unmet.detail


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING])
def test_while_it_is_on_its_way_nothing_is_started(state):
    plan = plan_with(vm("abcdef1234", state, version=NEW))
    assert not plan.creates
    (unmet,) = plan.unmet
    assert unmet.limit is Limit.CANARY
    assert unmet.detail.startswith(f"{key()} for belle: ") and unmet.detail.endswith("VM abcdef12 is on its way")


def test_that_it_spoke_is_no_proof_yet():
    plan = plan_with(vm(state=VMState.RUNNING, spoke=True, version=NEW))
    assert not plan.creates
    assert plan.unmet[0].detail.endswith("VM vm1 is Running and its pilot was not seen at work yet")


def test_one_that_an_operator_holds_is_named_with_who_holds_it():
    plan = plan_with(vm(state=VMState.RUNNING, spoke=True, version=NEW, held="held by anna"))
    assert plan.unmet[0].detail.endswith("not seen at work yet, held by anna")


def test_vms_of_other_versions_on_their_way_do_not_stand_for_it():
    plan = plan_with(vm("old", version="el9@1"), vm("older", version=""), jobs=5)
    assert len(plan.creates) == 1
    assert not plan.deletes and not plan.moves, "what runs or boots is left alone"


def test_without_an_untried_version_all_are_started():
    assert len(plan_with(untried={}).creates) == 3


def test_it_is_a_matter_of_one_vm_type_and_one_vo():
    other, queues = vm_type(queue="other"), [task_queue(1, 2), task_queue(2, 2, "t2k.org")]
    queues.append(task_queue(3, 2, matches={key(queue="other")}))
    plan = plan_with(queues=queues, vm_types=(vm_type(), other))
    assert sorted(create.task_queue for create in plan.creates) == [1, 2, 2, 3, 3]


def test_another_vm_type_takes_what_waits():
    other = vm_type(queue="tall")
    plan = plan_with(queues=[task_queue(jobs=3, matches={key(), other.key})], vm_types=(vm_type(), other))
    assert sorted(create.vm_type.queue for create in plan.creates) == ["small", "tall", "tall"]
    assert plan.unmet == ()


def test_vacuum_mode_is_no_way_around_it():
    where = replace(endpoint(), probes=3)
    plan = plan_cycle(snapshot(where, untried=UNTRIED, vos=frozenset({"belle"})), POLICY, NOW)
    assert len(plan.creates) == 1


@pytest.mark.parametrize("outcome", [Outcome.NEVER_REPORTED, Outcome.FIZZLED, Outcome.FAILED_TO_START])
def test_after_it_failed_the_back_off_holds_and_then_the_next_one_tries(outcome):
    failed = vm(state=VMState.DELETING, minutes=1, version=NEW, outcome=outcome, outcome_reason="broken")
    plan = plan_with(failed)
    assert not plan.creates and plan.unmet[0].limit is Limit.BACKOFF
    ended = RecentEnd(key(), "belle", outcome, ago(POLICY.backoff.total_seconds() / 60 + 1))
    plan = plan_with(recent_ends=(ended,))
    assert len(plan.creates) == 1 and plan.unmet[0].limit is Limit.CANARY


@pytest.mark.parametrize("outcome", [Outcome.KILLED, Outcome.VANISHED, Outcome.HEARTBEAT_LOST])
def test_one_that_ended_for_reasons_of_its_own_proves_nothing(outcome):
    gone = vm(state=VMState.DELETING, minutes=1, version=NEW, outcome=outcome, outcome_code=100)
    plan = plan_with(gone)
    assert len(plan.creates) == 1 and plan.unmet[0].limit is Limit.CANARY


@pytest.mark.parametrize(
    ("facts", "did"),
    [
        ({"jobs": 1}, True),
        ({"pilot": PilotState.RUNNING}, True),
        ({"pilot": PilotState.RUNNING, "jobs_known": False}, False),  # DIRAC may have it from ourselves
        ({"pilot": PilotState.WAITING}, False),
        ({"pilot": PilotState.FINISHED}, False),  # Aborted, perhaps
        ({"pilot": PilotState.NOT_ASKED}, False),
        ({"outcome": Outcome.NO_WORK, "outcome_code": 300}, True),
        ({"outcome": Outcome.WORKED, "outcome_code": 200}, True),
        ({"outcome": Outcome.NO_WORK, "outcome_code": 600}, False),
        ({"outcome": Outcome.KILLED, "outcome_code": 100}, False),
    ],
)
def test_a_vm_lived_when_its_pilot_was_at_work_or_it_ended_in_good_order(facts, did):
    assert lived(vm(state=VMState.RUNNING, spoke=True, **facts)) == did
