"""The simulated world keeps the rules of a real one."""

import pytest
from simulator_world import HOUR, MINUTE, jobs, scenario, simulated

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import Submission


def test_a_job_waits_for_the_boot_and_the_next_cycle():
    result, _ = simulated(scenario(), jobs(1))
    (wait,) = result.measure.waits
    assert 10 * MINUTE <= wait <= 11 * MINUTE


def test_a_vm_is_asked_for_when_jobs_come_and_gone_when_they_are_done():
    result, world = simulated(scenario(), jobs(3))
    assert sum(result.measure.started.values()) == sum(result.measure.needed.values()) == 3
    assert result.measure.jobs_done == 3
    assert result.outcomes == {"Worked": 3}
    assert not next(iter(world.clouds.values())).guests


def test_a_vm_takes_one_job_after_the_other():
    result, _ = simulated(scenario(quota_cores=1), jobs(5))
    assert (sum(result.measure.started.values()), result.measure.jobs_done) == (1, 5)


def test_a_vm_with_a_pool_runs_several_jobs_at_once():
    result, _ = simulated(scenario({"queue": "q", "cores": 4, "pool": True}, quota_cores=4), jobs(4))
    assert max(result.measure.waits) < 11 * MINUTE
    assert result.measure.waste.idle == 0


def test_a_vm_without_a_pool_wastes_the_cores_that_its_job_does_not_use():
    result, _ = simulated(scenario({"queue": "q", "cores": 4}, quota_cores=4), jobs(1, hours=2))
    assert result.measure.waste.idle == pytest.approx(3 * 2 * HOUR)


def test_a_job_goes_to_vms_of_its_own_vo_only():
    result, _ = simulated(scenario({"queue": "q", "vos": ["belle"]}), jobs(1), jobs(1, vo="t2k.org"))
    assert dict(result.measure.started) == {"belle": 1}


def test_a_job_that_is_longer_than_a_vm_takes_jobs_is_not_matched():
    result, world = simulated(scenario({"queue": "q", "hours": 4}), jobs(1, hours=6))
    assert not result.measure.started
    assert world.queues.waiting["belle"] == 1


def test_a_pilot_matches_no_job_that_would_outlast_its_vm():
    result, _ = simulated(scenario({"queue": "q", "hours": 4}, quota_cores=1), jobs(4, hours=1.5))
    assert sum(result.measure.started.values()) == 2  # 2 h are left for the second job, and not for a third


@pytest.mark.parametrize(
    "sickness, outcome",
    [("never_speaks", "NeverReported"), ("pilot_fails", "Fizzled"), ("dies", "Vanished")],
)
def test_what_goes_wrong_inside_a_vm_has_its_outcome(sickness, outcome):
    result, _ = simulated(scenario(sickness={sickness: 1}, days=0.1), jobs(1))
    assert set(result.outcomes) == {outcome}


def test_the_jobs_of_a_vm_that_dies_are_run_again_and_what_they_used_is_lost():
    result, world = simulated(scenario(sickness={"dies": 1}, days=0.2), jobs(1))
    assert result.measure.jobs_done == 0
    assert result.measure.waste.lost > 0
    assert world.queues.waiting["belle"] + sum(len(g.running) for c in world.clouds.values() for g in c.guests.values())


def test_core_hours_are_accounted_to_the_last_second():
    waste = simulated(scenario(sickness={"pilot_fails": 0.3}, days=2), jobs(20), jobs(20, at=HOUR))[0].measure.waste
    parts = waste.busy + waste.boot + waste.idle + waste.tail + waste.failed + waste.lost
    assert parts == pytest.approx(waste.held)


def test_foreign_use_leaves_less_of_the_quota():
    result, world = simulated(scenario(quota_cores=10, foreign_cores=7, days=0.1), jobs(20))
    assert max(result.measure.largest.values()) == 3


def test_use_is_compared_with_shares_only_while_all_are_hungry():
    shares = {"belle": 50, "t2k.org": 50}
    alone, _ = simulated(scenario(shares=shares, quota_cores=4, days=0.2), jobs(50))
    both, _ = simulated(scenario(shares=shares, quota_cores=4, days=0.2), jobs(50), jobs(50, vo="t2k.org"))
    assert not any(alone.measure.hungry_use.values())
    assert sum(both.measure.hungry_use.values()) > 0


def test_the_same_seed_gives_the_same_run():
    of = scenario(
        start={"spread": 0.3}, sickness={"dies": 0.2}, faults={"create_server": {"NO_CAPACITY": 0.2}}, days=0.2
    )
    one, other = (simulated(of, jobs(30), jobs(10, at=HOUR))[0] for _ in range(2))
    assert (one.measure.waits, one.outcomes, one.calls) == (other.measure.waits, other.outcomes, other.calls)


@pytest.mark.parametrize("sickness", [{}, {"never_speaks": 0.2, "pilot_fails": 0.2, "dies": 0.2}])
def test_cycles_that_are_skipped_change_nothing(sickness):
    of = scenario(
        {"queue": "q"},
        {"queue": "r", "cores": 4, "pool": True},
        quota_cores=12,
        start={"spread": 0.3},
        sickness=sickness,
        days=4,
    )
    work = [Submission(at * HOUR, vo, (hours * HOUR,) * n) for at, vo, n, hours in _WORK]
    skipping, _ = simulated(of, *work)
    whole, _ = simulated(of, *work, every_cycle=True)
    assert skipping.skipped > skipping.cycles
    assert whole.skipped == 0
    assert skipping.measure.waits == whole.measure.waits
    assert skipping.outcomes == whole.outcomes
    assert skipping.measure.waste == whole.measure.waste
    # What a look for leftovers finds concerns no VM: it keeps its own rhythm.
    assert _of_vms(skipping.calls) == _of_vms(whole.calls)


def _of_vms(calls):
    return {call: number for call, number in calls.items() if call is not Call.LEFTOVERS}


_WORK = ((0, "belle", 20, 2), (0.1, "t2k.org", 3, 5), (9, "belle", 1, 0.3), (30, "t2k.org", 40, 1), (60, "belle", 2, 9))
