"""A cloud that hangs, throttles, ignores or does not tell everything."""

from __future__ import annotations

import threading
from dataclasses import replace

from director_world import World, booting, started

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import AuthenticationFailed
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState


def test_a_cloud_that_hangs_costs_the_others_nothing_but_the_patience():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)
    hanging = next(iter(world.clouds))
    released = threading.Event()
    world.clouds[hanging].list_servers = lambda: released.wait(30) and ()
    world.director._observer._looks = Looks(world.director._workers, deadline=2)
    try:
        plan = world.cycle()
        assert [create.vm_type.endpoint for create in plan.creates] == [key for key in world.clouds if key != hanging]
        world.cycle()
        assert any("'list servers' for" in warning for warning in world.log.warnings)
    finally:
        released.set()


def test_creates_that_wait_behind_one_that_hangs_are_not_sent_once_the_configuration_was_changed():
    """The new configuration has a thread of its own, which lists servers and may believe that these were never made."""
    world = World(jobs=3)
    create, released = world.cloud.create_server, threading.Event()

    def hang(request):
        released.wait(30)
        return create(request)

    world.cloud.create_server = hang
    world.director._executor._punctuality = Punctuality(0.2)
    world.cycle()
    (hanging,) = world.director._workers.values()
    world.configs = tuple(config.model_copy(update={"max_vms": 3}) for config in world.configs)
    world.cycle()
    under_way, *_ = hanging._current
    released.set()
    under_way.result(10)
    assert world.cloud.calls[Call.CREATE] == 1
    world.cycle()
    assert len(world.cloud.list_servers()) == 3


def test_a_library_that_wants_the_process_to_end_costs_its_own_cloud_only():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)

    def leave():
        raise SystemExit("no such region")

    world.cloud.list_servers = leave
    plan = world.cycle()
    assert [create.vm_type.site for create in plan.creates] == ["CLOUD.B.fr"]
    assert "no such region" in world.log.warnings[0]


def test_a_cloud_that_does_not_tell_its_flavors_gets_no_vm_doubled_elsewhere():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)
    world.cycle()
    site = world.the_vm().vm_type.site
    (cloud,) = (cloud for key, cloud in world.clouds.items() if key.site == site)
    cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE)
    world.dirac.queues = [
        replace(queue, matches=frozenset(key for key in queue.matches if key.site != site))
        for queue in world.dirac.queues
    ]
    world.cycle()
    assert len(world.store.select()) == 1


def test_servers_are_looked_after_while_the_cloud_does_not_tell_what_it_has():
    world = started()
    world.cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE)
    world.wait_for_jobs(2)
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    assert "what the cloud has is not known" in world.report().line


def test_an_account_that_cannot_be_read_does_not_keep_vms_from_being_started():
    world = World(jobs=1)

    def refuse():
        raise AuthenticationFailed("403")

    world.cloud.account = refuse
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_a_delete_that_the_cloud_ignores_is_repeated():
    world = booting()
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED)
    world.kill()
    world.cycle()
    assert len(world.cloud.list_servers()) == 1
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_an_unexpected_failure_of_one_delete_keeps_nothing_else_from_being_done():
    world = booting(2)
    first, second = sorted(world.store.select(), key=lambda record: record.vm_id)
    for record in (first, second):
        world.kill(record)
    delete, broken = world.cloud.delete_server, world.store.get(first.vm_id).server_id

    def fail_for_one(server_id):
        if server_id == broken:
            raise PermissionError("not yours")
        delete(server_id)

    world.cloud.delete_server = fail_for_one
    world.cycle()
    assert [server.id for server in world.cloud.list_servers()] == [broken]
    assert any("not yours" in warning for warning in world.log.warnings)


def test_a_create_that_is_throttled_keeps_the_next_look_away_too():
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, Fault.THROTTLE, seconds=200)
    world.cycle()
    looks = world.cloud.calls[Call.LIST]
    world.cycle()
    assert world.cloud.calls[Call.LIST] == looks
    assert "too many requests" in world.log.warnings[-1]


def test_a_delete_that_is_throttled_keeps_everything_else_away():
    world = booting(3)
    for record in world.store.select():
        world.cloud.stop(record.server_id)
    world.wait_for_jobs(1, id=2)
    before = world.cloud.calls.copy()
    world.cloud.faults.next(Call.DELETE, Fault.THROTTLE, seconds=200)
    world.cycle()
    world.cycle()
    sent = world.cloud.calls - before
    assert (sent[Call.DELETE], sent[Call.CREATE], sent[Call.LIST]) == (1, 0, 1)


def test_a_console_that_is_throttled_costs_no_list_and_keeps_everything_else_away():
    world = started(3)
    before = world.cloud.calls.copy()
    world.wait_for_jobs(5)
    world.cloud.faults.next(Call.CONSOLE, Fault.THROTTLE, seconds=200)
    world.cycle()
    sent = world.cloud.calls - before
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}, "the list counts"
    assert (sent[Call.CONSOLE], sent[Call.CREATE]) == (1, 0)
    assert len(world.store.select()) == 3, "no intent is recorded for what cannot be sent"
    assert "too many requests" in world.report().line
