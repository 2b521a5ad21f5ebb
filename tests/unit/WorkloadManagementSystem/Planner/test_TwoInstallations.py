"""Two directors on one tenancy, each with a database of its own: the shares hold by what the server list tells."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from planner_world import NOW, endpoint, key, server, snapshot, task_queue, vm, vm_type

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import CloudUse, VMState
from JenniferDIRAC.WorkloadManagementSystem.Planner.Plan import plan_cycle
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

SHARES = {"belle": 50, "t2k.org": 20}
CYCLE = timedelta(minutes=1)
POLICY = Policy(max_lifetime=timedelta(days=999))


@dataclass
class Director:
    """Plans for its VO; it sees the other's servers, never its records."""

    vo: str
    hungry: bool = True
    vms: list = field(default_factory=list)
    lendable_since: object = None
    seen: int = 0
    made: int = 0

    @property
    def cores(self):
        return sum(each.cores for each in self.vms)

    def cycle(self, other, tenancy, size, now):
        free = tenancy - self.cores - other.cores
        started, self.seen = other.made > self.seen, other.made
        if free < size or started:
            self.lendable_since = None
        elif self.lendable_since is None:
            self.lendable_since = now
        world = snapshot(
            endpoint(
                key().endpoint,
                vm_type(cores=size),
                servers=tuple(map(server, self.vms)),
                cloud=CloudUse(max_cores=tenancy, used_cores=self.cores + other.cores),
                shares=SHARES,
                others={other.vo: other.cores},
                lendable_since={other.vo: self.lendable_since} if self.lendable_since else {},
            ),
            queues=[task_queue(1, 1000, self.vo)] if self.hungry else [],
            vms=self.vms,
            vos=frozenset({self.vo}),
        )
        for create in plan_cycle(world, POLICY, now).creates:
            self.made += 1
            values = {"vo": self.vo, "cores": create.cores, "jobs": 1, "created_at": now, "since": now}
            self.vms.append(vm(f"{self.vo}-{self.made}", VMState.RUNNING, **values))


class Tenancy:
    """A project of so many cores; VMs last for two hours on average."""

    def __init__(self, cores, size=1, seed=1):
        self.cores, self.size, self.now, self.dice = cores, size, NOW, random.Random(seed)
        self.belle, self.t2k = Director("belle"), Director("t2k.org")

    def run(self, hours):
        """The share of belle's cores in those in use, and how many of all cores are in use, over the last half."""
        belle = used = cycles = 0
        for cycle in range(int(hours * 60)):
            self.now += CYCLE
            for director in (self.belle, self.t2k):
                director.vms = [each for each in director.vms if self.dice.random() > 1 / 120]
            turns = [(self.belle, self.t2k), (self.t2k, self.belle)]
            for director, other in self.dice.sample(turns, 2):
                director.cycle(other, self.cores, self.size, self.now)
            assert self.belle.cores + self.t2k.cores <= self.cores
            if cycle >= hours * 30:
                belle, used = belle + self.belle.cores, used + self.belle.cores + self.t2k.cores
                cycles += self.cores
        return belle / max(1, used), used / cycles


@pytest.mark.parametrize("first", ["belle", "t2k.org"])
def test_use_converges_to_the_shares_whoever_had_everything_before(first):
    world = Tenancy(70)
    for director in (world.belle, world.t2k):
        director.hungry = director.vo == first
    world.run(2)
    world.belle.hungry = world.t2k.hungry = True
    share, used = world.run(16)
    assert share == pytest.approx(5 / 7, abs=0.03)
    assert used > 0.95


def test_what_one_does_not_use_the_other_takes_and_it_flows_back():
    world = Tenancy(70)
    world.t2k.hungry = False
    share, used = world.run(6)
    assert share == 1 and used > 0.95
    world.t2k.hungry = True
    share, used = world.run(16)
    assert share == pytest.approx(5 / 7, abs=0.03) and used > 0.95
    world.belle.hungry = False
    share, used = world.run(24)
    assert share < 0.05 and used > 0.95


@pytest.mark.parametrize(("cores", "size"), [(8, 8), (16, 8), (12, 8), (24, 16)])
def test_two_that_are_starved_of_room_do_not_wait_for_each_other(cores, size):
    """A VM is larger than what the share of either comes to, or than that of one."""
    world = Tenancy(cores, size)
    share, used = world.run(60)
    assert used > 0.9 * (cores // size * size) / cores
    assert 0.2 < share < 0.9
