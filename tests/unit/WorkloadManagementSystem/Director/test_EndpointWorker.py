"""An endpoint's thread, and when its cloud is left alone."""

from __future__ import annotations

import threading

from director_world import Clock

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AuthenticationFailed,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import LONGEST_PAUSE, EndpointWorker


def worker_whose_first_look_meets(fault: Fault, clock: Clock, seconds: float | None = None):
    """A worker, and the clouds that it made."""
    made: list[FakeEndpoint] = []

    def make() -> FakeEndpoint:
        made.append(FakeEndpoint())
        if len(made) == 1:
            made[0].faults.next(Call.LIST, fault, seconds=seconds)
        return made[-1]

    return EndpointWorker("e", make, clock), made


def look(worker: EndpointWorker):
    future = worker.start("list", lambda cloud: cloud.list_servers())
    return future.exception(10) or future.result()


def test_a_cloud_that_refused_the_credential_is_left_alone_and_then_connected_with_the_mended_one():
    clock = Clock()
    worker, made = worker_whose_first_look_meets(Fault.UNAUTHORISED, clock)
    assert isinstance(look(worker), AuthenticationFailed)
    clock.now += LONGEST_PAUSE - 1
    refused = look(worker)
    assert isinstance(refused, AuthenticationFailed) and "not tried for another 1 s" in str(refused)
    assert len(made) == 1, "a log-in that fails in every cycle could lock the account"
    clock.now += 1
    assert look(worker) == () == look(worker)
    assert len(made) == 2


def test_a_cloud_that_asks_to_slow_down_is_left_alone_for_as_long():
    clock = Clock()
    worker, made = worker_whose_first_look_meets(Fault.THROTTLE, clock, seconds=60)
    assert isinstance(look(worker), Throttled)
    clock.now += 59
    assert isinstance(look(worker), Throttled)
    assert made[0].calls[Call.LIST] == 1
    clock.now += 1
    assert look(worker) == ()
    assert len(made) == 1


def test_a_task_whose_thread_cannot_be_started_does_not_block_the_endpoint(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    worker = EndpointWorker("e", FakeEndpoint)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert isinstance(look(worker), Unreachable)
    assert look(worker) == ()
