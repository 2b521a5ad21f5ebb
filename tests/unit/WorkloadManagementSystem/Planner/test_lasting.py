"""How a length of time is told."""

from datetime import timedelta

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (40, "40 s"), (200, "3 min 20 s"), (7200, "2 h"), (100800, "1 d 4 h"), (86430, "1 d")],
)
def test_a_length_of_time(seconds, text):
    assert lasting(timedelta(seconds=seconds)) == text
