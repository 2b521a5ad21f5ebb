"""Lengths of time, numbers, lists and moments in words."""

from datetime import timedelta

import pytest
from why_world import NOW, ago

from JenniferDIRAC.WorkloadManagementSystem.Why.Words import lasting, listed, moment, number, sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (40, "40 s"), (200, "3 min 20 s"), (7200, "2 h"), (100800, "1 d 4 h"), (86430, "1 d")],
)
def test_a_length_of_time(seconds, text):
    assert lasting(timedelta(seconds=seconds)) == text


def test_small_words():
    assert (number(1, "VM"), number(2, "VM")) == ("1 VM", "2 VMs")
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["none", "a", "a, b and c"]
    assert (moment(NOW, NOW), moment(ago(24 * 60), NOW)) == ("10:00 UTC", "2026-11-19 10:00 UTC")
    assert (sentence("so"), sentence("so.")) == ("so.", "so.")
