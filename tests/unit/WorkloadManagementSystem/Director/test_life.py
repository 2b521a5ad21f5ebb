"""Whole cycles: how VMs drain and end, and that nothing of them is left at their cloud."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import START, World, running

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import AuthenticationFailed, Flavor, Image, Leftover, Rejected
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.Director.LeftoverSweep import LOOK_BACK, MAX_DELETED, RHYTHM, LeftoverSweep
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    Outcome,
    PilotState,
    ServerState,
    ServerView,
    VMState,
)


def pass_time(world: World, time: timedelta, step: float = 60) -> None:
    for _ in range(int(time.total_seconds() // step)):
        world.cycle(step)


# Time-outs


def test_a_vm_whose_pilot_gets_no_job_is_ended():
    world = running(jobs=0)
    pass_time(world, world.policy.idle_timeout + timedelta(minutes=4))
    assert (world.the_vm().state, world.the_vm().outcome, world.the_vm().code) == (VMState.ENDED, Outcome.NO_WORK, 300)
    assert world.cloud.list_servers() == ()


def test_a_vm_whose_heartbeats_stop_is_lost():
    world = running()
    world.store.note(world.the_vm().vm_id, heartbeat_at=world.now)
    pass_time(world, world.policy.heartbeat_timeout + world.policy.lease - timedelta(minutes=1))
    assert world.the_vm().state is VMState.RUNNING
    pass_time(world, timedelta(minutes=5))
    assert world.the_vm().outcome is Outcome.HEARTBEAT_LOST


def test_while_the_gateway_is_away_no_vm_is_lost_for_its_silence_and_afterwards_each_gets_its_time():
    world = running()
    world.store.note(world.the_vm().vm_id, heartbeat_at=world.now)
    world.gateway_since = None
    pass_time(world, world.policy.heartbeat_timeout * 3)
    assert world.the_vm().state is VMState.RUNNING
    world.gateway_since = world.now
    pass_time(world, world.policy.heartbeat_timeout + world.policy.lease - timedelta(minutes=1))
    assert world.the_vm().state is VMState.RUNNING
    pass_time(world, timedelta(minutes=5))
    assert world.the_vm().outcome is Outcome.HEARTBEAT_LOST


def test_nothing_is_started_while_the_gateway_is_away_and_it_is_told_why():
    world = World(jobs=1)
    world.gateway_since = None
    world.cycle()
    assert world.store.select() == ()
    assert "no gateway is there (https://g:1), and VMs get their credential from it" in world.report().line
    world.gateway_since = world.now
    world.cycle()
    assert world.the_vm()


def test_a_vm_that_waits_with_its_logs_for_the_gateway_is_left_to_wait_for_the_lease_and_no_longer():
    world = running()
    world.store.note(world.the_vm().vm_id, heartbeat_at=world.now)
    world.gateway_since = None
    world.pilot_becomes(PilotState.FINISHED)
    pass_time(world, world.policy.poweroff_timeout + world.policy.lease - timedelta(minutes=2))
    assert world.the_vm().state is VMState.RUNNING
    pass_time(world, timedelta(minutes=8))
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.WORKED)


def test_a_vm_that_stays_up_though_the_gateway_is_there_again_is_ended_soon():
    world = running()
    world.store.note(world.the_vm().vm_id, heartbeat_at=world.now)
    world.gateway_since = None
    world.pilot_becomes(PilotState.FINISHED)
    pass_time(world, world.policy.poweroff_timeout * 2)
    world.gateway_since = world.now
    pass_time(world, world.policy.poweroff_timeout + timedelta(minutes=6))
    assert world.the_vm().state is VMState.ENDED


def test_a_vm_is_drained_for_its_age_and_its_running_time_is_kept():
    world = running()
    before = world.the_vm().running_at
    world.now = world.the_vm().created_at + world.policy.max_lifetime - world.policy.drain_timeout
    world.cycle()
    assert world.the_vm().state is VMState.RUNNING
    world.cycle()
    assert (world.the_vm().state, world.the_vm().running_at) == (VMState.DRAINING, before)


# Drift


def resize(cloud):
    cloud.flavors = (replace(cloud.flavors[0], ram_mib=4096),)


def reimage(cloud):
    cloud.images = (Image("i2", "el9"),)


def reflavor(cloud):
    cloud.flavors = (Flavor("f2", "smaller", cores=1, ram_mib=1024),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (reimage, "image i1, now i2 (el9)"),
        (reflavor, "flavor f1, now f2 (smaller)"),
        (resize, "flavor small of 1 cores, 2048 MiB, now 1 cores, 4096 MiB"),
    ],
)
def test_a_vm_that_is_not_what_is_booted_today_drains_and_finishes_its_work(change, words):
    world = running()
    change(world.cloud)
    world.cycle()
    vm = world.the_vm()
    assert vm.state is VMState.DRAINING and words in world.store.history(vm.vm_id)[-1].reason
    assert len(world.cloud.list_servers()) == 1
    world.cloud.stop(vm.server_id)
    world.pilot_becomes(PilotState.FINISHED)
    pass_time(world, timedelta(minutes=4))
    assert world.the_vm().outcome is Outcome.WORKED


def test_old_vms_drain_one_after_the_other():
    world = running(vms=3)
    reimage(world.cloud)
    world.cycle()
    world.cycle()
    states = [record.state for record in world.store.select()]
    assert states.count(VMState.DRAINING) == 1


def test_a_vm_goes_back_to_work_when_the_old_image_is_the_one_to_boot_after_all():
    world = running()
    before = world.cloud.images
    reimage(world.cloud)
    world.cycle()
    world.cloud.images = before
    world.cycle()
    assert world.the_vm().state is VMState.RUNNING


@pytest.mark.parametrize("gone", ["image", "VM type", "catalogue"])
def test_where_nothing_can_be_booted_nothing_drains(gone):
    world = running()
    if gone == "image":
        world.cloud.images = ()
    elif gone == "VM type":
        (config,) = world.configs
        world.configs = (config.model_copy(update={"vm_types": ()}),)
    else:
        reimage(world.cloud)
        world.cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE)
    world.cycle()
    assert world.the_vm().state is VMState.RUNNING


# No room


def test_a_server_that_failed_for_want_of_room_is_recorded_so():
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, Fault.NO_CAPACITY)
    world.cycle(60)
    world.wait_for_jobs(0)
    pass_time(world, timedelta(minutes=4))
    assert (world.the_vm().state, world.the_vm().no_room) == (VMState.ENDED, True)


@pytest.mark.parametrize("fault", [Fault.REJECT, Fault.UNREACHABLE, Fault.AMBIGUOUS_NOT_MADE])
def test_what_failed_otherwise_says_nothing_of_room(fault):
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle()
    world.wait_for_jobs(0)
    pass_time(world, timedelta(minutes=5))
    assert (world.the_vm().state, world.the_vm().no_room) == (VMState.ENDED, False)


# Deletes that the cloud does not carry out


def killed(world: World) -> World:
    world.kill()
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED, times=1000)
    return world


def test_a_delete_is_repeated_in_every_cycle_at_first_and_then_less_often():
    world = killed(running())
    pass_time(world, world.policy.delete_timeout)
    asked = world.cloud.calls[Call.DELETE]
    assert asked == world.policy.delete_timeout / timedelta(minutes=1)
    pass_time(world, timedelta(hours=2))
    assert 10 <= world.cloud.calls[Call.DELETE] - asked <= 15


def test_a_server_that_is_not_deleted_is_told_of_once_an_hour():
    world = killed(running())
    pass_time(world, world.policy.delete_timeout)
    assert world.log.warnings == []
    pass_time(world, timedelta(hours=3), step=240)
    assert 3 <= len(world.log.warnings) <= 4
    vm = world.the_vm()
    assert all(vm.vm_id in line and vm.server_id in line and "30 min" in line for line in world.log.warnings)


def test_a_server_that_is_deleted_at_last_ends_its_vm():
    world = killed(running())
    pass_time(world, timedelta(hours=1))
    world.cloud.faults._queued.clear()
    pass_time(world, timedelta(minutes=13))
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.KILLED)


# Leftovers


def leaves_a_port(world: World) -> World:
    world.kill()
    world.cloud.faults.next(Call.DELETE, Fault.LEAVE_PORT)
    pass_time(world, timedelta(minutes=5))
    assert world.the_vm().state is VMState.ENDED
    return world


def test_a_port_that_a_server_left_behind_is_deleted_when_it_was_seen_twice():
    world = leaves_a_port(running())
    pass_time(world, timedelta(minutes=30))
    assert (len(world.cloud.ports), world.cloud.calls[Call.LEFTOVERS]) == (1, 1)
    pass_time(world, timedelta(minutes=30))
    assert world.cloud.ports == []
    (warning,) = world.log.warnings
    assert "port-of-server-0001, left behind by server server-0001, is deleted" in warning


def test_ports_of_servers_that_were_not_ours_or_still_exist_are_left_alone():
    world = running(vms=2)
    gone, there = world.store.select()
    world.kill(gone)
    kept = [Leftover("port", "p1", "somebody's"), Leftover("port", "p2", there.server_id)]
    world.cloud.ports += kept
    pass_time(world, timedelta(hours=3), step=240)
    assert world.cloud.calls[Call.LEFTOVERS] > 0
    assert world.cloud.ports == kept


def test_what_is_listed_is_not_gone_and_a_list_that_is_not_believed_says_nothing():
    world = running()
    vm = world.the_vm()
    world.kill(vm)
    pass_time(world, timedelta(minutes=5))

    records = LiveRecords(world.store)
    records.read()

    def is_asked(**of_endpoint):
        return bool(LeftoverSweep(records).due([Endpoint(vm.endpoint, **of_endpoint)], world.now))

    assert is_asked(servers=())
    assert not is_asked(servers=(ServerView(vm.server_id, vm.vm_id, ServerState.ACTIVE),))
    assert not is_asked(servers=None)
    assert not is_asked(servers=(), suspect_since=world.now)


def test_a_cloud_where_no_vm_ended_is_not_asked_for_leftovers():
    world = running()
    pass_time(world, timedelta(hours=3), step=240)
    assert world.cloud.calls[Call.LEFTOVERS] == 0


def test_a_cloud_is_asked_for_leftovers_no_more_when_there_were_none_and_no_vm_ended_since():
    world = running()
    world.kill()
    pass_time(world, timedelta(hours=3), step=240)
    assert world.cloud.calls[Call.LEFTOVERS] == 1


def test_a_cloud_that_wants_to_be_left_alone_when_a_sweep_is_due_is_asked_when_it_may_be_again():
    world = leaves_a_port(running())
    (worker,) = world.director._workers.values()
    worker._clock = lambda: world.now.timestamp()
    pass_time(world, START + RHYTHM - timedelta(minutes=1) - world.now)
    assert world.cloud.calls[Call.LEFTOVERS] == 0
    world.now = START + RHYTHM
    world.cloud.faults.next(Call.CATALOGUE, Fault.THROTTLE, seconds=120)
    world.cycle()
    assert worker.refusal and world.cloud.calls[Call.LEFTOVERS] == 0
    pass_time(world, timedelta(minutes=6))
    assert not worker.refusal and world.cloud.calls[Call.LEFTOVERS] == 1


def test_a_sweep_that_failed_is_made_up_for_by_the_next():
    world = running()
    world.cloud.faults.next(Call.LEFTOVERS, Fault.UNREACHABLE)
    leaves_a_port(world)
    pass_time(world, timedelta(minutes=90))
    assert (world.cloud.calls[Call.LEFTOVERS], world.cloud.ports) == (3, [])


def test_a_server_whose_end_the_records_in_memory_did_not_hold_yet_is_asked_of_by_the_next_sweep():
    world = running()
    vm, records = world.the_vm(), LiveRecords(world.store)
    records.read()
    assert records.ends(START - LOOK_BACK) == ()
    world.store.request_kill(vm.vm_id, "adm", "enough", world.now)
    pass_time(world, timedelta(minutes=5))
    sweep, endpoints = LeftoverSweep(records), [Endpoint(vm.endpoint, servers=())]
    assert not sweep.due(endpoints, world.now)
    records.read()
    assert not sweep.due(endpoints, world.now + RHYTHM - timedelta(minutes=1))
    assert sweep.due(endpoints, world.now + RHYTHM)


def test_so_many_ports_are_deleted_at_a_time_and_one_that_cannot_be_keeps_no_other():
    world = leaves_a_port(running())
    server = world.the_vm().server_id
    world.cloud.ports += [Leftover("port", f"p{number:02}", server) for number in range(MAX_DELETED + 4)]
    delete = world.cloud.delete_leftover

    def in_use_once(leftover):
        if leftover.id == "p03":
            raise Rejected("409: in use")
        delete(leftover)

    world.cloud.delete_leftover = in_use_once
    pass_time(world, timedelta(minutes=61))
    assert len(world.cloud.ports) == 6, "those beyond the cap and the one in use"
    pass_time(world, timedelta(minutes=90), step=240)
    assert [port.id for port in world.cloud.ports] == ["p03"]
    assert sum("p03" in warning and "409: in use" in warning for warning in world.log.warnings) == 1, "told once"


def test_a_cloud_that_refuses_to_show_leftovers_is_no_trouble_for_anything_else():
    world = running()
    world.cloud.faults.next(Call.LEFTOVERS, Fault.UNREACHABLE)
    leaves_a_port(world)
    world.wait_for_jobs(1)
    pass_time(world, timedelta(minutes=40))
    assert world.cloud.calls[Call.LEFTOVERS] == 1 and len(world.cloud.list_servers()) == 1


def test_a_credential_that_is_refused_at_the_leftovers_is_not_tried_again_and_again():
    world = leaves_a_port(running())

    def refuse(server_ids):
        raise AuthenticationFailed("401")

    world.cloud.leftovers = refuse
    world.director._executor._leftovers._checked.clear()
    before = world.cloud.calls[Call.LIST]
    pass_time(world, timedelta(minutes=3))
    assert world.cloud.calls[Call.LIST] == before + 1


def test_what_a_vanished_server_left_behind_is_left_for_it_may_come_back():
    world = running(vms=3)
    gone = world.store.select()[0]
    world.cloud.vanish(gone.server_id)
    world.cloud.ports.append(Leftover("port", "p", gone.server_id))
    pass_time(world, timedelta(minutes=90))
    assert world.store.get(gone.vm_id).outcome is Outcome.VANISHED
    assert world.cloud.calls[Call.DELETE_LEFTOVER] == 0


def test_a_vm_that_drains_for_an_old_image_does_so_while_the_cloud_does_not_tell_what_it_has():
    world = running()
    reimage(world.cloud)
    world.cycle()
    drained = world.the_vm()
    world.cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE)
    world.cycle()
    assert drained.state is VMState.DRAINING and world.store.get(drained.vm_id).since == drained.since
