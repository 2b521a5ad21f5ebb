"""A director that is killed at any step leaks and doubles nothing: real services, database and QEMU processes."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from lab_world import leases_run_out, live, servers, store, submit

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

STEPS_AT_MOST = 200


@pytest.fixture
def die_at(dirac, director):
    """A function that runs a cycle of a director which dies at this step; False when it had fewer steps."""
    environment = dirac.environment(LAB_ROOT=str(dirac.root), LAB_OFFSET=str(dirac.ports.offset))
    script = Path(__file__).with_name("dying_director.py")
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, env=environment, cwd=dirac.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def run(step):
            leases_run_out()
            process.stdin.write(f"{step}\n")
            answer = process.stdout.readline().strip()
            assert answer in ("died", "done"), answer
            return answer == "died"

        yield run
        process.stdin.close()


def test_nothing_is_doubled_or_leaked_when_it_dies_while_it_starts_a_vm(dirac, director, die_at):
    for step in itertools.count(1):
        dirac.reset()
        submit("belle")
        died = die_at(step)
        check_after_two_cycles(dirac, director, step)
        (record,) = live()
        # an intent that was never sent ends by its time-out
        assert record.state is VMState.PLANNED or record.server_id, f"step {step}: its server is not known"
        if not died:
            break
    assert 10 < step < STEPS_AT_MOST


def test_nothing_is_doubled_or_leaked_when_it_dies_while_it_clears_a_vm_away(dirac, director, die_at):
    for step in itertools.count(1):
        dirac.reset()
        submit("belle")
        director.cycle()
        (record,) = live()
        store().request_kill(record.vm_id, "test", "to be cleared away", record.since)
        died = die_at(step)
        check_after_two_cycles(dirac, director, step)
        assert record.server_id not in {server.id for server in servers(dirac)}, f"step {step}: it was not deleted"
        if not died:
            break
    assert 10 < step < STEPS_AT_MOST


def check_after_two_cycles(lab, director, step):
    """Every server has one live record, and for the one waiting job there is one VM at most."""
    leases_run_out()
    for _ in range(2):
        director.cycle()
    records = [record for record in live() if record.state is not VMState.DELETING]
    there = servers(lab)
    assert len(there) <= 1, f"step {step}: {len(there)} servers for one job"
    assert len(records) <= 1, f"step {step}: {len(records)} VMs for one job"
    known = {record.server_id for record in live()}
    assert {server.id for server in there} <= known, f"step {step}: a server that no live record knows"
