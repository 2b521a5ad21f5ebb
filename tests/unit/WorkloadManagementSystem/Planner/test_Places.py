"""Limits of VOs and quota domains, soft limits, and servers that no record knows."""

from dataclasses import replace

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, CloudUse, UnknownServer, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle

BOTH = {key(GRIF), key(NAPOLI)}
LOST = (UnknownServer("s-lost", "lost", "belle", cores=4, seen=1),)


def plan(*endpoints, queues=None, vms=(), policy=POLICY, **other):
    queues = [task_queue(jobs=5, matches=BOTH)] if queues is None else queues
    return plan_cycle(snapshot(*endpoints, queues=queues, vms=vms, **other), policy, NOW)


def limits(result):
    return {stop.limit for stop in result.stops}


def running(name, where=GRIF, **other):
    return vm(name, VMState.RUNNING, 60, vm_type=key(where), jobs=1, spoke=True, **other)


@pytest.mark.parametrize(
    ("bounds", "limit", "words"),
    [
        (Bounds(max_vms=2), Limit.VO_MAX_VMS, "CLOUD.GRIF.fr/grif for belle: VOMaxVMs 2 reached (2 in use); option "),
        (Bounds(max_cores=2), Limit.VO_MAX_CORES, "VOMaxCores 2 reached (2 in use); option CEs/grif/VOLimits/belle"),
    ],
)
def test_a_vo_has_limits_at_an_endpoint(bounds, limit, words):
    result = plan(endpoint(vo_bounds={"Belle": bounds}))
    assert len(result.creates) == 2
    assert [unmet.limit for unmet in result.unmet] == [limit]
    assert words in result.unmet[0].detail
    other = plan(endpoint(vo_bounds={"t2k.org": bounds}))
    assert len(other.creates) == 5


def test_a_vo_has_limits_over_all_endpoints():
    result = plan(endpoint(GRIF), endpoint(NAPOLI), vo_bounds={"BELLE": Bounds(max_vms=3)}, vms=[running("a", NAPOLI)])
    assert len(result.creates) == 2
    assert limits(result) == {Limit.VO_MAX_VMS}
    assert "belle everywhere: VOMaxVMs 3 reached (3 in use); option Operations/belle/Cloud/MaxVMs" in (
        result.unmet[0].detail
    )


def test_a_quota_domain_limits_its_endpoints_together():
    lal, napoli = endpoint(GRIF, domain="lal"), endpoint(NAPOLI, domain="lal")
    result = plan(lal, napoli, domains={"lal": Bounds(max_cores=3)}, vms=[running("a", NAPOLI)])
    assert len(result.creates) == 2
    assert limits(result) == {Limit.DOMAIN_MAX_CORES}
    assert "quota domain lal: QuotaDomainMaxCores 3 reached (3 in use); option CloudDirector/QuotaDomains/lal" in (
        result.unmet[0].detail
    )
    elsewhere = plan(lal, replace(napoli, domain=""), domains={"lal": Bounds(max_cores=3)})
    assert len(elsewhere.creates) == 5


def test_endpoints_of_one_domain_share_the_clouds_quota_and_what_was_asked_of_it():
    quota = CloudUse(max_cores=10, used_cores=6)
    late = replace(quota, used_cores=4)
    asked = vm("asked", VMState.REQUESTED, vm_type=key(NAPOLI), vo="t2k.org")
    result = plan(endpoint(GRIF, domain="lal", cloud=late), endpoint(NAPOLI, domain="lal", cloud=quota), vms=[asked])
    assert len(result.creates) == 3
    assert limits(result) == {Limit.CLOUD_CORES}
    assert "CloudQuotaCores 10 reached (10 in use)" in result.unmet[0].detail
    separate = plan(endpoint(GRIF, cloud=late), endpoint(NAPOLI, cloud=quota), vms=[asked])
    assert len(separate.creates) == 5


@pytest.mark.parametrize("where", [{"max_vms": 3}, {"max_cores": 6}])
def test_servers_that_no_record_knows_count_against_the_limits_of_endpoint_and_domain(where):
    assert len(plan(endpoint(unknown=LOST, **where)).creates) == 2
    result = plan(endpoint(domain="lal", unknown=LOST), domains={"lal": Bounds(**where)})
    assert len(result.creates) == 2


@pytest.mark.parametrize("where", [{"max_vms": 3}, {"max_cores": 6}])
def test_servers_that_no_record_knows_count_against_the_limits_of_their_vo(where):
    bounds = Bounds(**where)
    assert len(plan(endpoint(unknown=LOST, vo_bounds={"Belle": bounds})).creates) == 2
    assert len(plan(endpoint(), endpoint(NAPOLI, unknown=LOST), vo_bounds={"Belle": bounds}).creates) == 2
    assert len(plan(endpoint(unknown=LOST, vo_bounds={"t2k.org": bounds}), vo_bounds={"t2k.org": bounds}).creates) == 5


def test_a_vm_type_that_has_room_is_not_stopped_by_a_full_one_of_the_same_endpoint():
    offers = vm_type(max_vms=1), vm_type(queue="other")
    queues = [task_queue(jobs=3, matches={key(), key(queue="other")})]
    assert len(plan(endpoint(GRIF, *offers), queues=queues).creates) == 3


# Soft limits


@pytest.mark.parametrize("soft", [{"soft_max_vms": 2}, {"soft_max_cores": 2}])
def test_from_a_soft_limit_on_one_vm_at_a_time_is_started(soft):
    world = endpoint(**soft)
    below = plan(world)
    assert len(below.creates) == 2
    assert limits(below) <= {Limit.SOFT_MAX_VMS, Limit.SOFT_MAX_CORES}
    busy = [running("a"), running("b")]
    at = plan(replace(world, servers=tuple(map(server, busy))), vms=busy)
    assert len(at.creates) == 1
    starting = vm("c", VMState.BOOTING, vo="t2k.org")
    beyond = plan(replace(world, servers=tuple(map(server, (*busy, starting)))), vms=[*busy, starting])
    assert beyond.creates == ()
    assert "so one VM at a time, and 1 starting; option CEs/grif/SoftMax" in beyond.unmet[0].detail


@pytest.mark.parametrize(
    "place",
    [
        {"endpoint": {"vo_bounds": {"belle": Bounds(soft_max_vms=0)}}},
        {"snapshot": {"vo_bounds": {"belle": Bounds(soft_max_vms=0)}}},
        {"endpoint": {"domain": "lal"}, "snapshot": {"domains": {"lal": Bounds(soft_max_vms=0)}}},
        {"type": {"soft_max_vms": 0}},
    ],
)
def test_every_place_has_soft_limits(place):
    world = endpoint(GRIF, vm_type(**place.get("type", {})), **place.get("endpoint", {}))
    result = plan(world, **place.get("snapshot", {}))
    assert len(result.creates) == 1
    assert limits(result) == {Limit.SOFT_MAX_VMS}


def test_cores_that_start_are_limited():
    starting = vm("a", VMState.BOOTING, cores=3, vo="t2k.org")
    result = plan(endpoint(max_starting_cores=5), vms=[starting])
    assert len(result.creates) == 2
    assert limits(result) == {Limit.MAX_STARTING_CORES}
    assert "MaxStartingCores 5 reached (5 in use); option CEs/grif/MaxStartingCores" in result.unmet[0].detail
