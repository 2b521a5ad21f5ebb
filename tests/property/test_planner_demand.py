"""What is wanted, what is on its way, what is started and what is not: sums that agree, and more never yields less."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st
from planner_worlds import ENDPOINTS, KEYS, NOW, VOS, executed, met, one_core, policies, snapshots, types_of

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import each_once
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ends import OVER
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    Outcome,
    RecentEnd,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

HALF = 0.5


@given(snapshots(), policies)
def test_what_is_wanted_is_coming_or_started_or_unmet_with_a_named_limit(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    unmet = {item.task_queue: item for item in plan.unmet}
    answers = {answer.task_queue: answer for answer in plan.answers}
    queues = each_once(snapshot.task_queues)
    assert len(unmet) == len(plan.unmet) and list(answers) == [queue.id for queue in queues]
    for queue in queues:
        answer = answers[queue.id]
        missing = unmet[queue.id].cores // queue.processors if queue.id in unmet else 0
        rest = queue.jobs - answer.jobs_coming - answer.jobs_from_running - answer.jobs_started
        if answer.jobs_from_running:
            event("turnover")
        assert abs(rest - missing) <= HALF and (rest > HALF) == (queue.id in unmet)
        started = Counter(create.vm_type for create in plan.creates if create.task_queue == queue.id)
        assert started == answer.started
        if queue.id in unmet:
            event(unmet[queue.id].limit.value)
            assert unmet[queue.id].detail and unmet[queue.id].cores % queue.processors == 0


@given(snapshots(), policies)
def test_a_vm_on_its_way_is_counted_once(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    counted = Counter(vm for answer in plan.answers for vm in answer.coming)
    vms = {vm.id: vm for vm in executed(snapshot, plan).vms}
    assert set(counted.values()) <= {1}
    for answer in plan.answers:
        assert {vms[vm].vo for vm in answer.coming} <= {answer.vo}
        assert (answer.jobs_coming > 0) == bool(answer.coming)


@given(snapshots(), policies)
def test_no_vm_is_started_for_jobs_that_are_served(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    types = types_of(snapshot)
    for answer in plan.answers:
        creates = [create.vm_type for create in plan.creates if create.task_queue == answer.task_queue]
        if creates:
            before = [types[key].jobs_at_once(answer.processors) for key in creates[:-1]]
            success = min(1, answer.jobs_started / sum(types[key].jobs_at_once(answer.processors) for key in creates))
            left = answer.jobs - answer.jobs_coming - answer.jobs_from_running
            assert left > HALF
            # All but the last one left more than half a job, whatever their boot success.
            assert success * sum(before) < left


@given(snapshots(), policies)
def test_vms_at_work_are_left_no_more_jobs_than_they_ever_took(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    for vo in VOS:
        took = sum(vm.jobs - 1 for vm in snapshot.vms if vm.vo == vo and vm.jobs and vm.state not in OVER)
        assert sum(answer.jobs_from_running for answer in plan.answers if answer.vo == vo) <= took + 1e-6


@given(snapshots(), policies)
def test_a_vm_is_created_only_where_vo_size_and_match_allow_it(snapshot, policy):
    queue_of, types = {queue.id: queue for queue in snapshot.task_queues}, types_of(snapshot)
    for create in plan_cycle(snapshot, policy, NOW).creates:
        vm_type = types[create.vm_type]
        assert create.vo in snapshot.vos and create.vo not in snapshot.refused_vos
        assert not vm_type.vos or create.vo in vm_type.vos
        assert create.cores == vm_type.cores
        if create.task_queue:
            queue = queue_of[create.task_queue]
            assert create.vo == queue.vo and create.vm_type in queue.matches and queue.processors <= create.cores


@given(snapshots(), policies)
def test_vms_without_known_demand_are_as_many_as_the_site_wants_and_no_more(snapshot, policy):
    plan = plan_cycle(snapshot, policy, NOW)
    after = executed(snapshot, plan).vms
    for endpoint in snapshot.endpoints:
        probes = Counter(
            create.vo for create in plan.creates if create.vm_type.endpoint == endpoint.key and not create.task_queue
        )
        starting = (VMState.PLANNED, VMState.REQUESTED, VMState.BOOTING)
        for vo in probes:
            event("probe")
            there = [vm for vm in after if vm.endpoint == endpoint.key and vm.vo == vo and vm.state in starting]
            assert len(there) <= endpoint.probes
            types = {vm_type.key: vm_type for vm_type in endpoint.vm_types}
            for queue in snapshot.task_queues:
                usable = [key for key in queue.matches & set(types) if not types[key].vos or vo in types[key].vos]
                fits = any(types[key].jobs_at_once(queue.processors) for key in usable)
                assert not (queue.jobs and queue.vo == vo and fits)


@settings(max_examples=300)
@given(snapshots(), policies, st.data())
def test_more_jobs_in_a_queue_never_lessen_what_it_gets(snapshot, policy, data):
    more = data.draw(st.integers(0, len(snapshot.task_queues) - 1))
    grown = list(snapshot.task_queues)
    grown[more] = replace(grown[more], jobs=grown[more].jobs + data.draw(st.integers(1, 8)))
    larger = replace(snapshot, task_queues=tuple(grown))
    before = met(snapshot, plan_cycle(snapshot, policy, NOW))
    after = met(larger, plan_cycle(larger, policy, NOW))
    assert after[grown[more].id] >= before[grown[more].id]


@settings(max_examples=300)
@given(snapshots(one_core, one_core, crossing=False), policies, st.data())
def test_more_demand_never_yields_fewer_vms(snapshot, policy, data):
    """In whole, for VMs of one size; with several sizes a bigger VM may take the place of many small ones, and one of
    a VO with a limit of its own that of two others: one at its place, one of its VO elsewhere."""
    grown = tuple(replace(queue, jobs=queue.jobs + data.draw(st.integers(0, 3))) for queue in snapshot.task_queues)
    larger = plan_cycle(replace(snapshot, task_queues=grown), policy, NOW)
    assert len(larger.creates) >= len(plan_cycle(snapshot, policy, NOW).creates)


@given(
    jobs=st.integers(1, 30),
    room=st.sampled_from((1, 3, 8, None)),
    boots=st.lists(st.booleans(), min_size=0, max_size=10),
    better=st.integers(0, 9),
    coming=st.integers(0, 3),
)
def test_a_healthier_endpoint_never_gets_less_of_the_jobs_served(jobs, room, boots, better, coming):
    """Jobs, not VMs: where fewer boots fail fewer VMs are needed."""
    if not boots:
        return
    better %= len(boots)
    healthier = [booted or number == better for number, booted in enumerate(boots)]

    def unmet(history):
        ends = [
            RecentEnd(
                KEYS[0],
                VOS[0],
                Outcome.WORKED if booted else Outcome.NEVER_REPORTED,
                NOW - timedelta(minutes=60 - number),
            )
            for number, booted in enumerate(history)
        ]
        vms = [
            VirtualMachine(f"vm{n}", KEYS[0], VOS[0], 1, VMState.BOOTING, NOW, NOW, server_id=f"s{n}", task_queue=1)
            for n in range(coming)
        ]
        vm_type = VMType(KEYS[0], 1)
        world = Snapshot(
            (Endpoint(ENDPOINTS[0], (vm_type,), servers=()),),
            (TaskQueue(1, VOS[0], jobs, matches=frozenset(KEYS)),),
            tuple(vms),
            tuple(ends),
            frozenset(VOS[:1]),
        )
        policy = Policy(max_creates_per_cycle=room if room is not None else 1000, max_booting=1000)
        return sum(item.cores for item in plan_cycle(world, policy, NOW).unmet)

    event(f"better by {unmet(boots) - unmet(healthier)}")
    assert unmet(healthier) <= unmet(boots)
