"""Two CloudDirectors as processes of their own, on one real DIRAC, one database and the same clouds."""

import os
import signal
import time
from datetime import UTC, datetime

import pytest
from lab_world import live, servers, store, submit

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import ServerStatus

POLLING = "PollingTime=30"  # the default: within a minute is promised for it


@pytest.fixture
def agents(dirac, director):
    """Two agents; what is left of them is ended by force."""
    processes = [dirac.start_agent("WorkloadManagement/CloudDirector", "-o", POLLING) for _ in range(2)]
    yield {process.pid: process for process in processes}
    for process in processes:
        process.kill()
        process.wait(10)


def test_two_directors_double_no_vm_and_when_one_is_killed_the_other_takes_over_within_a_minute(dirac, agents):
    submit("belle", "t2k.org", "hyperk.org")
    # a server whose director dies while its QEMU is started never runs, and is replaced
    all_run = [ServerStatus.ACTIVE] * 3
    dirac.wait_until(
        lambda: [server.status for server in servers(dirac)] == all_run,
        ["CloudDirector"],
        "no server for each job",
        120,
    )
    (holder,) = holders()
    (survivor,) = agents.keys() - {holder}

    os.kill(holder, signal.SIGKILL)
    killed = time.monotonic()
    dirac.wait_until(lambda: holders() == {survivor}, ["CloudDirector"], "not the other director's takeover", 60)
    assert time.monotonic() - killed < 60

    submit("belle")
    dirac.wait_until(lambda: len(servers(dirac)) == 4, ["CloudDirector"], "no server for the new job", 90)
    for _ in range(2):  # the first report is of the same cycle
        now = store().clock()
        dirac.wait_until(lambda now=now: reported() > now, ["CloudDirector"], "no other cycle", 90)
    records = live()
    assert sorted(record.server_id for record in records) == sorted(server.id for server in servers(dirac))
    assert sorted(record.vo for record in records) == ["belle", "belle", "hyperk.org", "t2k.org"]

    os.kill(survivor, signal.SIGTERM)
    assert agents[survivor].wait(10) == 0
    assert store().leases.standing() == {}


def reported() -> datetime:
    """When the last cycle was told of."""
    return max((report.at for report in store().reports()), default=datetime.min.replace(tzinfo=UTC))


def holders() -> set[int]:
    """The processes that have the endpoints now."""
    return {int(name.split(":")[1]) for name in store().leases.standing().values()}
