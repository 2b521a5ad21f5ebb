"""The log line of an endpoint and VO: short, with what stopped the rest and the levers that are pulled."""

from datetime import timedelta

import pytest
from director_world import START, World

from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Reporting import cycle_reports
from JenniferDIRAC.WorkloadManagementSystem.Director.Sight import Sight
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit, Plan, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Endpoint,
    EndpointKey,
    Lever,
    LeverKind,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)

IDLE = "CLOUD.A.fr/cloud.a.fr-ce belle: 0 cores wanted; VMs none; started 0, deleted 0"
AT_A = {"site": "CLOUD.A.fr"}
TYPES = [VMTypeKey("A", "a", "q"), VMTypeKey("B", "b", "q")]


def lever(kind: LeverKind, **other) -> Lever:
    return Lever(0, kind, "anna", "new release", START, **other)


@pytest.mark.parametrize(
    ("levers", "told"),
    [
        ([], ""),
        ([lever(LeverKind.PAUSE, until=START + timedelta(hours=2))], "; paused by anna until 02:00 UTC: new release"),
        ([lever(LeverKind.PAUSE, until=START)], ""),
        ([lever(LeverKind.DRAIN, **AT_A)], "; drained by anna: new release"),
        ([lever(LeverKind.DRAIN, vo="Belle")], "; drained by anna: new release"),
        ([lever(LeverKind.DRAIN, queue="q", **AT_A)], "; q drained by anna: new release"),
        ([lever(LeverKind.DRAIN, vo="t2k.org"), lever(LeverKind.DRAIN, site="CLOUD.B.fr")], ""),
        ([lever(LeverKind.HOLD, vm="a" * 32)], ""),
        (
            [
                lever(LeverKind.OVERRIDE, option="MaxVMs", value=5, **AT_A),
                lever(LeverKind.OVERRIDE, option="MaxCores", value=None, queue="q", **AT_A),
            ],
            "; MaxVMs 5 set by anna: new release; q MaxCores no limit set by anna: new release",
        ),
    ],
)
def test_the_line_names_the_levers_that_concern_the_vo_there(levers, told):
    world = World()
    for one in levers:
        world.store.levers.pull(one, START)
    world.cycle()
    assert world.report().line == IDLE + told


def line(levers=(), stops=(), limit=Limit.ENDPOINT_MAX_VMS) -> str:
    """The line of A for belle, with a task queue that two endpoints match and that gets nothing."""
    snapshot = Snapshot(
        endpoints=tuple(Endpoint(key.endpoint, (VMType(key, 1),)) for key in TYPES),
        task_queues=(TaskQueue(1, "belle", 3, matches=frozenset(TYPES)),),
        levers=tuple(levers),
    )
    plan = Plan(unmet=(Unmet(1, "belle", 3, limit, "A: full; B: back-off", TYPES[0]),), stops=tuple(stops))
    reports = cycle_reports(Sight(snapshot, {}, {}), plan, ["belle"], Carried((), {}), {}, START)
    return next(one.line for one in reports if EndpointKey(one.site, one.ce) == TYPES[0].endpoint)


def test_of_all_limits_that_a_task_queue_met_each_endpoint_tells_its_own():
    stops = [Stopped(TYPES[0], "belle", Limit.ENDPOINT_MAX_VMS, "A: full")]
    stops += [Stopped(TYPES[1], "belle", Limit.BACKOFF, "B: back-off")]
    wanted = "A/a belle: 3 cores wanted; VMs none; started 0, deleted 0; 3 cores not started: "
    assert line(stops=stops) == wanted + "MaxVMs (A: full)"
    assert line() == wanted + "MaxVMs (A: full; B: back-off)"


def test_a_lever_that_a_limit_tells_of_is_told_once():
    assert line([lever(LeverKind.DRAIN)], limit=Limit.DRAINED).count("drained") == 0
    assert line([lever(LeverKind.PAUSE)], limit=Limit.DRAINED).endswith("paused by anna: new release")


def test_vo_names_are_compared_without_case():
    vm_type = VMType(TYPES[0], 1, vos=frozenset({"BELLE"}))
    vm = VirtualMachine("a" * 32, TYPES[0], "belle", 1, VMState.RUNNING, START, START)
    snapshot = Snapshot(
        endpoints=(Endpoint(TYPES[0].endpoint, (vm_type,)),),
        task_queues=(TaskQueue(1, "Belle", 3, matches=frozenset(TYPES)),),
        vms=(vm,),
    )
    unmet = Unmet(2, "bELLE", 1, Limit.NO_MATCHING_VM_TYPE, "none")
    carried = Carried((), {(TYPES[0].endpoint, "belle"): "no proxy"})
    here, nowhere = cycle_reports(Sight(snapshot, {}, {}), Plan(unmet=(unmet,)), ["Belle"], carried, {}, START)
    assert here.line == "A/a Belle: 3 cores wanted; VMs 1 Running; started 0, deleted 0; stopped by no proxy"
    assert nowhere.unmet == (unmet,)
