"""What the director could not record, because the database went away or the director died."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from director_world import World

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import MemoryDatabase
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryStore import MemoryStore


@contextmanager
def database_away_at(world: World, method: str):
    """The database is away whenever this method of the store has something to record."""
    record = getattr(world.store, method)

    def gone(news, *others, **named):
        if news:
            raise StoreUnavailable("gone")
        return record(news, *others, **named)

    setattr(world.store, method, gone)
    yield
    delattr(world.store, method)


def test_nothing_is_sent_when_the_intent_cannot_be_recorded():
    world = World(jobs=1)
    with database_away_at(world, "record_intents"), pytest.raises(StoreUnavailable):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 0


def test_a_server_made_by_a_director_that_died_before_recording_it_is_adopted_not_doubled():
    world = World(jobs=1)
    world.director._executor.record_outcomes = lambda: None
    world.cycle(0)
    assert world.the_vm().state is VMState.PLANNED
    world.restart()
    world.cycle(40)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1
    record = world.the_vm()
    assert record.state is VMState.BOOTING
    assert record.server_id == world.cloud.list_servers()[0].id
    assert record.pilot_reference in world.dirac.stamps


def test_results_that_could_not_be_recorded_are_recorded_when_the_database_is_back():
    world = World(jobs=1)
    world.cloud.faults.next(Call.CREATE, Fault.REJECT)
    with database_away_at(world, "move_all"), pytest.raises(StoreUnavailable):
        world.cycle()
    world.cycle()
    assert world.the_vm().outcome is Outcome.REJECTED


def test_that_a_pilot_was_entered_is_recorded_in_a_later_cycle_when_the_database_went_away():
    world = World(jobs=1)
    with database_away_at(world, "note_all"), pytest.raises(StoreUnavailable):
        world.cycle()
    assert (len(world.dirac.pilots), world.the_vm().pilot_entered_at) == (1, None)
    world.cycle(0)
    assert world.the_vm().pilot_entered_at == world.now


def with_a_lost_record() -> tuple[World, MemoryDatabase, str]:
    """One of two VMs at work is forgotten, and the director has come to know; the other is the one that is kept."""
    database = MemoryDatabase()
    world = World(jobs=2, store=MemoryStore(database))
    database.clock = lambda: world.now
    world.cycle(60)
    world.cycle()
    for record in world.store.select():
        world.cloud.write_console(record.server_id, f"@jennifer {record.vm_id} hello\n")
    world.wait_for_jobs(0)
    lost, kept = sorted(database.live)
    database.lose(lost)
    with pytest.raises(StoreUnavailable, match=f"a record is lost.*{lost}"):
        world.cycle()
    return world, database, kept


def test_a_record_that_is_lost_costs_one_cycle_and_its_server_is_a_stray():
    world, database, kept = with_a_lost_record()
    world.cycle()
    assert (list(database.live), database.live[kept].state) == ([kept], VMState.RUNNING)
    assert len(world.cloud.list_servers()) == 2


@pytest.mark.parametrize("whole_lists", [0, 1])
def test_a_stray_that_short_lists_hide_still_takes_its_room(whole_lists):
    world, *_ = with_a_lost_record()
    world.configs = tuple(config.model_copy(update={"max_vms": 2}) for config in world.configs)
    for _ in range(whole_lists):
        world.cycle()
    world.wait_for_jobs(5)
    for _ in range(3):
        world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
        world.cycle()
    assert len(world.cloud.list_servers()) == 2
