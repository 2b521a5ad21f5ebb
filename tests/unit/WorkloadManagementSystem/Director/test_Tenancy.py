"""Servers in our project that no record of ours knows: strays of this installation, and those of others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import START, World, hidden_servers

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Identity,
    Limits,
    Server,
    ServerRequest,
    ServerStatus,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import LONGEST_SILENCE, ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation
from JenniferDIRAC.WorkloadManagementSystem.Director.Tenancy import cores_by_vo, has_room, others, pilot_reference
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, CloudUse, PilotState, VMType, VMTypeKey

VM = "e" * 32
OTHER = "f" * 32


def stray(world: World, vm: str = VM) -> Server:
    """A server of this installation that no record knows."""
    identity = Identity(world.store.installation(), vm, "belle", 1)
    return world.cloud.create_server(ServerRequest(identity, world.cloud.images[0], world.cloud.flavors[0], b"#"))


def pass_time(world: World, minutes: float, cycles: int = 3) -> None:
    for _ in range(cycles):
        world.cycle(60 * minutes / cycles)


# Strays


def test_a_server_of_ours_that_no_record_knows_is_deleted_after_a_while_and_told_of_once():
    world = World()
    server = stray(world)
    pass_time(world, 4)
    assert world.cloud.list_servers() != ()
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED)
    pass_time(world, 4)
    assert world.cloud.list_servers() == ()
    (warning,) = world.log.warnings
    assert server.id in warning and VM in warning and "No record knows" in warning


def test_one_listing_is_not_enough_however_old_it_is():
    world = World()
    stray(world)
    world.now += timedelta(days=30)
    world.cycle()
    assert world.cloud.calls[Call.DELETE] == 0
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_a_listing_that_does_not_hold_it_begins_the_count_anew_and_one_that_fails_does_not():
    world = World()
    stray(world)
    world.now += timedelta(days=1)
    world.cycle()
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
    world.cycle()
    world.cycle()
    assert world.cloud.calls[Call.DELETE] == 0
    world.cloud.faults.next(Call.LIST, Fault.LOSE_LIST)
    world.cycle()
    assert world.cloud.calls[Call.DELETE] == 0
    world.cycle()
    assert world.cloud.calls[Call.DELETE] == 1


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("ours", {}),
        ("somebody's", {"vm": VM}),
        ("ours", {"vm": OTHER}),
        ("ours", {"installation": OTHER}),
    ],
    ids=["name only", "metadata only", "another VM", "another installation"],
)
def test_what_is_ours_by_name_or_by_metadata_only_is_never_deleted(name, metadata):
    world = World()
    ours = Identity(world.store.installation(), VM, "belle", 1)
    said = {f"jennifer_{word}": value for word, value in {"installation": ours.installation, **metadata}.items()}
    world.cloud.add_foreign(ours.name if name == "ours" else name, metadata=said)
    pass_time(world, 60 * 24 * 30, cycles=10)
    assert world.cloud.calls[Call.DELETE] == 0


def test_a_stray_whose_pilot_is_at_work_is_left_to_finish():
    world = World()
    stray(world)
    reference = pilot_reference(world.configs[0].ce, VM)
    world.dirac.pilots[reference] = PilotFacts(PilotState.RUNNING, 1)
    pass_time(world, 60)
    assert world.cloud.calls[Call.DELETE] == 0
    world.dirac.pilots[reference] = PilotFacts(PilotState.FINISHED, 1)
    pass_time(world, 1)
    assert world.cloud.list_servers() == ()


def test_while_dirac_does_not_answer_a_stray_may_be_at_work():
    world = World()
    stray(world)
    world.dirac.away.add("PilotManager")
    pass_time(world, 60)
    assert world.cloud.calls[Call.DELETE] == 0


def test_a_stray_that_the_cloud_is_deleting_is_not_asked_for():
    world = World()
    stray(world)
    listed = world.cloud.list_servers
    world.cloud.list_servers = lambda: tuple(replace(each, status=ServerStatus.DELETING) for each in listed())
    pass_time(world, 60)
    assert world.cloud.calls[Call.DELETE] == 0


def test_a_server_whose_record_has_ended_is_no_stray():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    with hidden_servers(world.cloud, lists=2):
        plans = [world.cycle() for _ in range(2)]
    plans += [world.cycle() for _ in range(7)]
    assert world.the_vm().outcome is not None and world.cloud.list_servers() == ()
    assert [plan.collects for plan in plans] == [()] * 9


def test_a_server_whose_record_the_director_does_not_remember_is_no_stray():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    world.director._records.read = lambda afresh=False: ()
    world.director._records._sorted = ()
    pass_time(world, 60)
    assert world.cloud.calls[Call.DELETE] == 0


# Other installations


def test_the_cores_of_other_installations_are_counted_by_vo():
    mine, theirs = Identity("a" * 32, VM, "belle", 1), Identity(OTHER, VM, "t2k.org", 4)
    servers = [
        Server("s1", mine.name, ServerStatus.ACTIVE, mine.metadata, cores=1),
        Server("s2", theirs.name, ServerStatus.ACTIVE, theirs.metadata, cores=4),
        Server("s3", "somebody's", ServerStatus.ACTIVE, cores=8),
        Server("s4", theirs.name, ServerStatus.ACTIVE, {**theirs.metadata, "jennifer_cores": "?"}, cores=2),
    ]
    foreign = others(servers, mine.installation)
    assert [server.id for server in foreign] == ["s2", "s4"]
    assert cores_by_vo(foreign) == {"t2k.org": 6}


SMALL, BIG = (VMType(VMTypeKey("S", "c", q), cores, 1000 * cores) for q, cores in (("small", 2), ("big", 8)))


@pytest.mark.parametrize(
    ("bounds", "cloud", "room"),
    [
        (Bounds(), CloudUse(), True),
        (Bounds(max_cores=12), CloudUse(), True),
        (Bounds(max_cores=11), CloudUse(), False),
        (Bounds(max_vms=6), CloudUse(), True),
        (Bounds(max_vms=5), CloudUse(), False),
        (Bounds(), CloudUse(max_cores=30, used_cores=28), True),
        (Bounds(), CloudUse(max_cores=30, used_cores=29), False),
        (Bounds(), CloudUse(max_instances=3, used_instances=3), False),
        (Bounds(), CloudUse(max_ram_mib=3000, used_ram_mib=1500), False),
    ],
)
def test_there_is_room_when_the_smallest_vm_type_fits_limits_and_quota(bounds, cloud, room):
    assert has_room((BIG, SMALL), bounds, cloud, vms=5, cores=10) is room
    assert not has_room((), bounds, cloud, vms=0, cores=0)


def test_room_is_lendable_since_no_other_installation_started_anything():
    memory = ListingMemory()

    def watched(others, room=True, minutes=0):
        memory.watch_others({"belle": others}, ["belle", "t2k.org"], room, START + timedelta(minutes=minutes))
        return memory.lendable_since.get("belle")

    assert watched({"a"}) is None, "what was there before is not known"
    assert watched({"a"}, minutes=1) == START + timedelta(minutes=1)
    assert watched(set(), minutes=2) == START + timedelta(minutes=1), "one that ends takes no room"
    assert watched({"b"}, minutes=3) is None
    assert watched({"b"}, minutes=4) == START + timedelta(minutes=4)
    assert watched({"b"}, room=False, minutes=5) is None
    assert watched({"b"}, minutes=6) == START + timedelta(minutes=6)
    assert memory.lendable_since["t2k.org"] == START + timedelta(minutes=6)


def test_what_one_vo_of_another_installation_starts_is_no_sign_of_another():
    memory = ListingMemory()
    for minute in range(9):
        others = {"belle": {f"s{n}" for n in range(minute)}}
        memory.watch_others(others, ["belle", "t2k.org"], True, START + timedelta(minutes=minute))
    assert memory.lendable_since == {"t2k.org": START + timedelta(minutes=1)}


def test_after_a_long_silence_of_the_cloud_nothing_is_lendable_at_first():
    memory, look = ListingMemory(), Observation((), Limits(), {})
    for minute in range(3):
        memory.see(look, False, (), START + timedelta(minutes=minute))
        memory.watch_others({}, ["belle"], True, START + timedelta(minutes=minute))
    assert memory.lendable_since
    later = START + LONGEST_SILENCE + timedelta(minutes=5)
    memory.see(Unreachable("away"), False, (), later)
    memory.see(look, False, (), later)
    memory.watch_others({}, ["belle"], True, later)
    assert not memory.lendable_since


class Shared:
    """One director's way to a cloud that it shares; ``deleted`` are the servers that went this way."""

    def __init__(self, cloud):
        self._cloud, self.deleted = cloud, set()

    def delete_server(self, server_id):
        self.deleted.add(server_id)
        self._cloud.delete_server(server_id)

    def __getattr__(self, name):
        return getattr(self._cloud, name)


def test_two_installations_on_one_project_never_touch_each_others_servers():
    ours, theirs = World(), World()
    cloud, key = ours.cloud, next(iter(ours.clouds))
    ours.clouds[key], theirs.clouds[key] = Shared(cloud), Shared(cloud)
    ours.wait_for_jobs(3, "belle")
    theirs.wait_for_jobs(2, "t2k.org")
    stray(ours)
    for cycle in range(60):
        if cycle == 20:
            ours.wait_for_jobs(0)
            theirs.wait_for_jobs(0)
        ours.cycle(60)
        theirs.now = ours.now
        theirs.cycle(0)
    made = {
        world: {record.server_id for record in world.store.select() if record.server_id} for world in (ours, theirs)
    }
    assert ours.cloud.deleted == made[ours] | {"server-0001"} and len(made[ours]) >= 3
    assert theirs.cloud.deleted == made[theirs] and len(made[theirs]) >= 2
    assert cloud.list_servers() == ()
