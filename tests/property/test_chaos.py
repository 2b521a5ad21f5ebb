"""Under every fault at once nothing leaks, nothing is wrongly deleted, and every hard limit holds.

The full million: python -m JenniferDIRAC.WorkloadManagementSystem.Simulator.Chaos --creates 1000000 --seed 1
"""

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Simulator.Chaos import Chaos

CREATES = 1000


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whatever_goes_wrong_nothing_leaks_and_nothing_is_wrongly_ended(seed):
    found = Chaos(seed).run(CREATES)
    print(f"seed {seed}: {dict(found.happened)}, outcomes {dict(found.outcomes)}")
    assert not found.wrong, found.examples
    assert found.happened["creates"] >= CREATES
    assert found.happened["directors killed"] and found.happened["operations with an unknown end"]
    assert found.outcomes["Worked"] > 50


def test_a_run_is_repeated_by_its_seed():
    one, other = (Chaos(5).run(100) for _ in range(2))
    assert (one.happened, one.outcomes, one.days) == (other.happened, other.outcomes, other.days)


def test_a_director_that_believes_every_list_is_caught(monkeypatch):
    # Without the question by name, lists that are cut short have VMs deleted that are at work.
    from JenniferDIRAC.WorkloadManagementSystem.Director import Observation

    monkeypatch.setattr(Observation, "_servers", lambda cloud, doubted: cloud.list_servers())
    assert Chaos(1).run(5000, until_wrong=True).wrong
