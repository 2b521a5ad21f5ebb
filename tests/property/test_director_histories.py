"""Whole directors over clouds in memory, through random faults that stop: every VM ends, and nothing is left."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from director_world import World
from hypothesis import event, given, settings
from hypothesis import strategies as st

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import ServerStatus
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import MENU, Call, Fault, Faults
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, PilotState, VMState

VOS = ("belle", "t2k.org")
# Throttling keeps a cloud alone by the real clock, and a slow answer sleeps by it: neither passes here.
FAULTS = [
    (call, fault)
    for call, faults in MENU.items()
    for fault in sorted(faults - {Fault.SLOW, Fault.THROTTLE, Fault.UNAUTHORISED}, key=lambda fault: fault.name)
]
SHORT = {
    "max_lifetime": timedelta(hours=3),
    "drain_timeout": timedelta(hours=1),
    "suspect_timeout": timedelta(minutes=10),
    "delete_timeout": timedelta(minutes=10),
}
BUSY = timedelta(hours=2)
# The greatest lifetime, and then what the brake, the rhythm of repeated deletes and the sweeps take.
QUIET = SHORT["max_lifetime"] + timedelta(hours=3)
STEP = timedelta(minutes=2)


class History:
    """Two sites, jobs that come and go, VMs that work or not, and a director that dies now and then."""

    def __init__(self, seed: int, rate: float):
        self.random = random.Random(seed)
        self.world = World("CLOUD.A.fr", "CLOUD.B.fr")
        self.world.config = self.world.config.model_copy(update=SHORT)
        for cloud in self.world.clouds.values():
            cloud.faults = Faults(dict.fromkeys(FAULTS, rate), self.random.random)

    def step(self) -> None:
        chance = self.random.random
        for number, vo in enumerate(VOS):
            if chance() < 0.1:
                self.world.wait_for_jobs(self.random.randint(0, 4), vo, id=number)
        self.world.dirac.away = {service for service in ("Matcher", "PilotManager") if chance() < 0.05}
        if chance() < 0.05:
            self.world.restart()
        self.live()

    def live(self) -> None:
        """Time passes, and with it the VMs' lives go on."""
        world = self.world
        records = {(record.endpoint, record.server_id): record for record in world.store.live()}
        for key, cloud in world.clouds.items():
            for server in cloud._servers():
                if (key, server.id) in records and server.status is ServerStatus.ACTIVE:
                    self._work(cloud, records[key, server.id])
        world.cycle(STEP.total_seconds())

    def _work(self, cloud, record) -> None:
        pilots, reference, chance = self.world.dirac.pilots, record.pilot_reference, self.random.random()
        if reference not in pilots or chance < 0.5:
            return
        facts = pilots[reference]
        if facts.state is PilotState.WAITING:
            pilots[reference] = replace(facts, state=PilotState.RUNNING, jobs=self.random.randint(0, 1))
        elif facts.state is PilotState.RUNNING and chance > 0.95:
            pilots[reference] = replace(facts, state=PilotState.FINISHED)
            if chance < 0.98:
                cloud.stop(record.server_id)
        elif chance > 0.9:
            self.world.store.note(record.vm_id, heartbeat_at=self.world.now)

    def calm(self) -> None:
        """No more faults, and no more jobs."""
        for number, vo in enumerate(VOS):
            self.world.wait_for_jobs(0, vo, id=number)
        self.world.dirac.away = set()
        for cloud in self.world.clouds.values():
            cloud.faults = Faults()


@settings(max_examples=5)
@given(st.integers(0, 2**32), st.sampled_from((0.01, 0.05, 0.2)))
def test_after_the_last_fault_every_intent_ends_and_nothing_is_left(seed, rate):
    history = History(seed, rate)
    for _ in range(BUSY // STEP):
        history.step()
    history.calm()
    for _ in range(QUIET // STEP):
        history.live()
    world = history.world
    records = world.store.select()
    event(f"{len(records) // 20 * 20} VMs and more")
    assert records, "nothing happened at all"
    assert {record.state for record in records} == {VMState.ENDED}
    assert all(record.outcome is not None and record.outcome_reason for record in records)
    for cloud in world.clouds.values():
        assert cloud.list_servers() == ()
        assert cloud.ports == []


@settings(max_examples=2)
@given(st.integers(0, 2**32))
def test_a_held_vm_outlives_every_timeout(seed):
    history = History(seed, 0.0)
    world = history.world
    world.wait_for_jobs(3)
    world.cycle(60)
    world.wait_for_jobs(0)
    held = {record.vm_id for record in world.store.live()}
    for vm in held:
        world.store.levers.pull(Lever(0, LeverKind.HOLD, "adm", "looks at it", world.now, vm=vm), world.now)
    for _ in range(QUIET // STEP):
        history.live()
    assert {record.vm_id for record in world.store.live()} == held
    assert world.cloud.calls[Call.DELETE] == 0


@settings(max_examples=4)
@given(st.integers(0, 2**32), st.sampled_from((0.01, 0.05)))
def test_of_each_new_version_one_vm_at_a_time_is_started_until_one_lived(seed, rate):
    history = History(seed, rate)
    world, seen, tried = history.world, set(), set()
    worked: set[tuple] = set()
    for step in range(BUSY // STEP):
        if step % 15 == 14:
            world.user_data.version = f"plain@{step}"
            event("another version")
        version, before = world.user_data.version, world.store.select()
        if step % 15 == 14:  # what works with an old version only afterwards comes too late to ask for a trial
            worked = {(record.vm_type, record.vo) for record in before if record.lived}
        seen |= {record.vm_id for record in before}
        history.step()
        after = world.store.select()
        unproven = Counter(
            (record.vm_type, record.vo)
            for record in after
            if record.version == version and record.outcome is None and not _is_at_work(world, record)
        )
        tried |= {
            (record.vm_type, record.vo, record.version)
            for record in after
            if record.lived or _is_at_work(world, record)
        }
        for record in after:
            place = record.vm_type, record.vo
            if record.vm_id not in seen and place in worked and (*place, version) not in tried:
                event("a canary")
                assert record.version == version
                assert unproven[place] <= 1, "none where the cloud refused it at once"


def _is_at_work(world, record):
    facts = world.dirac.pilots.get(record.pilot_reference)
    return record.jobs > 0 or (facts is not None and (facts.jobs > 0 or facts.state is PilotState.RUNNING))
