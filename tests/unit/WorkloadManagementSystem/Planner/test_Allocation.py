"""Which VMs are started, and which limit stops the rest."""

from dataclasses import replace

import pytest
from planner_world import GRIF, NAPOLI, NOW, POLICY, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Create, Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import CloudUse, Outcome, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

BOTH = {key(GRIF), key(NAPOLI)}


def plan(*endpoints, queues, policy=POLICY, **other):
    return plan_cycle(snapshot(*endpoints, queues=queues, **other), policy, NOW)


def sites(result):
    return [create.vm_type.site for create in result.creates]


def stopped(result):
    return [(unmet.limit, unmet.cores) for unmet in result.unmet]


def test_a_waiting_job_starts_one_vm_for_its_vo_and_queue():
    result = plan(queues=[task_queue(7)])
    assert result.creates == (Create(key(), "belle", cores=1, ram_mib=2048, task_queue=7),)
    assert result.unmet == ()


def test_a_queue_that_matches_two_endpoints_starts_one_vm():
    assert len(plan(endpoint(GRIF), endpoint(NAPOLI), queues=[task_queue(matches=BOTH)]).creates) == 1


def test_no_demand_starts_nothing():
    assert plan(queues=[]).creates == ()


def test_vos_take_turns():
    result = plan(queues=[task_queue(1, 9, "belle"), task_queue(2, 9, "t2k.org")], policy=Policy(max_booting=4))
    assert [create.vo for create in result.creates] == ["belle", "t2k.org"] * 2


def test_the_vo_with_the_fewest_cores_in_use_goes_first():
    busy = vm(vo="belle", state=VMState.RUNNING, jobs=1)
    result = plan(
        endpoint(servers=(server(busy),), max_vms=2),
        queues=[task_queue(1, 9, "belle"), task_queue(2, 9, "t2k.org")],
        vms=[busy],
    )
    assert [create.vo for create in result.creates] == ["t2k.org"]


def test_the_queues_of_a_vo_take_turns():
    result = plan(endpoint(max_vms=2), queues=[task_queue(1, 9), task_queue(2, 9)])
    assert [create.task_queue for create in result.creates] == [1, 2]


def test_the_vm_type_that_wastes_fewest_cores_is_preferred():
    big = vm_type(NAPOLI, cores=8)
    result = plan(endpoint(NAPOLI, big), endpoint(GRIF), queues=[task_queue(matches=BOTH)])
    assert sites(result) == [GRIF.site]


def test_a_big_vm_is_preferred_when_the_jobs_fill_it_and_it_has_the_room():
    big = vm_type(NAPOLI, cores=8, fills_cores=True)
    result = plan(
        endpoint(NAPOLI, big, max_cores=100), endpoint(GRIF, max_cores=4), queues=[task_queue(jobs=9, matches=BOTH)]
    )
    assert sites(result) == [NAPOLI.site, GRIF.site]


def test_of_equal_vm_types_the_endpoint_with_the_most_free_cores_is_preferred():
    result = plan(endpoint(GRIF, max_cores=2), endpoint(NAPOLI, max_cores=3), queues=[task_queue(jobs=4, matches=BOTH)])
    assert sites(result) == [NAPOLI.site, GRIF.site, NAPOLI.site, GRIF.site]


def test_a_full_endpoint_sends_the_demand_to_the_next():
    result = plan(
        endpoint(GRIF, max_cores=1), endpoint(NAPOLI, max_vms=9, max_cores=1), queues=[task_queue(jobs=3, matches=BOTH)]
    )
    assert sorted(sites(result)) == [GRIF.site, NAPOLI.site]
    assert stopped(result) == [(Limit.ENDPOINT_MAX_CORES, 1)]


@pytest.mark.parametrize(
    ("world", "policy", "limit", "words"),
    [
        (endpoint(max_vms=2), POLICY, Limit.ENDPOINT_MAX_VMS, "CLOUD.GRIF.fr/grif: MaxVMs 2 reached (2 in use)"),
        (endpoint(max_cores=2), POLICY, Limit.ENDPOINT_MAX_CORES, "CLOUD.GRIF.fr/grif: MaxCores 2 reached (2 in use)"),
        (endpoint(GRIF, vm_type(max_vms=2)), POLICY, Limit.VM_TYPE_MAX_VMS, "grif/small: VMTypeMaxVMs 2 reached"),
        (endpoint(GRIF, vm_type(max_cores=2)), POLICY, Limit.VM_TYPE_MAX_CORES, "grif/small: VMTypeMaxCores 2 reached"),
        (
            endpoint(cloud=CloudUse(max_instances=9, used_instances=7)),
            POLICY,
            Limit.CLOUD_INSTANCES,
            "CloudQuotaInstances 9 reached (9 in use)",
        ),
        (endpoint(cloud=CloudUse(max_cores=9, used_cores=7)), POLICY, Limit.CLOUD_CORES, "CloudQuotaCores 9 reached"),
        (
            endpoint(cloud=CloudUse(max_ram_mib=5000, used_ram_mib=0)),
            POLICY,
            Limit.CLOUD_RAM,
            "CloudQuotaRAM 5000 has no room for 2048 more (4096 in use)",
        ),
        (endpoint(), Policy(max_booting=2), Limit.MAX_BOOTING, "MaxBooting 2 reached"),
        (endpoint(), Policy(max_creates_per_cycle=2), Limit.MAX_CREATES_PER_CYCLE, "MaxCreatesPerCycle 2 reached"),
    ],
)
def test_a_limit_stops_the_third_vm_and_is_named(world, policy, limit, words):
    result = plan(world, queues=[task_queue(jobs=5)], policy=policy)
    assert len(result.creates) == 2
    assert stopped(result) == [(limit, 3)]
    assert words in result.unmet[0].detail
    assert result.unmet[0].vm_type == key()


