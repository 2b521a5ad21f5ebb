"""A VM type that a cloud had no room for is left alone for a while; and the brake on VMs that do not come up."""

from datetime import timedelta

import pytest
from planner_world import GRIF, NOW, POLICY, ago, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, RecentEnd, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

SMALL, OTHER = vm_type(), vm_type(queue="other")


def plan(minutes, vms=(), policy=POLICY, offers=(SMALL,)):
    ends = tuple(RecentEnd(key(), "t2k.org", Outcome.FAILED_TO_START, ago(each), no_room=True) for each in minutes)
    world = endpoint(GRIF, *offers, servers=tuple(map(server, vms)))
    queues = [task_queue(jobs=2, matches={key(), OTHER.key})]
    return plan_cycle(snapshot(world, queues=queues, vms=vms, recent_ends=ends), policy, NOW)


def left(minutes, **other):
    """Minutes for which the VM type is left alone, 0 when it is not."""
    stops = plan(minutes, **other).stops
    assert {stop.limit for stop in stops} <= {Limit.NO_ROOM}
    return stops[0].left / timedelta(minutes=1) if stops else 0


def test_after_no_room_the_vm_type_is_left_alone_and_the_next_one_is_taken():
    alone = plan([1])
    assert alone.creates == () and [unmet.limit for unmet in alone.unmet] == [Limit.NO_ROOM]
    assert "grif/small: the cloud had no room, tried again in 120 s; option CloudDirector/NoRoomPause" in (
        alone.unmet[0].detail
    )
    assert [create.vm_type for create in plan([1], offers=(vm_type(), OTHER)).creates] == [OTHER.key] * 2


def test_no_room_is_no_fault_of_the_vm_type():
    assert len(plan([3]).creates) == 2  # no probe, no back-off


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ([1], 2),
        ([2.9], 0.1),
        ([3], 0),
        ([1, 1.2, 1.5], 1.5),  # one round: its first end counts
        ([5, 1], 5),  # the second round in a row: 6 minutes
        ([5, 4.5, 1, 0.5], 5),
        ([12, 8, 1], 11),  # the third
        ([500, 400, 300, 200, 100, 1], 29),  # no more than half an hour
    ],
)
def test_the_pause_doubles_with_each_round_in_a_row(minutes, expected):
    assert left(minutes) == pytest.approx(expected)


def test_a_vm_of_the_type_that_came_to_life_since_ends_the_row():
    alive = vm("r", VMState.RUNNING, 3, jobs=1, vo="t2k.org")
    assert left([5, 1], vms=[alive]) == 2
    assert left([5, 4], vms=[alive]) == 0


def test_a_vm_that_was_drained_and_works_again_came_to_life_long_before():
    again = vm("r", VMState.RUNNING, 3, running_at=ago(600), jobs=1, vo="t2k.org")
    assert left([5, 1], vms=[again]) == left([5, 1]) == 5


def test_a_clock_that_was_set_back_makes_no_pause():
    assert left([-600]) == 0


def test_want_of_room_that_is_decided_in_this_cycle_counts_at_once():
    broken = vm("d", VMState.DELETING, 1, outcome=Outcome.FAILED_TO_START, no_room=True)
    world = snapshot(endpoint(servers=(server(broken, ServerState.DELETING),)), queues=[task_queue()], vms=[broken])
    assert [unmet.limit for unmet in plan_cycle(world, POLICY, NOW).unmet] == [Limit.NO_ROOM]


# The brake


def crowd(slow, well, minutes=13):
    late = [vm(f"slow{n}", VMState.BOOTING, minutes, vo="t2k.org") for n in range(slow)]
    return late + [vm(f"well{n}", VMState.RUNNING, 60, vo="t2k.org", jobs=1) for n in range(well)]


def stopped(vms, **other):
    world = snapshot(endpoint(servers=tuple(map(server, vms))), queues=[task_queue()], vms=vms, **other)
    return [unmet.limit for unmet in plan_cycle(world, POLICY, NOW).unmet]


def test_where_too_many_vms_do_not_come_up_nothing_more_is_started():
    vms = crowd(5, 6)
    world = snapshot(endpoint(servers=tuple(map(server, vms))), queues=[task_queue()], vms=vms)
    (unmet,) = plan_cycle(world, POLICY, NOW).unmet
    assert unmet.limit is Limit.UNREADY
    assert "CLOUD.GRIF.fr/grif: 5 of 11 VMs have not come up within 12 min, more than 45 %" in unmet.detail


@pytest.mark.parametrize(("slow", "well"), [(3, 0), (4, 5), (9, 11)])
def test_a_few_unready_vms_or_few_among_many_do_not_stop(slow, well):
    assert stopped(crowd(slow, well)) == []


def test_vms_that_are_not_late_are_not_unready():
    assert stopped(crowd(9, 0, minutes=11)) == []


def test_time_in_which_nobody_looked_makes_no_vm_unready():
    assert stopped(crowd(9, 0), watching_since=ago(5)) == []


def test_the_brake_is_a_policy():
    vms = crowd(5, 6)
    world = snapshot(endpoint(servers=tuple(map(server, vms))), queues=[task_queue()], vms=vms)
    assert plan_cycle(world, Policy(max_unready_percent=50), NOW).unmet == ()
