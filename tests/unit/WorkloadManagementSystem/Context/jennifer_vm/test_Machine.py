"""What this machine has is used without waiting for what hangs."""

import subprocess
import threading
import time

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Machine import find_tool, guard, run_tool, within


def test_a_tool_gives_its_exit_code_and_words():
    assert run_tool(["sh", "-c", "cat; echo error >&2; exit 3"], 10, "words\n") == (3, "words\nerror")


def test_a_tool_that_hangs_is_left_with_its_children():
    began = time.monotonic()
    code, said = run_tool(["sh", "-c", "echo begun; sleep 60 & wait"], 0.2)
    assert (code, said) == (None, "no end within 0.2 s begun")
    assert time.monotonic() - began < 5


def test_a_tool_that_cannot_be_started_says_why():
    code, said = run_tool(["/nonexistent"], 1)
    assert code is None
    assert "No such file" in said


def test_tools_are_found_where_root_has_them_and_must_be_executable(tmp_path):
    path = tmp_path / "sbin/nft"
    path.parent.mkdir()
    path.write_text("")
    assert find_tool(str(tmp_path), "nft") is None
    path.chmod(0o755)
    assert find_tool(str(tmp_path), "nft") == str(path)


def test_what_fails_or_takes_too_long_gives_nothing():
    assert within(5, lambda: 7) == 7
    assert within(5, lambda: 1 / 0) is None
    assert within(0.05, threading.Event().wait) is None


def test_a_vm_that_is_booted_again_switches_itself_off(tmp_path):
    instances = tmp_path / "var/lib/cloud/instances"
    instances.mkdir(parents=True)
    instance = tmp_path / "var/lib/cloud/instance"
    instance.symlink_to(instances / "i-1")
    guard(str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/poweroff").write_text(f"#!/bin/sh\necho $* >{tmp_path}/off\n")
    (tmp_path / "bin/poweroff").chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    def boot():
        subprocess.run([tmp_path / "var/lib/cloud/scripts/per-boot/jennifer"], env=environment, check=False)
        return (tmp_path / "off").exists()

    instance.unlink()
    instance.symlink_to(instances / "i-2")  # the disk has got new user-data: another VM
    assert not boot()
    instance.unlink()
    instance.symlink_to(instances / "i-1")
    assert boot()
    assert (tmp_path / "off").read_text() == "-f\n"


def test_a_machine_without_cloud_init_is_left_alone(tmp_path):
    guard(str(tmp_path))
    assert not list(tmp_path.rglob("jennifer"))
