"""Two directors on one database: an endpoint is looked after by one of them, and no VM is doubled."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import Clock, World
from sqlalchemy import create_engine

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Director.LeaseKeeper import LEASE_TTL, LeaseKeeper
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, VMState

A, B = EndpointKey("CLOUD.A.fr", "cloud.a.fr-ce"), EndpointKey("CLOUD.B.fr", "cloud.b.fr-ce")
LONG = timedelta(hours=1)


@pytest.fixture
def store(tmp_path):
    """A database that several threads may use, as processes do."""
    return VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))


def run_out(world: World, director) -> None:
    """What the database shows when this director has not renewed its leases in time."""
    world.store.leases.take(world.store.leases.standing(), director.holder, timedelta(0))


def while_the_matcher_is_asked(world: World, happens) -> None:
    """Have this happen once, in the middle of the next cycle that begins."""
    ask = world.dirac.task_queues

    def ask_meanwhile(parameters):
        world.dirac.task_queues = ask
        happens()
        return ask(parameters)

    world.dirac.task_queues = ask_meanwhile


def test_the_second_director_neither_looks_nor_acts_where_the_first_one_does():
    world = World()
    other = world.another_director()
    world.cycle()
    looks = world.cloud.calls[Call.LIST]
    world.wait_for_jobs(1)
    plan = other.cycle()
    assert (plan.creates, world.cloud.calls[Call.LIST]) == ((), looks)
    assert f"another director has it: {world.director.holder}" in plan.unmet[0].detail
    world.cycle()
    assert len(world.store.live()) == 1


def test_the_second_director_leaves_reports_and_records_as_the_first_one_wrote_them():
    world = World(jobs=1)
    other = world.another_director()
    world.cycle(60)
    reference = world.the_vm().pilot_reference
    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], jobs=1)
    before = world.store.live(), world.store.reports(), world.store.plans.last(9)
    other.cycle()
    assert (world.store.live(), world.store.reports(), world.store.plans.last(9)) == before


def test_what_the_first_director_started_is_supply_for_the_second_one():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    other = world.another_director()
    world.store.leases.take([A], other.holder, LONG)
    world.wait_for_jobs(1)
    world.cycle()
    assert world.the_vm().endpoint == B
    assert not other.cycle().creates
    world.wait_for_jobs(2)
    other.cycle()
    assert sorted(record.endpoint for record in world.store.live()) == [A, B]


def test_vms_planned_for_jobs_for_which_the_other_director_started_some_meanwhile_are_not_started():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    other = world.another_director()
    world.store.leases.take([A], other.holder, LONG)
    world.cycle()
    world.wait_for_jobs(1)
    while_the_matcher_is_asked(world, other.cycle)
    world.cycle()
    assert world.the_vm().endpoint == A
    assert "another director started VMs in this moment" in next(
        report.line for report in world.store.reports() if (report.ce, report.vo) == (B.ce, "belle")
    )
    world.cycle()
    assert len(world.store.live()) == 1


def test_what_the_other_director_starts_while_the_clouds_answer_is_supply_and_the_rest_is_started_at_once():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    other = world.another_director()
    world.store.leases.take([A], other.holder, LONG)
    world.cycle()
    world.wait_for_jobs(1)
    list_servers = world.clouds[B].list_servers

    def list_meanwhile():
        world.clouds[B].list_servers = list_servers
        other.cycle()
        world.wait_for_jobs(2)
        return list_servers()

    world.clouds[B].list_servers = list_meanwhile
    world.cycle()
    assert sorted(record.endpoint for record in world.store.live()) == [A, B]


def test_when_a_director_is_dead_the_other_one_takes_over_what_it_had_and_doubles_nothing():
    world = World(jobs=1)
    other = world.another_director()
    world.cycle(60)
    other.cycle()
    run_out(world, world.director)
    world.director = other
    world.cycle()
    assert (world.the_vm().state, world.cloud.calls[Call.CREATE]) == (VMState.BOOTING, 1)
    assert world.store.leases.standing() == {A: other.holder}


def test_a_director_that_ends_in_good_order_is_followed_at_once():
    world = World()
    other = world.another_director()
    world.cycle()
    world.director.release()
    other.cycle()
    assert world.store.leases.standing() == {A: other.holder}


def test_a_create_on_its_way_when_its_director_loses_the_lease_is_adopted_by_the_next_one(store):
    """The cloud is slow; the director hangs in its create, its lease runs out, and the other one's cycles go on."""
    world = World(store=store, jobs=1)
    other = world.another_director()
    made, go_on = threading.Event(), threading.Event()
    create = world.cloud.create_server

    def hang_and_create(request):
        server = create(request)
        made.set()
        assert go_on.wait(30)
        return server

    world.cloud.create_server = hang_and_create
    first = threading.Thread(target=world.director.cycle)
    first.start()
    assert made.wait(30)
    run_out(world, world.director)
    for _ in range(2):
        other.cycle()
        world.now += timedelta(seconds=40)
    (server,) = world.cloud.list_servers()
    assert (world.the_vm().state, world.the_vm().server_id) == (VMState.BOOTING, server.id)
    go_on.set()
    first.join(30)
    world.director.cycle()
    other.cycle()
    assert (world.the_vm().state, world.the_vm().server_id) == (VMState.BOOTING, server.id)
    assert world.cloud.calls[Call.CREATE] == 1


