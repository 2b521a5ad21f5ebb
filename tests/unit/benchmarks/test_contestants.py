"""What the benchmark says of others has to be right: requests are counted, and who fails is told of."""

import sys
from pathlib import Path

import pytest

from benchmarks.child import Child
from benchmarks.contestants import lane
from benchmarks.race import Ratio, Times

SERVER = "5a2b91c0-1df3-4c69-9d0e-3a1f6f0c7f11"
PROJECT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "counted"),
    [
        ("http://cloud:8774/v2.1/servers", "/servers"),
        (f"http://cloud:8774/v2.1/servers/{SERVER}", "/servers/{id}"),
        (f"http://cloud/compute/v2/{PROJECT}/servers/{SERVER}/action", "/servers/{id}/action"),
        ("/v2.1/servers/detail?name=%5Ejennifer-&limit=500", "/servers/detail"),
        ("/v3/auth/tokens", "/auth/tokens"),
        ("http://cloud:8774/", "/"),
    ],
)
def test_a_request_is_counted_by_what_it_asks_for_whichever_server_or_project_it_names(url, counted, monkeypatch):
    monkeypatch.setattr(lane, "requests", lane.Counter())
    lane.count("GET", url)
    assert lane.requests == {f"GET {counted}": 1}


def test_times_are_compared_with_the_floors_and_a_list_with_one_of_the_same_servers():
    floor = Times(create=[1.0, 10.0], look=[5.0, 5.0])
    mine = Times(create=[2.0, 20.0], look=[3.0, 6.0], bare_look=[1.0, 2.0])
    assert mine.slower(floor, "create").value == pytest.approx(2)
    assert mine.slower(floor, "look").value == pytest.approx(3)


def test_a_ratio_tells_how_far_its_measurements_can_be_trusted():
    alike, scattered = Ratio.of([2.0, 2.0], [1.0]), Ratio.of([1.0, 4.0, 2.0], [1.0, 2.0])
    assert alike.low == alike.value == alike.high == pytest.approx(2)
    assert scattered.value == pytest.approx(2**0.5)
    assert scattered.low < 1 and scattered.high > 3


def test_a_contestant_that_fails_ends_the_benchmark_with_its_last_words():
    with Child("floor", "floor", Path(sys.executable), {"no": "such setting"}) as child:
        with pytest.raises(SystemExit, match="(?s)floor could not create.*unexpected keyword argument 'no'"):
            child.order("create")
