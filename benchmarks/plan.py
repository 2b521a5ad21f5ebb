"""How long the planner takes for a cycle, at several sizes, beside the floor: a bare look at each VM.

    ./run benchmark plan [--runs 9]

The world is like a busy evening: most VMs run jobs, 3 % are starting, 1 % are being deleted, half of the endpoints are
full, and three VOs have jobs in 500 task queues, half of them for any site and half for ten sites. In the usual one a
few VMs are missing; in the backlog a queue has up to 4000 jobs, so that each endpoint with room gets as many VMs as one
cycle may start.

Times are those of the processor: the plan is one thread that waits for nothing.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

from rich.console import Console
from rich.table import Table

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Bounds,
    CloudUse,
    Endpoint,
    EndpointKey,
    Outcome,
    PilotState,
    RecentEnd,
    ServerState,
    ServerView,
    Snapshot,
    TaskQueue,
    VirtualMachine,
    VMState,
    VMType,
    VMTypeKey,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

_SIZES = ((1_000, 10), (10_000, 100), (100_000, 1_000))  # VMs, endpoints
_QUEUES = 500
_BACKLOG = 4000
_VOS = ("belle", "t2k.org", "hyperk.org")
_SHARES = {"belle": 50.0, "t2k.org": 20.0, "hyperk.org": 30.0}
_OFFERS = (("single", 1, False), ("multi", 8, False), ("whole", 16, True), ("big", 32, True))
_NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    table = Table(title=f"One plan, {_QUEUES} task queues, medians of {runs} runs")
    for heading in ("VMs", "Endpoints", "Floor (ms)", "World", "Creates", "Plan (ms)", "Least (ms)", "Peak (MiB)"):
        table.add_column(heading, justify="right")
    for vms, endpoints in _SIZES:
        for name, jobs in (("usual", max(1, vms // 10_000)), ("backlog", _BACKLOG)):
            snapshot = world(vms, endpoints, jobs)
            floor = _times(partial(_look, snapshot), runs)
            plans = _times(partial(plan_cycle, snapshot, Policy(), _NOW), runs)
            creates = len(plan_cycle(snapshot, Policy(), _NOW).creates)
            table.add_row(
                f"{vms:,}",
                f"{endpoints:,}",
                f"{median(floor):.2f}",
                name,
                f"{creates:,}",
                f"{median(plans):.1f}",
                f"{min(plans):.1f}",
                f"{_peak(snapshot):.1f}",
            )
    console = Console(width=100)
    console.print(table)
    console.print("Floor: each VM is looked at once. Peak: the most that one plan has allocated at a time.")
    return 0


def world(vms: int, endpoints: int, jobs: int, seed: int = 1) -> Snapshot:
    """A snapshot of that size, the same each time; a queue has up to ``jobs`` waiting jobs."""
    dice = random.Random(seed)
    keys = [EndpointKey(f"CLOUD.Site{number}.org", f"cloud-{number}") for number in range(endpoints)]
    queues = _task_queues(keys, jobs, dice)
    machines: dict[EndpointKey, list[VirtualMachine]] = {key: [] for key in keys}
    for number in range(vms):
        key = keys[number % endpoints]
        machines[key].append(_machine(number, key, queues, dice))
    return Snapshot(
        endpoints=tuple(
            _endpoint(key, machines[key], full=number % 2 == 0, dice=dice) for number, key in enumerate(keys)
        ),
        task_queues=queues,
        vms=tuple(vm for of_endpoint in machines.values() for vm in of_endpoint),
        recent_ends=tuple(_end(keys, dice) for _ in range(vms // 20)),
        vos=frozenset(_VOS),
        watching_since=_NOW - timedelta(days=1),
        vo_bounds={"hyperk.org": Bounds(max_cores=40 * vms)},
    )


def _machine(number: int, where: EndpointKey, queues: tuple[TaskQueue, ...], dice: random.Random) -> VirtualMachine:
    queue, cores, _ = dice.choices(_OFFERS, (50, 30, 15, 5))[0]
    vo = dice.choices(_VOS, (5, 2, 3))[0]
    # each record has names of its own, as read from a database
    key = VMTypeKey(where.site, where.ce, queue)
    kind = dice.random()
    values = {}
    if kind < 0.96:
        state, minutes = VMState.RUNNING, dice.uniform(20, 2000)
        values = {"spoke": True, "pilot": PilotState.RUNNING, "jobs": dice.randint(1, 20)}
    elif kind < 0.99:
        state, minutes = dice.choice((VMState.REQUESTED, VMState.BOOTING)), dice.uniform(0, 8)
        values = {"task_queue": dice.choice([each.id for each in queues if each.vo == vo and key in each.matches])}
    else:
        state, minutes = VMState.DELETING, dice.uniform(0, 3)
        values = {"outcome": Outcome.WORKED, "outcome_reason": "It ran 3 jobs.", "jobs": 3}
    since = _NOW - timedelta(minutes=minutes)
    return VirtualMachine(
        id=f"vm-{number:06d}",
        vm_type=key,
        vo=vo,
        cores=cores,
        ram_mib=2048 * cores,
        state=state,
        created_at=since,
        since=since,
        server_id=f"server-{number:06d}",
        **values,
    )


def _endpoint(key: EndpointKey, machines: list[VirtualMachine], full: bool, dice: random.Random) -> Endpoint:
    cores = sum(vm.cores for vm in machines)
    active, building = ServerState.ACTIVE, ServerState.BUILDING
    return Endpoint(
        key=key,
        vm_types=tuple(
            VMType(VMTypeKey(key.site, key.ce, queue), size, 2048 * size, frozenset(_VOS), fills_cores=fills)
            for queue, size, fills in _OFFERS
        ),
        bounds=Bounds(max_cores=cores if full else cores + dice.randint(50, 400), soft_max_vms=10 * len(machines)),
        servers=tuple(
            ServerView(vm.server_id, vm.id, building if vm.state is VMState.REQUESTED else active) for vm in machines
        ),
        cloud=CloudUse(max_cores=cores + 500, used_cores=cores, used_instances=len(machines)),
        vo_bounds={"belle": Bounds(max_vms=10 * len(machines))},
        shares=_SHARES,
        priority=dice.choice((0, 0, 0, 1)),
        others={"t2k.org": dice.randint(0, 50)},
    )


def _task_queues(keys: list[EndpointKey], jobs: int, dice: random.Random) -> tuple[TaskQueue, ...]:
    everywhere = [VMTypeKey(key.site, key.ce, queue) for key in keys for queue, _, _ in _OFFERS]
    queues = []
    for number in range(1, _QUEUES + 1):
        chosen = everywhere
        if number % 2:
            sites = {key.site for key in dice.sample(keys, min(len(keys), 10))}
            chosen = [key for key in everywhere if key.site in sites]
        processors = dice.choices((1, 2, 4, 8), (70, 5, 5, 20))[0]
        offers = {queue for queue, cores, _ in _OFFERS if cores >= processors}
        matches = frozenset(key for key in chosen if key.queue in offers)
        queues.append(TaskQueue(number, dice.choice(_VOS), dice.randint(1, jobs), processors, matches, _NOW))
    return tuple(queues)


def _end(keys: list[EndpointKey], dice: random.Random) -> RecentEnd:
    where, (queue, _, _) = dice.choice(keys), dice.choice(_OFFERS)
    outcome = dice.choices((Outcome.WORKED, Outcome.NO_WORK, Outcome.FAILED_TO_START), (80, 10, 10))[0]
    at = _NOW - timedelta(minutes=dice.uniform(6, 120))
    return RecentEnd(VMTypeKey(where.site, where.ce, queue), dice.choice(_VOS), outcome, at)


def _look(snapshot: Snapshot) -> int:
    """What no planner can do without: each VM is looked at once."""
    return sum(1 for vm in snapshot.vms if vm.state is VMState.RUNNING and vm.jobs)


def _times(action: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of processor time of each run, after one that does not count."""
    action()
    times = []
    for _ in range(runs):
        start = time.process_time()
        action()
        times.append(1000 * (time.process_time() - start))
    return times


def _peak(snapshot: Snapshot) -> float:
    tracemalloc.start()
    try:
        plan_cycle(snapshot, Policy(), _NOW)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    sys.exit(main())