@pytest.mark.parametrize("state", [state for state in VMState if state is not VMState.ENDED])
def test_every_vm_that_has_not_ended_counts_against_the_limits(state):
    other = vm(state=state, vo="t2k.org", minutes=0)
    assert plan(endpoint(max_vms=1), queues=[task_queue()], vms=[other]).creates == ()
    assert len(plan(endpoint(max_vms=1), queues=[task_queue()], vms=[replace(other, state=VMState.ENDED)]).creates) == 1


@pytest.mark.parametrize("state", [VMState.PLANNED, VMState.REQUESTED])
def test_an_intent_counts_against_the_cloud_quota_until_the_cloud_lists_it(state):
    intent, full = vm(state=state, vo="t2k.org"), {"max_instances": 2}
    unlisted = endpoint(cloud=CloudUse(**full, used_instances=1))
    listed = replace(unlisted, servers=(server(intent, ServerState.BUILDING),))
    assert plan(unlisted, queues=[task_queue()], vms=[intent]).creates == ()
    assert len(plan(listed, queues=[task_queue()], vms=[intent]).creates) == 1


def test_a_server_whose_vm_has_ended_counts_until_it_is_gone():
    late = vm(state=VMState.ENDED, vo="t2k.org", outcome=Outcome.VANISHED)
    listed = plan(endpoint(max_vms=1, servers=(server(late),)), queues=[task_queue()], vms=[late])
    assert stopped(listed) == [(Limit.ENDPOINT_MAX_VMS, 1)]
    assert len(plan(endpoint(max_vms=1), queues=[task_queue()], vms=[late]).creates) == 1


def test_an_unknown_quota_does_not_stop():
    assert len(plan(endpoint(cloud=None), queues=[task_queue()]).creates) == 1


@pytest.mark.parametrize("trouble", [{"unusable": "banned in the site mask"}, {"servers": None}])
def test_nothing_is_started_at_an_endpoint_in_trouble_and_others_take_over(trouble):
    alone = plan(endpoint(GRIF, **trouble), queues=[task_queue()])
    assert alone.creates == ()
    assert stopped(alone) == [(Limit.ENDPOINT_UNUSABLE, 1)]
    assert trouble.get("unusable", "list of servers failed") in alone.unmet[0].detail
    assert sites(plan(endpoint(GRIF, **trouble), endpoint(NAPOLI), queues=[task_queue(matches=BOTH)])) == [NAPOLI.site]


def test_the_limit_of_the_best_candidate_is_named_and_the_others_are_mentioned():
    result = plan(
        endpoint(GRIF, unusable="banned in the site mask"),
        endpoint(NAPOLI, vm_type(NAPOLI, cores=8), max_vms=0),
        queues=[task_queue(matches=BOTH)],
    )
    assert stopped(result) == [(Limit.ENDPOINT_MAX_VMS, 1)]
    assert "MaxVMs 0 reached" in result.unmet[0].detail and "banned in the site mask" in result.unmet[0].detail


@pytest.mark.parametrize(
    ("queue", "offer"),
    [
        (task_queue(matches=set()), vm_type()),
        (task_queue(processors=2), vm_type()),
        (task_queue(), vm_type(vos=frozenset({"t2k.org"}))),
    ],
)
def test_a_queue_without_a_vm_type_of_its_vo_and_size_says_so(queue, offer):
    result = plan(endpoint(GRIF, offer), queues=[queue])
    assert result.creates == ()
    assert stopped(result) == [(Limit.NO_MATCHING_VM_TYPE, queue.processors)]


def test_vo_names_are_compared_as_dirac_does_without_regard_to_case():
    offer = vm_type(vos=frozenset({"T2K.org"}))
    assert len(plan(endpoint(GRIF, offer), queues=[task_queue(vo="t2k.org")]).creates) == 1


def test_a_queue_counts_for_its_vo_however_its_name_is_spelled():
    result = plan(queues=[task_queue(vo="T2K.org", jobs=2)], vms=[vm(vo="t2k.ORG")])
    assert [create.vo for create in result.creates] == ["T2K.org"]
    refused = plan(queues=[task_queue(vo="T2K.org")], refused_vos={"t2k.org": "no pilot credential"})
    assert stopped(refused) == [(Limit.VO_NOT_SERVED, 1)]


def test_a_vo_that_cannot_be_served_says_why_and_the_others_go_on():
    result = plan(
        queues=[task_queue(1, vo="belle"), task_queue(2, vo="t2k.org"), task_queue(3, vo="other")],
        vos=frozenset({"belle"}),
        refused_vos={"t2k.org": "no pilot credential"},
    )
    assert [create.vo for create in result.creates] == ["belle"]
    assert stopped(result) == [(Limit.VO_NOT_SERVED, 1)] * 2
    assert "no pilot credential" in result.unmet[0].detail


def test_unmet_demand_is_told_in_cores():
    result = plan(endpoint(GRIF, vm_type(cores=4), max_vms=1), queues=[task_queue(jobs=3, processors=4)])
    assert stopped(result) == [(Limit.ENDPOINT_MAX_VMS, 8)]
