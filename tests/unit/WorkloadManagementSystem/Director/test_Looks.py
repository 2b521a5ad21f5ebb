"""A slow cloud keeps nobody waiting, and its word is still heard."""

import threading
from concurrent.futures import Future, wait

from director_world import Clock

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Unreachable
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.Punctuality import SLOW_FAILURE, Punctuality
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

A, B = EndpointKey("CLOUD.A.fr", "a"), EndpointKey("CLOUD.B.fr", "b")


class Gate:
    """A look that ends when it is let through."""

    def __init__(self, name: str = "look"):
        self.name = name
        self.open = threading.Event()
        self.calls = 0

    def __call__(self, cloud):
        self.calls += 1
        self.open.wait(60)
        return f"{self.name} {self.calls}"


def workers() -> dict[EndpointKey, EndpointWorker]:
    return {key: EndpointWorker(str(key), object) for key in (A, B)}


def test_a_look_that_came_too_late_serves_the_next_cycle():
    own, gate = workers(), Gate()
    looks = Looks(own, deadline=0.1)
    first = looks.take({A: gate, B: lambda cloud: "b"})
    assert isinstance(first[A], Unreachable) and first[B] == "b"
    second = looks.take({A: gate, B: lambda cloud: "b"})
    assert isinstance(second[A], Unreachable) and "'list servers' for" in str(second[A])
    gate.open.set()
    wait([own[A]._current[0]], timeout=60)
    assert looks.take({A: gate, B: lambda cloud: "b"}) == {A: "look 1", B: "b"}
    assert gate.calls == 1


def test_a_late_look_of_an_endpoint_that_was_configured_anew_is_of_no_use():
    own, gate = workers(), Gate()
    looks = Looks(own, deadline=0.1)
    looks.take({A: gate})
    gate.open.set()
    wait([own[A]._current[0]], timeout=60)
    own[A] = EndpointWorker("A", object)
    fresh = Gate("fresh look")
    looks.take({A: fresh})
    fresh.open.set()
    wait([own[A]._current[0]], timeout=60)
    assert looks.take({A: fresh})[A] == "fresh look 1"


def ended(value=None, error: Exception | None = None) -> Future:
    future: Future = Future()
    future.set_exception(error) if error else future.set_result(value)
    return future


def late(punctuality: Punctuality, *keys) -> set:
    return {key for key in keys if key in punctuality._late}


def test_only_an_endpoint_that_was_late_is_not_waited_for_until_it_is_on_time_again():
    clock = Clock()
    punctuality = Punctuality(deadline=0.05, clock=clock)
    hanging: Future = Future()
    punctuality.wait({A: hanging, B: ended()})
    assert late(punctuality, A, B) == {A}
    clock.now += 600
    hanging.set_result("at last")
    assert late(punctuality, A, B) == {A}, "it took far longer than the deadline"
    punctuality.wait({A: ended(), B: ended()})
    assert late(punctuality, A, B) == set()


def test_a_failure_that_took_long_is_lateness_and_a_quick_one_is_none():
    clock = Clock()
    punctuality = Punctuality(deadline=60, clock=clock)
    punctuality.wait({A: ended(error=Unreachable("refused"))})
    assert late(punctuality, A) == set()
    timing_out: Future = Future()

    def time_out() -> None:
        clock.now += SLOW_FAILURE + 1
        timing_out.set_exception(Unreachable())

    thread = threading.Timer(0.01, time_out)
    thread.start()
    punctuality.wait({A: timing_out})
    thread.join()
    assert late(punctuality, A) == {A}
    punctuality.wait({A: ended(error=Unreachable("busy"))})
    assert late(punctuality, A) == {A}, "a quick failure says nothing of how long a success takes"


def test_an_endpoint_whose_looks_are_always_late_holds_the_others_up_once():
    own, waited_for = workers(), []
    looks = Looks(own, deadline=0.05)
    punctuality = looks._punctuality
    wait_for = punctuality.wait

    def note(futures):
        waited_for.append({key for key in futures if key not in punctuality._late})
        wait_for(futures)

    punctuality.wait = note
    for _ in range(4):
        gate = Gate()
        assert isinstance(looks.take({A: gate})[A], Unreachable)
        threading.Event().wait(0.06)  # longer than the deadline
        gate.open.set()
        wait([own[A]._current[0]], timeout=60)
        assert looks.take({A: gate})[A] == "look 1"
    assert waited_for.count({A}) == 1


def test_a_look_serves_one_cycle():
    begun = []
    looks = Looks(workers(), deadline=30)
    for cycle in (1, 2, 3):
        assert looks.take({A: lambda cloud: begun.append(1) or len(begun)})[A] == cycle
