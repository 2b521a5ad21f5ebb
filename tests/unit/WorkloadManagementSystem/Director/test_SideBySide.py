"""Several requests at once."""

import threading

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side


def test_as_many_as_allowed_are_under_way_at_once_and_no_more():
    together, most, running, lock = threading.Barrier(3), [0], [0], threading.Lock()

    def act(item: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(10)  # passes only when three are here
        with lock:
            running[0] -= 1

    side_by_side(3, act, range(9))
    assert most[0] == 3


def test_every_item_is_acted_on_once():
    for at_once in (1, 2, 50):
        done: list[int] = []
        side_by_side(at_once, done.append, range(20))
        assert sorted(done) == list(range(20))


def test_one_at_a_time_keeps_the_order_and_the_thread():
    done: list[tuple[int, str]] = []
    side_by_side(1, lambda item: done.append((item, threading.current_thread().name)), range(5))
    assert done == [(item, threading.current_thread().name) for item in range(5)]


@pytest.mark.parametrize("threads", [0, 1])
def test_on_a_machine_that_has_too_many_threads_all_is_done_by_those_that_there_are(threads, monkeypatch):
    start, left, done = threading.Thread.start, [threads], []

    def start_if_any_is_left(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_any_is_left)
    side_by_side(3, done.append, range(20))
    assert sorted(done) == list(range(20))
