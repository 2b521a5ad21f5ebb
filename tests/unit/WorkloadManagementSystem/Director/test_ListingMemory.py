"""What is a break in watching an endpoint, and what is none."""

from __future__ import annotations

from datetime import timedelta

from director_world import START

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Limits,
    Unreachable,
)
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import LONGEST_PAUSE
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import LONGEST_SILENCE, ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation


def test_a_look_that_fails_is_no_break_in_watching_and_a_long_silence_is():
    memory, now = ListingMemory(), START
    seen = Observation((), Limits(), {})
    for _ in range(20):
        memory.see(seen, False, (), now)
        memory.see(Unreachable("slow"), False, (), now + timedelta(minutes=1))
        now += timedelta(minutes=2)
    assert memory.since == START
    memory.see(Unreachable("hangs"), False, (), now + LONGEST_SILENCE)
    assert memory.since is None
    memory.see(seen, False, (), now + timedelta(minutes=11))
    assert memory.since == now + timedelta(minutes=11)


def test_when_a_clock_that_went_fast_was_set_back_watching_began_at_the_latest_then():
    """Else no time-out would end before the clock is again where it was."""
    memory, seen = ListingMemory(), Observation((), Limits(), {})
    memory.see(seen, True, (), START + timedelta(hours=2))
    memory.see(seen, True, (), START)
    memory.see(seen, True, (), START + timedelta(minutes=1))
    assert (memory.since, memory.suspect_since) == (START, START)


def test_the_longest_pause_that_a_cloud_is_given_is_no_break_in_watching():
    assert timedelta(seconds=LONGEST_PAUSE) + timedelta(minutes=2) < LONGEST_SILENCE
