"""What this machine has is used without waiting for what hangs."""

import threading
import time

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Machine import find_tool, run_tool, within


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
