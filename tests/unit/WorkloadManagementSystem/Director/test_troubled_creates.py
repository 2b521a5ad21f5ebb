"""Creates that a cloud refuses or leaves in doubt, and those that cannot even be sent."""

from __future__ import annotations

from director_world import World, hidden_servers

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import ServerStatus
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState


def after_a_create_with(fault: Fault, seconds: float = 10) -> World:
    """A world in which one job waits, and a cycle met this fault at the create for it so many seconds ago."""
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle(seconds)
    return world


def test_an_ambiguous_create_that_made_a_server_is_adopted():
    world = after_a_create_with(Fault.AMBIGUOUS_MADE)
    assert world.the_vm().state is VMState.PLANNED
    world.cycle()
    assert (world.the_vm().state, world.cloud.calls[Call.CREATE]) == (VMState.REQUESTED, 1)


def test_an_ambiguous_create_that_made_nothing_ends_and_is_made_anew():
    world = after_a_create_with(Fault.AMBIGUOUS_NOT_MADE)
    for _ in range(19):
        world.cycle()
    states = sorted((record.state.value, record.outcome) for record in world.store.select())
    assert ("Ended", Outcome.FAILED_TO_START) in states
    assert len(world.cloud.list_servers()) == 1


def test_the_pilot_of_an_open_intent_is_entered_because_its_server_may_be_there():
    world = after_a_create_with(Fault.AMBIGUOUS_MADE)
    assert world.the_vm().state is VMState.PLANNED
    assert world.the_vm().pilot_reference in world.dirac.pilots


def test_what_was_resolved_is_recorded_even_if_nobody_knows_whether_the_vm_was_made():
    world = after_a_create_with(Fault.AMBIGUOUS_MADE)
    world.cycle()
    assert world.the_vm().state is not VMState.PLANNED
    assert (world.the_vm().image, world.the_vm().flavor) == ("i1", "f1")


def test_a_server_that_appears_after_its_intent_was_given_up_is_deleted():
    world = after_a_create_with(Fault.AMBIGUOUS_MADE)
    world.wait_for_jobs(0)
    with hidden_servers(world.cloud, lists=20):
        for _ in range(20):
            world.cycle()
    assert world.the_vm().state is VMState.ENDED
    assert len(world.cloud._servers()) == 1
    world.cycle()
    assert world.cloud._servers() == ()


def test_a_full_cloud_is_asked_again_after_a_while():
    world = after_a_create_with(Fault.REFUSE)
    assert (world.the_vm().outcome, world.the_vm().no_room) == (Outcome.FAILED_TO_START, True)
    world.cycle(600)
    assert world.cloud.calls[Call.CREATE] == 1
    world.cycle()
    assert len(world.cloud.list_servers()) == 1


def test_a_rejected_request_stops_its_vm_type_for_a_while_and_names_the_reason():
    world = after_a_create_with(Fault.REJECT)
    assert world.the_vm().outcome is Outcome.REJECTED
    plan = world.cycle()
    assert (plan.creates, plan.unmet[0].limit) == ((), Limit.BACKOFF)


def test_a_credential_that_may_list_and_not_create_is_not_tried_again_and_again():
    world = World(jobs=5)
    world.cloud.faults.next(Call.CREATE, Fault.UNAUTHORISED, times=9)
    for _ in range(10):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_a_server_in_error_is_deleted_and_its_fault_is_the_reason():
    world = after_a_create_with(Fault.NO_CAPACITY, seconds=60)
    assert world.cloud.list_servers()[0].status is ServerStatus.ERROR
    world.cycle()
    assert "No valid host was found" in world.the_vm().outcome_reason


def test_a_missing_image_is_named_and_nothing_is_tried():
    world = World(image="name:nowhere", jobs=1)
    plan = world.cycle()
    assert plan.creates == ()
    assert "nowhere" in plan.unmet[0].detail
    assert world.store.select() == ()


def test_user_data_that_cannot_be_made_records_no_intent_and_is_reported():
    world = World(jobs=1)
    world.user_data.error = UserDataUnavailable("template el9, line 3: 'squid' is undefined")
    world.cycle()
    assert world.store.select() == ()
    assert world.report().problem == "template el9, line 3: 'squid' is undefined"
    assert world.report().started == 0
