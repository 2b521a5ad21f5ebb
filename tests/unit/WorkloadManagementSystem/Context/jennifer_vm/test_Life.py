"""The whole life of a VM, run for real in a directory: a real HTTPS server, a real process, another user."""

import getpass

import pytest
from guest_directory import VM_ID, pythons

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_a_vm_runs_its_pilot_tells_its_end_and_powers_off(vm, python):
    vm.settings["pilot_user"] = getpass.getuser()
    output = vm.live(python)
    assert vm.words[:2] == ["hello", "pilot-start"], output
    assert vm.words[-3:] == ["pilot-end", "end", "end"]
    assert (vm.said.code, vm.said.reason) == (200, "Nothing to do for more than 1 cycles (after 1 job(s))")
    assert parse_console(output, VM_ID).said == vm.said


@pytest.mark.parametrize(
    "broken",
    [
        "Hygiene.remove_secrets = lambda *_: __import__('time').sleep(3600)",
        "os.sync = lambda: __import__('time').sleep(3600)",
        "Hygiene.remove_secrets = None",
        "Life.printable = None",
    ],
    ids=["a hung file", "a hung disk", "a mistake", "another mistake"],
)
def test_the_machine_is_switched_off_whatever_hangs_or_fails_at_the_end(vm, broken):
    vm.live(broken=broken)  # which asserts it


def test_broken_settings_power_the_vm_off_too(vm):
    vm.settings = {}
    vm.live()
    assert "@jennifer unknown end code=500" in vm.console.read_text()