def test_a_director_that_slept_past_its_lease_sends_no_create_that_it_had_recorded(store):
    world = World(store=store)
    clock = world.director._leases._clock = Clock()
    world.wait_for_jobs(1)
    record_intents = world.store.record_intents

    def record_and_sleep(*arguments, **words):
        record_intents(*arguments, **words)
        clock.now += LEASE_TTL.total_seconds()

    world.store.record_intents = record_and_sleep
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 0
    assert (world.the_vm().state, world.the_vm().outcome_reason) == (
        VMState.ENDED,
        "Unreachable: not sent: another director may have the endpoint by now, or its configuration was changed",
    )


def test_an_intent_is_not_recorded_once_another_director_has_the_endpoint():
    world = World()
    world.cycle()
    world.wait_for_jobs(1)

    def lose_the_lease():
        run_out(world, world.director)
        world.store.leases.take([A], "other", LONG)

    while_the_matcher_is_asked(world, lose_the_lease)
    world.cycle()
    assert world.store.live() == ()
    assert world.cloud.calls[Call.CREATE] == 0
    assert "another director may have" in world.report().line


# The keeper of the leases


def keeper_of(store, clock: Clock) -> LeaseKeeper:
    return LeaseKeeper(store.leases, lambda warning: None, clock=clock)


def test_a_lease_that_was_renewed_is_held_longer(store):
    clock = Clock()
    keeper = keeper_of(store, clock)
    keeper.take([A], LONG)
    clock.now = 20
    keeper.renew()
    clock.now = 40
    assert keeper.has(A)
    clock.now = 45
    assert not keeper.has(A)


def test_the_leases_of_a_cycle_that_hangs_are_not_renewed(store):
    clock = Clock()
    keeper = keeper_of(store, clock)
    keeper.take([A], timedelta(minutes=5))
    clock.now = 300
    keeper.renew()
    assert not keeper.has(A)


def test_what_was_not_its_own_all_the_time_is_told_as_gained(store):
    keeper = keeper_of(store, Clock())
    assert keeper.take([A, B], LONG).gained == {A, B}
    assert keeper.take([A, B], LONG).gained == frozenset()
    store.leases.take([B], keeper.holder, timedelta(0))
    assert keeper.take([A, B], LONG).gained == {B}
    store.leases.take([B], keeper.holder, timedelta(0))
    store.leases.take([B], "other", LONG)
    holding = keeper.take([A, B], LONG)
    assert (holding.held, holding.gained, holding.others) == ({A}, frozenset(), {B: "other"})


def test_two_keepers_of_one_process_are_two_holders(store):
    assert keeper_of(store, Clock()).holder != keeper_of(store, Clock()).holder


def test_a_director_that_slept_in_the_middle_of_a_cycle_acts_on_nothing_that_it_saw_before(store):
    world = World(store=store, jobs=1)

    def sleep():
        world.now += timedelta(hours=6)

    while_the_matcher_is_asked(world, sleep)
    assert world.cycle() == Plan()
    assert world.store.select() == ()
    world.cycle()
    assert len(world.store.select()) == 1


def test_a_director_that_lost_its_lease_deletes_nothing(store):
    world = World(store=store, jobs=1)
    world.cycle(60)
    world.kill()
    world.director._executor._may_act = lambda endpoint: False
    world.cycle()
    assert world.cloud.calls[Call.DELETE] == 0
