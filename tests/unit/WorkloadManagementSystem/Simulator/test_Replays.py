"""The other provisioners follow their documented rules."""

import pytest
from simulator_world import HOUR, jobs, scenario

from JenniferDIRAC.WorkloadManagementSystem.Simulator.OurDirector import OurDirector
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Replays import REPLAYS, VMDIRAC, SiteDirector, VCycle
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Simulation import run
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World


def started(provisioner, of, *submissions):
    world = World(of, submissions)
    return sum(run(world, provisioner(world)).measure.started.values())


def test_a_site_director_starts_a_vm_for_one_job_in_every_cycle_until_it_is_matched():
    # 10 minutes from the request to the match, and a cycle every 2.
    assert started(SiteDirector, scenario(quota_cores=50), jobs(1)) == 5


def test_vmdirac_counts_vms_that_have_not_spoken_and_starts_one_in_a_cycle():
    # In the 3 minutes between first word and match the first VM is not waiting any more, and has no job yet.
    assert started(VMDIRAC, scenario(quota_cores=50), jobs(1)) == 2
    quick = {"launch_minutes": 4, "first_word_minutes": 5.9, "pilot_minutes": 0.05, "spread": 0}
    assert started(VMDIRAC, scenario(quota_cores=50, start=quick), jobs(1)) == 1


def test_vcycle_starts_vms_though_nobody_wants_any():
    assert started(VCycle, scenario(quota_cores=50)) > 10


def test_vcycle_sends_one_probe_after_vms_that_came_to_nothing():
    world = World(scenario({"queue": "q", "vos": ["belle"]}, quota_cores=10, days=0.02), ())
    vcycle = VCycle(world)
    run(world, vcycle)
    burst = sum(world.measure.started.values())
    world.advance(world.seconds + VCycle.BACKOFF)
    for _ in range(3):
        vcycle.cycle()
    assert sum(world.measure.started.values()) == burst + 1


@pytest.mark.parametrize("provisioner", [OurDirector, *REPLAYS.values()])
def test_everybody_does_the_work_within_the_quota(provisioner):
    world = World(scenario(quota_cores=6, days=2), [jobs(12), jobs(3, at=20 * HOUR)])
    measure = run(world, provisioner(world)).measure
    assert measure.jobs_done == 15
    assert max(measure.largest.values()) <= 6
