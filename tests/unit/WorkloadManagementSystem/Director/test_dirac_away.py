"""Whole cycles while the Matcher or PilotManager is away, and after it has come back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from director_world import World, booting, started

from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, VMState


def test_while_the_matcher_is_away_nothing_starts_and_running_vms_are_looked_after():
    world = started()
    world.dirac.away.add("Matcher")
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    assert any("Matcher: connection refused" in warning for warning in world.log.warnings)
    world.dirac.away.clear()
    world.wait_for_jobs(2)
    world.cycle()
    assert len(world.cloud.list_servers()) == 2


def test_while_the_matcher_is_away_the_report_says_so():
    world = World()
    world.dirac.away.add("Matcher")
    world.cycle()
    assert "the Matcher: connection refused" in world.report().problem


def test_a_matcher_that_answers_for_one_site_only_gets_no_vm_doubled_there():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)
    world.cycle()
    world.dirac.unanswered_sites = {world.the_vm().vm_type.site}
    world.cycle()
    assert len(world.store.select()) == 1


def test_pilots_are_registered_as_soon_as_pilotmanager_is_back():
    world = World(jobs=1)
    world.dirac.away.add("PilotManager")
    world.cycle()
    assert world.dirac.stamps == {}
    world.dirac.away.clear()
    world.cycle()
    assert list(world.dirac.stamps) == [world.the_vm().pilot_reference]


def test_a_pilot_whose_end_could_not_be_told_is_ended_later():
    world = booting()
    world.kill()
    world.cycle()
    world.dirac.away.add("PilotManager")
    for _ in range(3):
        world.cycle()
    assert world.the_vm().state is VMState.ENDED
    assert world.dirac.ends == {}
    world.dirac.away.clear()
    world.cycle()
    assert world.dirac.ends[world.the_vm().pilot_reference][0] == "Deleted"


def at_work_while_dirac_knows_no_pilots(says_hello: bool) -> World:
    """A VM that was made and began to work while PilotManager was away, which it is for forty minutes."""
    world = World(jobs=1)
    world.dirac.away.add("PilotManager")
    world.cycle(60)
    world.wait_for_jobs(0)
    if says_hello:
        world.cloud.write_console(world.the_vm().server_id, f"@jennifer {world.the_vm().vm_id} hello uptime=20\n")
    for _ in range(40):
        world.cycle(60)
    world.dirac.away.clear()
    return world


@pytest.mark.parametrize("says_hello", [True, False])
def test_a_vm_whose_pilot_could_not_be_entered_is_not_ended_for_its_silence(says_hello):
    world = at_work_while_dirac_knows_no_pilots(says_hello)
    back_since = world.now
    for _ in range(world.policy.registration_timeout // timedelta(minutes=1)):
        world.cycle(60)
    assert world.the_vm().outcome is None
    assert world.the_vm().pilot_entered_at == back_since


def test_a_vm_that_took_its_job_before_its_pilot_was_entered_is_not_idle():
    world = at_work_while_dirac_knows_no_pilots(says_hello=True)
    for _ in range(2 * world.policy.idle_timeout // timedelta(minutes=1)):
        world.cycle(60)
        assert world.dirac.pilots[world.the_vm().pilot_reference] == PilotFacts(PilotState.RUNNING, 0)
    assert world.the_vm().state is VMState.RUNNING
