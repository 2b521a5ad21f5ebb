"""Whole cycles in which a template changes: one VM tries it, and the rest get it once that one lived."""

from datetime import timedelta

import pytest
from director_world import MemoryDirac, World

from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import Sessions
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, VMState


class DiracWithProxies(MemoryDirac):
    def pilot_proxy(self, vo, lifetime):
        return Secret("PEM")


class TemplateWorld(World):
    """A world whose VMs are told what a template says."""

    def __init__(self, path):
        super().__init__()
        self.path, self.dirac = path, DiracWithProxies()
        self.user_data = UserDataMaker(self.dirac, Sessions(self.store._database))
        vm_type = self.configs[0].vm_types[0].model_copy(update={"template": str(path)})
        self.configs = (self.configs[0].model_copy(update={"vm_types": (vm_type,)}),)
        self.write("#cloud-config\na: 1\n")
        self.restart()

    def write(self, text):
        self.path.write_text(text)

    def live(self):
        """Those that have not ended, the newest first."""
        return [record for record in self.store.select() if record.state is not VMState.ENDED]

    def newest(self):
        return self.store.select(limit=1)[0]

    def limits(self):
        return {unmet.limit for unmet in self.report().unmet}


@pytest.fixture
def world(tmp_path, cs):
    """With three jobs waiting, and a VM at work that was told what the template said first."""
    cs({"Operations": {"Defaults": {"Pilot": {"pilotFileServer": "dirac.here.org:8443"}}}})
    world = TemplateWorld(tmp_path / "el9.yaml.j2")
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    world.pilot_becomes(PilotState.RUNNING, jobs=1)
    world.cycle(60)
    world.wait_for_jobs(3)
    return world


def test_each_vm_has_its_version_in_its_record(world):
    first = world.the_vm().version
    assert first.startswith("el9@")
    world.write("#cloud-config\na: 22\n")
    world.cycle()
    assert {record.version for record in world.live()} == {first, world.newest().version}
    assert world.newest().version != first


def test_without_a_change_all_are_started(world):
    world.cycle()
    assert len(world.live()) == 4


def test_a_vm_type_that_never_worked_is_no_canary(tmp_path, cs):
    cs({"Operations": {"Defaults": {"Pilot": {"pilotFileServer": "dirac.here.org:8443"}}}})
    world = TemplateWorld(tmp_path / "el9.yaml.j2")
    world.wait_for_jobs(3)
    world.cycle()
    assert len(world.live()) == 3


def test_one_vm_tries_a_changed_template_and_the_rest_follow_when_its_pilot_is_at_work(world):
    world.write("#cloud-config\na: 22\n")
    for _ in range(5):
        world.cycle(30)
        assert len(world.live()) == 2
    canary = world.newest()
    assert world.limits() == {Limit.CANARY}
    assert f"VM {canary.vm_id[:8]} is on its way" in world.report().line
    world.pilot_becomes(PilotState.RUNNING, record=canary)
    world.cycle()
    assert len(world.live()) == 5 - 1, "two more, for the jobs that the canary does not take"
    assert world.limits() == set()
    assert {record.version for record in world.live()[:3]} == {canary.version}


def test_a_job_of_the_canary_counts_though_its_pilot_is_gone_when_it_is_seen(world):
    world.write("#cloud-config\na: 22\n")
    world.cycle(60)
    world.cycle(60)
    world.pilot_becomes(PilotState.FINISHED, jobs=1, record=world.newest())
    world.cycle()
    assert len(world.live()) == 5


