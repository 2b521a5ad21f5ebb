"""Whose turn it is at an endpoint, and what is left to VOs of other installations."""

from dataclasses import replace
from datetime import timedelta

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, ago, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

BELLE, T2K = task_queue(1, 99, "belle"), task_queue(2, 99, "t2k.org")
MANY = Policy(max_booting=1000, max_creates_per_cycle=1000)


def running(*vos, where=GRIF):
    return [vm(f"r{n}", VMState.RUNNING, 60, vo=vo, vm_type=key(where), jobs=1) for n, vo in enumerate(vos)]


def started(world, queues=(BELLE, T2K), vms=(), policy=MANY, **other):
    world = replace(world, servers=tuple(map(server, vms)))
    result = plan_cycle(snapshot(world, queues=queues, vms=vms, **other), policy, NOW)
    return [create.vo for create in result.creates], result


def test_shares_weigh_the_vos():
    vos, _ = started(endpoint(shares={"belle": 3, "t2k.org": 1}, max_vms=8))
    assert (vos.count("belle"), vos.count("t2k.org")) == (6, 2)


def test_what_a_vo_does_not_use_is_lent():
    vos, _ = started(endpoint(shares={"belle": 1, "t2k.org": 99}, max_vms=8), queues=[BELLE])
    assert vos == ["belle"] * 8


def test_a_vo_that_borrowed_waits_until_the_others_have_theirs():
    vos, _ = started(endpoint(shares={"belle": 1, "t2k.org": 1}, max_vms=8), vms=running(*["belle"] * 4))
    assert vos == ["t2k.org"] * 4


@pytest.mark.parametrize("shares", [{"belle": 1}, {"belle": 1, "T2K.org": 0}])
def test_a_vo_without_a_share_uses_only_what_is_left(shares):
    few = replace(BELLE, jobs=3)
    vos, _ = started(endpoint(shares=shares, max_vms=5), queues=[few, T2K])
    assert vos == ["belle"] * 3 + ["t2k.org"] * 2


def test_use_by_other_installations_counts_for_a_vo_whatever_the_case_of_its_name():
    vos, _ = started(endpoint(max_vms=5, others={"Belle": 3}))
    assert vos == ["t2k.org"] * 3 + ["belle", "t2k.org"]


def test_a_vo_uses_first_where_it_has_a_share():
    big = vm_type(GRIF, cores=8)
    queues = [task_queue(1, 1, matches={key(GRIF), key(NAPOLI)})]
    world = snapshot(endpoint(NAPOLI, shares={"t2k.org": 1}), endpoint(GRIF, big), queues=queues)
    assert [create.vm_type for create in plan_cycle(world, POLICY, NOW).creates] == [key(GRIF)]


def test_endpoints_of_a_higher_priority_are_filled_first():
    big = vm_type(NAPOLI, cores=8)
    queues = [task_queue(1, 3, matches={key(GRIF), key(NAPOLI)})]
    world = snapshot(endpoint(GRIF), endpoint(NAPOLI, big, priority=1, max_vms=2), queues=queues)
    sites = [create.vm_type.site for create in plan_cycle(world, POLICY, NOW).creates]
    assert sites == [NAPOLI.site, NAPOLI.site, GRIF.site]


# Other installations


FOREIGN = {"shares": {"belle": 50, "T2K.org": 20}, "max_vms": 100}
OURS = {"queues": [BELLE], "vos": frozenset({"belle"})}


def test_room_is_left_to_a_vo_of_another_installation_that_is_below_its_share():
    vos, result = started(endpoint(**FOREIGN, others={"t2k.org": 4}), vms=running(*["belle"] * 10), **OURS)
    assert vos == ["belle"]
    (stop,) = result.stops
    assert (stop.limit, stop.left) == (Limit.SHARE, None)
    assert stop.detail == (
        "CLOUD.GRIF.fr/grif: left to t2k.org with 4 cores in use for a share of 20, "
        "against belle with 11 cores in use for a share of 50; option CEs/grif/Shares"
    )


def test_room_that_nobody_took_for_a_while_is_lent():
    vms = running(*["belle"] * 11)
    world = endpoint(**FOREIGN, others={"t2k.org": 4})
    vos, result = started(replace(world, lendable_since={"t2k.org": ago(3)}), vms=vms, **OURS)
    assert vos == [] and result.stops[0].left == timedelta(seconds=121)
    assert "lent in 121 s unless it is taken" in result.unmet[0].detail
    vos, _ = started(replace(world, lendable_since={"t2k.org": ago(5.1)}), vms=vms, **OURS)
    assert len(vos) == 89


def test_room_of_a_vo_that_wants_nothing_is_lent_while_another_foreign_one_takes_some():
    shares = {"belle": 50, "t2k.org": 20, "hyperk.org": 30}
    world = endpoint(shares=shares, max_vms=100, others={"hyperk.org": 20}, lendable_since={"t2k.org": ago(6)})
    vos, _ = started(world, vms=running(*["belle"] * 11), **OURS)
    assert len(vos) == 23, "until belle has more for its share than hyperk.org"


def test_a_clock_that_was_set_back_lends_nothing_at_once_and_everything_in_the_end():
    world = replace(endpoint(**FOREIGN, others={"t2k.org": 4}), lendable_since={"t2k.org": ago(-600)})
    vos, result = started(world, vms=running(*["belle"] * 11), **OURS)
    assert vos == [] and result.stops[0].left == POLICY.lend_after + timedelta(seconds=1)


@pytest.mark.parametrize("others", [{}, {"t2k.org": 0}])
def test_the_vo_that_uses_least_for_its_share_never_waits_and_nor_do_ties(others):
    big = vm_type(cores=64)
    vos, _ = started(replace(endpoint(GRIF, big, **FOREIGN), others=others), **OURS)
    assert vos == ["belle"]


def test_a_vo_without_a_share_that_is_not_served_here_is_nobody_to_wait_for():
    vos, _ = started(endpoint(shares={"belle": 50, "hyperk.org": 0}, max_vms=5), vms=running("belle"), **OURS)
    assert len(vos) == 4


def test_the_vos_of_this_director_never_wait_for_each_other():
    vos, _ = started(endpoint(**FOREIGN | {"max_vms": 5}), queues=[BELLE], vms=running("belle"))
    assert len(vos) == 4
