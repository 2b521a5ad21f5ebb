"""When operators are told that a credential ends."""

from datetime import timedelta

from director_world import START

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Expiry
from JenniferDIRAC.WorkloadManagementSystem.Director.ExpiryWatch import ExpiryWatch
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

KEY = EndpointKey("CLOUD.A.fr", "a")


def test_a_clock_that_was_set_back_keeps_nobody_from_being_told():
    told: list[str] = []
    watch, fast = ExpiryWatch(told.append, told.append), START + timedelta(days=90)
    watch.heard(KEY, [Expiry("token", START + timedelta(days=5))], fast)
    assert watch.is_due(KEY, START)
    watch.heard(KEY, [Expiry("token", START + timedelta(days=5))], START)
    assert [words.split(", on")[0] for words in told[1:]] == [f"{KEY}: token ends in 5 days"]
