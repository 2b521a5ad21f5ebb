"""Listings that fail, or lack servers that may still be there."""

from __future__ import annotations

from datetime import timedelta

from director_world import World, booting, hidden_servers, running

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import LimitOptions
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.PilotFollower import VANISHED_GRACE
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, VMState


def test_a_listing_that_breaks_off_changes_no_record():
    world = booting()
    before = world.the_vm()
    world.cloud.faults.next(Call.LIST, Fault.LOSE_LIST, times=5)
    for _ in range(5):
        world.cycle()
    assert world.the_vm() == before


def test_one_empty_listing_ends_nothing_and_two_do():
    world = booting()
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
    world.cycle()
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    world.cloud.vanish(world.the_vm().server_id)
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    world.cycle()
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.VANISHED)


def test_a_list_that_suddenly_lacks_most_servers_ends_nothing_and_starts_nothing():
    world = booting(4)
    world.wait_for_jobs(8)
    with hidden_servers(world.cloud, lists=6):
        for _ in range(6):
            world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}
    assert world.cloud.calls[Call.CREATE] == 4
    assert "4 of 4 servers are missing" in world.report().line
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 8


def test_vms_that_short_lists_in_a_row_lack_are_asked_for_by_name():
    world = booting(4)
    world.cloud.faults.next(Call.LIST, Fault.SHORT_LIST, times=3)
    for _ in range(3):
        world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}
    assert world.cloud.calls[Call.FIND] == 2  # of one list; a server that was found lacks nothing in the next


def test_a_server_that_cannot_be_asked_for_is_not_believed_gone():
    world = booting()
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=2)
    world.cloud.faults.next(Call.FIND, Fault.UNREACHABLE)
    for _ in range(2):
        world.cycle()
    assert world.the_vm().state is VMState.BOOTING


def test_where_every_other_look_fails_a_vm_that_never_speaks_is_ended_in_time():
    """As at a cloud where one delete hangs in every cycle, and keeps the next look away."""
    world = World(jobs=1)
    world.cycle()
    world.wait_for_jobs(0)
    for _ in range(world.policy.registration_timeout // timedelta(minutes=1)):
        world.cloud.faults.next(Call.LIST, Fault.UNREACHABLE)
        world.cycle(30)
        world.cycle(30)
    world.cycle(60)
    world.cycle()
    assert world.the_vm().outcome is Outcome.NEVER_REPORTED


def test_a_vanished_vm_gives_its_pilot_up_so_that_dirac_can_see_to_the_job():
    world = running()
    world.cloud.vanish(world.the_vm().server_id)
    world.cycle()
    world.cycle(VANISHED_GRACE.total_seconds())
    assert world.the_vm().outcome is Outcome.VANISHED
    assert world.dirac.ends == {}  # its server may come back
    world.cycle()
    assert world.dirac.ends[world.the_vm().pilot_reference][0] == "Aborted"


def test_a_server_that_comes_back_with_its_pilot_at_work_is_left_to_finish():
    world = running()
    with hidden_servers(world.cloud, lists=2):
        for _ in range(2):
            world.cycle()
    for _ in range(2):
        world.cycle()
    assert world.the_vm().outcome is Outcome.VANISHED
    assert len(world.cloud.list_servers()) == 1
    world.pilot_becomes(PilotState.FINISHED)
    world.cycle()
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_a_server_that_came_back_takes_its_room_though_a_short_list_hides_it():
    world = running()
    world.configs = tuple(config.model_copy(update={"max_vms": 1}) for config in world.configs)
    with hidden_servers(world.cloud, lists=2):
        for _ in range(2):
            world.cycle()
    world.cycle()
    world.wait_for_jobs(5)
    world.cycle()
    for _ in range(2):
        world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
        world.cycle()
    assert len(world.cloud.list_servers()) == 1


def test_a_server_that_came_back_takes_its_room_in_the_quota_domain_while_its_list_fails():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)
    world.configs = tuple(config.model_copy(update={"quota_domain": "lal"}) for config in world.configs)
    world.config = world.config.model_copy(update={"quota_domains": {"lal": LimitOptions(max_vms=1)}})
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.pilot_becomes(PilotState.RUNNING, 1)
    world.cycle()
    cloud = world.clouds[world.the_vm().endpoint]
    with hidden_servers(cloud, lists=2):
        for _ in range(2):
            world.cycle()
    world.cycle()
    world.wait_for_jobs(5)
    for _ in range(2):
        cloud.faults.next(Call.LIST, Fault.UNREACHABLE)
        world.cycle()
    assert world.the_vm().outcome is Outcome.VANISHED
    assert sum(len(each.list_servers()) for each in world.clouds.values()) == 1