def test_after_it_failed_the_back_off_holds_and_then_one_tries_again(world):
    world.write("#cloud-config\na: 22\n")
    world.cycle(60)
    world.cycle(60)
    failed = world.newest()
    while world.store.get(failed.vm_id).outcome is None:
        world.cycle(60)
        assert len(world.store.select()) == 2
    assert world.store.get(failed.vm_id).outcome is Outcome.NEVER_REPORTED
    assert world.limits() == {Limit.BACKOFF}
    decided = world.store.get(failed.vm_id).since
    while len(world.store.select()) == 2:
        world.cycle(30)
    again = world.newest()
    assert again.created_at - decided >= world.policy.backoff
    assert len(world.store.select()) == 3 and again.version == failed.version
    assert world.limits() == {Limit.CANARY}
    world.cycle(60)
    world.pilot_becomes(PilotState.RUNNING, jobs=1, record=again)
    world.cycle()
    assert len(world.store.select()) == 6


def test_a_mended_template_is_tried_after_the_back_off_too(world):
    world.write("#cloud-config\na: 22\n")
    world.cycle(60)
    world.kill(world.newest())
    world.write("#cloud-config\na: 333\n")
    world.cycle(60)
    assert len(world.store.select()) == 3 and world.limits() == {Limit.CANARY}


def test_taking_a_change_back_needs_no_trial(world):
    before = world.path.read_text()
    world.write("#cloud-config\na: 22\n")
    world.cycle(60)
    world.write(before)
    world.cycle()
    assert len(world.live()) == 4, "the canary counts for a job of its own, two more for the others"


def test_the_vms_that_run_are_left_alone(world):
    running = world.the_vm()
    world.write("#cloud-config\na: 22\n")
    for _ in range(3):
        world.cycle(30)
    assert world.store.get(running.vm_id).state is VMState.RUNNING
    assert world.cloud.calls[Call.DELETE] == 0


@pytest.mark.parametrize("lived", [False, True])
def test_a_restarted_director_knows_whether_it_was_tried(world, lived):
    world.write("#cloud-config\na: 22\n")
    world.cycle(60)
    world.cycle(60)
    if lived:
        world.pilot_becomes(PilotState.RUNNING, jobs=1, record=world.newest())
        world.cycle()
    world.restart()
    world.cycle()
    assert len(world.live()) == (5 if lived else 2)


def test_a_changed_profile_is_tried_on_one_vm_too(world, cs):
    world.profiles["belle"] = ProfileConfig.read("belle", {"PilotUser": "pilot"})
    world.write("#cloud-config\na: {{ vm.pilot_user | yaml }}\n")
    world.cycle(30)
    assert len(world.live()) == 2 and world.limits() == {Limit.CANARY}


def test_a_template_that_cannot_be_rendered_starts_nothing_and_breaks_nothing(world):
    world.write("#cloud-config\na: {{ nothing }}\n")
    world.cycle(30)
    assert len(world.live()) == 1
    assert "nothing" in world.report().problem
    world.write("#cloud-config\na: 22\n")
    world.cycle(30)
    assert len(world.live()) == 2 and world.limits() == {Limit.CANARY}


@pytest.mark.parametrize("before", ["#cloud-config\na: 1\n", "#cloud-config\na: {{ nothing }}\n"])
def test_a_template_that_changes_between_plan_and_create_waits_for_the_next_cycle(world, before):
    world.write(before)
    make = world.user_data.make

    def changed_meanwhile(*what):
        world.write("#cloud-config\na: 22\n")
        return make(*what)

    world.user_data.make = changed_meanwhile
    world.cycle(30)
    assert len(world.live()) == 1
    assert "changed during this cycle" in world.report().problem
    world.cycle(30)
    assert len(world.live()) == 2


def test_the_database_is_asked_once_for_a_version(world, monkeypatch):
    asked = []
    untried = world.store.untried
    monkeypatch.setattr(world.store, "untried", lambda trials: asked.append(trials) or untried(trials))
    world.write("#cloud-config\na: 22\n")
    for _ in range(3):
        world.cycle(30)
    assert len(asked) == 1
    world.pilot_becomes(PilotState.RUNNING, jobs=1, record=world.newest())
    world.now += timedelta(seconds=1)
    for _ in range(3):
        world.cycle(30)
    assert len(asked) == 1
