"""Shares between VOs that are hungry at one endpoint."""

from hypothesis import event, given
from hypothesis import strategies as st
from planner_worlds import ENDPOINTS, KEYS, NOW

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    Endpoint,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

A, B = "belle", "t2k.org"


def one_endpoint(room, shares, running=(), others=None, cores=1):
    """Both VOs hungry, with these VMs at work already; room is in VMs."""
    vms = tuple(
        VirtualMachine(f"vm{n}", KEYS[0], vo, cores, VMState.RUNNING, NOW, NOW, server_id=f"s{n}", jobs=1)
        for n, vo in enumerate(running)
    )
    endpoint = Endpoint(
        ENDPOINTS[0],
        (VMType(KEYS[0], cores),),
        Bounds(max_vms=len(vms) + room),
        servers=tuple(ServerView(vm.server_id, vm.id, ServerState.ACTIVE) for vm in vms),
        shares=shares,
        others=others or {},
    )
    queues = tuple(TaskQueue(n, vo, 1000, matches=frozenset(KEYS)) for n, vo in ((1, A), (2, B)))
    return Snapshot((endpoint,), queues, vms, vos=frozenset((A, B)))


def planned(world):
    policy = Policy(max_creates_per_cycle=1000, max_booting=1000)
    return [create.vo for create in plan_cycle(world, policy, NOW).creates]


@given(
    room=st.integers(0, 60),
    a=st.integers(1, 100),
    b=st.integers(1, 100),
    use=st.integers(0, 10),
    cores=st.sampled_from((1, 8)),
)
def test_two_hungry_vos_keep_use_for_share_equal_to_within_one_vm(room, a, b, use, cores):
    vos = planned(one_endpoint(room, {A: a, "T2K.org": b}, [A] * use, cores=cores))
    assert len(vos) == room
    cores_a, cores_b = cores * (use + vos.count(A)), cores * vos.count(B)
    event(f"belle got some: {A in vos}")
    # B catches up first; from then on neither is more than one VM ahead.
    assert (cores_b - cores) * a <= cores_a * b
    if vos.count(A):
        assert (cores_a - cores) * b <= cores_b * a


@given(room=st.integers(1, 30), share=st.sampled_from((0, None)), use=st.integers(0, 10))
def test_a_vo_without_share_gets_nothing_while_one_with_a_share_wants_the_room(room, share, use):
    shares = {A: 5} | ({} if share is None else {B: share})
    assert planned(one_endpoint(room, shares, [A] * use)) == [A] * room


@given(room=st.integers(1, 30), others=st.integers(0, 30))
def test_what_other_installations_use_for_a_vo_counts_for_its_share(room, others):
    vos = planned(one_endpoint(room, {A: 1, B: 1}, others={"Belle": others}))
    used = {A: others + vos.count(A), B: vos.count(B)}
    assert used[B] <= used[A] + 1 and (A not in vos or used[A] <= used[B] + 1)
