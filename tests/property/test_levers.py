"""Levers over random worlds: what is over, or names nothing there, changes nothing; the same levers again neither."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.WorkloadManagementSystem.Planner.Levers import OPTIONS, apply_levers, covers
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    Endpoint,
    Lever,
    LeverKind,
    Snapshot,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
KEYS = [VMTypeKey(site, ce, queue) for site, ce in (("A", "a"), ("A", "b"), ("B", "c")) for queue in ("p", "q")]
VOS = ("belle", "t2k.org")

times = st.sampled_from((-60, -5, 0, 5, 60)).map(lambda minutes: NOW + timedelta(minutes=minutes))
numbers = st.none() | st.integers(0, 50)
bounds = st.builds(Bounds, numbers, numbers, numbers, numbers)
levers = st.builds(
    Lever,
    id=st.integers(1, 99),
    kind=st.sampled_from(LeverKind),
    who=st.sampled_from(("anna", "bert")),
    why=st.text(max_size=5),
    since=times,
    until=st.none() | times,
    site=st.sampled_from(("", "A", "B")),
    ce=st.sampled_from(("", "", "a", "b")),
    queue=st.sampled_from(("", "", "p")),
    vo=st.sampled_from(("", "", "belle", "T2K.ORG")),
    vm=st.sampled_from(("", "", "vm0", "vm1")),
    option=st.sampled_from(OPTIONS),
    value=numbers,
)
vo_names = st.sampled_from(VOS)
endpoints = st.builds(
    lambda key, bounds, vo_bounds, shares: Endpoint(
        key,
        tuple(VMType(one, cores=1) for one in KEYS if one.endpoint == key),
        bounds,
        vo_bounds=vo_bounds,
        shares=shares,
    ),
    st.sampled_from(sorted({key.endpoint for key in KEYS})),
    bounds,
    st.dictionaries(vo_names, bounds, max_size=1),
    st.dictionaries(vo_names, st.floats(0, 100), max_size=2),
)
vms = st.lists(st.tuples(st.sampled_from(KEYS), vo_names), max_size=4).map(
    lambda made: tuple(
        VirtualMachine(f"vm{number}", key, vo, 1, VMState.RUNNING, NOW, NOW) for number, (key, vo) in enumerate(made)
    )
)
worlds = st.builds(
    Snapshot,
    endpoints=st.lists(endpoints, max_size=3, unique_by=lambda one: one.key).map(tuple),
    vms=vms,
    vos=st.just(frozenset(VOS)),
    vo_bounds=st.dictionaries(vo_names, bounds, max_size=1),
    levers=st.lists(levers, max_size=4, unique_by=lambda one: one.id).map(tuple),
)


@given(worlds)
def test_applying_twice_is_applying_once(world):
    once = apply_levers(world, NOW)
    assert apply_levers(once, NOW) == once


@given(worlds)
def test_the_order_of_levers_does_not_matter(world):
    turned = apply_levers(replace(world, levers=world.levers[::-1]), NOW)
    assert replace(turned, levers=world.levers) == apply_levers(world, NOW)


@given(worlds, st.data())
def test_levers_that_are_over_change_nothing(world, data):
    past = st.sampled_from((0, 1, 60)).map(lambda minutes: NOW - timedelta(minutes=minutes))
    world = replace(world, levers=tuple(replace(lever, until=data.draw(past)) for lever in world.levers))
    assert apply_levers(world, NOW) == world


@given(worlds, st.sampled_from(("site", "ce", "queue", "vo", "vm")))
def test_levers_that_name_what_does_not_exist_change_nothing(world, field):
    world = replace(world, levers=tuple(replace(lever, **{field: "nowhere"}) for lever in world.levers))
    assert apply_levers(world, NOW) == world


@given(worlds)
def test_a_vm_is_drained_if_a_standing_drain_covers_it_and_a_pause_drains_none(world):
    standing = [one for one in world.levers if one.kind is LeverKind.DRAIN and (one.until is None or one.until > NOW)]
    for vm in apply_levers(world, NOW).vms:
        assert bool(vm.drain) == any(covers(lever, vm.vm_type, vm.vo, vm.id) for lever in standing)
