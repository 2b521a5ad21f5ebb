"""The plan as a whole."""

import ast
import sys
from pathlib import Path

from planner_world import NAPOLI, NOW, POLICY, endpoint, key, seen, server, snapshot, task_queue, vm

import JenniferDIRAC.WorkloadManagementSystem.Planner as planner
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Plan, ServerState, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle


def test_an_empty_snapshot_gives_an_empty_plan():
    assert plan_cycle(snapshot(), POLICY, NOW) == Plan()


def test_a_booting_vm_counts_as_supply():
    assert plan_cycle(seen(vm(), queues=[task_queue()]), POLICY, NOW) == Plan()


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
