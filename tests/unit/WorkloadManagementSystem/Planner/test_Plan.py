"""The plan as a whole."""

import ast
import sys
from pathlib import Path

import pytest
from planner_world import (
    GRIF,
    NAPOLI,
    NOW,
    POLICY,
    endpoint,
    key,
    seen,
    server,
    snapshot,
    task_queue,
    vm,
    vm_type,
)

import JenniferDIRAC.WorkloadManagementSystem.Planner as planner
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Plan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle


def test_an_empty_snapshot_gives_an_empty_plan():
    plan = plan_cycle(snapshot(), POLICY, NOW)
    assert plan == Plan()
    assert not plan.acts


def test_a_booting_vm_counts_as_supply():
    plan = plan_cycle(seen(vm(), queues=[task_queue()]), POLICY, NOW)
    assert not plan.acts and plan.unmet == ()


def test_a_vm_that_is_deleted_in_this_cycle_is_no_supply_but_still_counts_against_the_limits():
    stopped = vm(state=VMState.RUNNING, minutes=60, spoke=True)
    world = seen(stopped, state=ServerState.STOPPED, queues=[task_queue()])
    assert len(plan_cycle(world, POLICY, NOW).creates) == 1
    full = snapshot(
        endpoint(servers=(server(stopped, ServerState.STOPPED),), max_vms=1), queues=[task_queue()], vms=[stopped]
    )
    assert plan_cycle(full, POLICY, NOW).creates == ()


def test_a_vm_that_ends_in_this_cycle_makes_room():
    gone = vm(state=VMState.RUNNING, missed=2, jobs=1)
    plan = plan_cycle(snapshot(endpoint(max_vms=1), queues=[task_queue()], vms=[gone]), POLICY, NOW)
    assert (len(plan.moves), len(plan.creates)) == (1, 1)


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_vm_just_created_does_not_push_an_older_one_to_another_queue(name):
    """Else the queue that the older one leaves would get one VM too many in the next cycle."""
    flexible, for_1, for_2_and_3, for_3 = (key(queue=queue) for queue in "abcd")
    offers = [vm_type(queue=queue, cores=4, fills_cores=True, max_vms=1) for queue in "abcd"]
    queues = [
        task_queue(1, jobs=5, matches={flexible, for_1}),
        task_queue(2, jobs=4, matches={flexible, for_2_and_3}),
        task_queue(3, jobs=1, matches={for_2_and_3, for_3}),
    ]
    old = [vm("x", vm_type=flexible, cores=4, minutes=2), vm("y", vm_type=for_3, cores=4, minutes=2)]

    def planned(*vms):
        servers = tuple(server(each, ServerState.ACTIVE) for each in vms)
        return plan_cycle(snapshot(endpoint(GRIF, *offers, servers=servers), queues=queues, vms=vms), POLICY, NOW)

    first = planned(*old)
    assert {(create.vm_type, create.task_queue) for create in first.creates} == {(for_1, 1), (for_2_and_3, 2)}
    new = [
        vm(f"{name}{n}", vm_type=each.vm_type, cores=4, minutes=0, task_queue=each.task_queue)
        for n, each in enumerate(first.creates)
    ]
    again = planned(*old, *new)
    assert not again.acts and again.unmet == ()


def test_a_vm_of_an_endpoint_that_left_the_configuration_is_left_alone():
    orphan = vm(vm_type=key(NAPOLI), state=VMState.RUNNING, minutes=60 * 24 * 30, missed=9)
    assert plan_cycle(snapshot(vms=[orphan]), POLICY, NOW) == Plan()


def test_the_planner_imports_only_the_standard_library_and_itself():
    for path in Path(planner.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                own = name.startswith(planner.__name__ + ".")
                assert own or name.split(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"
