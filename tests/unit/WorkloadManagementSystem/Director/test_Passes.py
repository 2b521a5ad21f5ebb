"""What a cloud had no room for is started elsewhere in the same cycle."""

from __future__ import annotations

import threading

import pytest
from director_world import World

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.Passes import MAX_PASSES
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, TaskQueue, VMState, VMTypeKey

NO_ROOM = [Fault.NO_OFFERING, Fault.REFUSE]


def offer(world: World, *queues: str) -> list[VMTypeKey]:
    """Have the first endpoint offer VM types of these names, all alike."""
    first, *rest = world.configs
    (vm_type,) = first.vm_types
    alike = tuple(vm_type.model_copy(update={"queue": queue}) for queue in queues)
    world.configs = (first.model_copy(update={"vm_types": alike}), *rest)
    return [VMTypeKey(first.site, first.ce, queue) for queue in queues]


def wait_for(world: World, keys, jobs: int = 1, id: int = 1) -> None:
    world.dirac.queues = [queue for queue in world.dirac.queues if queue.id != id]
    world.dirac.queues.append(TaskQueue(id, "belle", jobs, 1, frozenset(keys)))


def ends(world: World) -> list[tuple]:
    return sorted(
        (r.vm_type.queue, r.state.value, r.outcome and r.outcome.value, r.no_room) for r in world.store.select()
    )


@pytest.mark.parametrize("fault", NO_ROOM)
def test_the_next_vm_type_is_taken_in_the_same_cycle(fault):
    world = World()
    wait_for(world, offer(world, "p", "q"))
    world.cloud.faults.next(Call.CREATE, fault)
    plan = world.cycle()
    assert ends(world) == [("p", "Ended", "FailedToStart", True), ("q", "Requested", None, False)]
    assert [create.vm_type.queue for create in plan.creates] == ["p", "q"] and plan.unmet == ()
    assert world.report().started == 1, "what was refused was not started"


@pytest.mark.parametrize("fault", NO_ROOM)
def test_the_next_endpoint_is_taken_in_the_same_cycle(fault):
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=3)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle()
    requested = [record.vm_type.site for record in world.store.select() if record.state is VMState.REQUESTED]
    assert requested == ["CLOUD.B.fr"] * 3
    assert world.cloud.calls[Call.CREATE] == 1


@pytest.mark.parametrize("fault", NO_ROOM)
def test_a_refused_vm_type_is_not_asked_for_again_in_the_cycle(fault):
    world = World()
    wait_for(world, offer(world, "p", "q"), jobs=3)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle()
    # one create was refused, its like were not sent, and the other type got them all
    assert world.cloud.calls[Call.CREATE] == 4
    assert [end for end in ends(world) if end[3]] == [("p", "Ended", "FailedToStart", True)]
    assert sum(record.state is VMState.REQUESTED for record in world.store.select()) == 3


@pytest.mark.parametrize("fault", NO_ROOM)
def test_a_lack_of_room_for_one_vm_type_keeps_no_other_from_being_asked_for(fault):
    world = World()
    keys = offer(world, "p", "q")
    for number, key in enumerate(keys):
        wait_for(world, [key], jobs=2, id=number)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle()
    made = {record.vm_type for record in world.store.select() if record.server_id}
    assert len(made) == 1 and sum(bool(record.server_id) for record in world.store.select()) == 2


def test_there_are_so_many_passes_and_no_more():
    world = World()
    wait_for(world, offer(world, "a", "b", "c", "d", "e"))
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING, times=9)
    plan = world.cycle()
    assert world.cloud.calls[Call.CREATE] == MAX_PASSES == len(plan.creates)


def test_where_nothing_else_fits_the_plan_names_the_limit():
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING)
    plan = world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1
    (unmet,) = plan.unmet
    assert unmet.cores == 1 and unmet.detail
    assert world.report().started == 0


def test_the_cap_on_creates_holds_over_all_passes():
    world = World()
    world.config = world.config.model_copy(update={"max_creates_per_cycle": 3})
    wait_for(world, offer(world, "p", "q"), jobs=5)
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING)
    plan = world.cycle()
    assert len(plan.creates) == 3
    assert world.cloud.calls[Call.CREATE] == 1
    assert sum(unmet.cores for unmet in plan.unmet) == 5


def keys_of(world: World) -> list[VMTypeKey]:
    return [VMTypeKey(config.site, config.ce, "q") for config in world.configs]


def test_an_endpoint_that_fails_otherwise_is_not_asked_for_more_in_the_cycle():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    full, broken = world.clouds.values()
    full.faults.next(Call.CREATE, Fault.REFUSE, times=9)
    broken.faults.next(Call.CREATE, Fault.UNREACHABLE, times=9)
    for number, key in enumerate(keys_of(world)):
        wait_for(world, [key], id=number)
    plan = world.cycle()
    assert (full.calls[Call.CREATE], broken.calls[Call.CREATE]) == (1, 1)
    assert "connection refused" in next(unmet.detail for unmet in plan.unmet if unmet.task_queue == 1)


def test_a_cloud_that_asks_to_slow_down_at_a_delete_is_not_asked_for_more_in_the_cycle():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    full, tired = world.clouds.values()
    keys = keys_of(world)
    wait_for(world, keys[1:])
    world.cycle(60)
    world.kill()
    full.faults.next(Call.CREATE, Fault.REFUSE, times=9)
    tired.faults.next(Call.DELETE, Fault.THROTTLE)
    for number, key in enumerate(keys):
        wait_for(world, [key], id=number)
    world.cycle()
    assert (full.calls[Call.CREATE], tired.calls[Call.CREATE]) == (1, 1)


def test_an_endpoint_that_has_not_answered_yet_is_left_to_the_next_cycle():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    full, slow = world.clouds.values()
    full.faults.next(Call.CREATE, Fault.REFUSE, times=9)
    released, create = threading.Event(), slow.create_server
    slow.create_server = lambda request: (released.wait(30), create(request))[1]
    world.director._executor._punctuality = Punctuality(0.5)
    here, there = keys_of(world)
    wait_for(world, [here, there], id=1)
    wait_for(world, [there], id=2)
    try:
        plan = world.cycle()
        states = {record.vm_type: (record.state, record.outcome) for record in world.store.select()}
        assert states == {here: (VMState.ENDED, Outcome.FAILED_TO_START), there: (VMState.PLANNED, None)}
        assert len(world.store.select()) == 2, "no third intent, though there is a job for one"
        assert "is still awaited" in plan.unmet[0].detail
    finally:
        released.set()


def test_moves_and_deletes_are_carried_out_once():
    world = World()
    keys = offer(world, "p", "q")
    wait_for(world, keys)
    world.cycle(60)
    wait_for(world, keys, jobs=3)
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING)
    plan = world.cycle()
    (move,) = plan.moves
    (booting,) = [record for record in world.store.select() if record.state is VMState.BOOTING]
    assert move.vm == booting.vm_id
    assert len(world.store.history(booting.vm_id)) == 3
