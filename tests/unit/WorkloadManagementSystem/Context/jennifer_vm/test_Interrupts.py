"""Ends that are asked for."""

import signal
import subprocess

import pytest
from guest_directory import is_dead, wait_for


def test_a_vm_ends_itself_after_its_longest_lifetime(vm, server):
    server.publish("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    vm.settings["max_lifetime"] = 2
    vm.live()
    assert (vm.said.code, vm.said.reason) == (100, "reached its longest lifetime of 2 s")


def test_a_stop_by_the_host_is_told_and_ends_the_pilot(vm, server):
    server.publish("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    process = vm.start()
    wait_for(process, "pilot-start")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert vm.powered_off
    assert (vm.said.code, vm.said.reason) == (100, "asked to stop by the host (signal 15)")


def test_a_host_that_asks_twice_still_gets_a_dead_pilot(vm, server):
    server.publish(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ERROR pid', os.getpid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    process = vm.start()
    pid = int(wait_for(process, "ERROR pid").rstrip('"\n').split()[-1])
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    # In the midst of the grace that the pilot has after SIGTERM.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert vm.powered_off
    assert is_dead(pid)
    assert vm.said.code == 100


def test_an_alarm_that_got_lost_comes_again(vm, server):
    server.publish("import time\ntime.sleep(600)\n")
    vm.settings["max_lifetime"] = 1
    deaf = """
Interrupts.ALARM_AGAIN = 1
class Deaf:
    def __del__(self):
        __import__("time").sleep(2)
def work(*arguments):
    Deaf()
    return real_work(*arguments)
real_work, Life.Life._work = Life.Life._work, work
"""
    vm.live(broken=deaf)
    assert vm.said.code == 100
