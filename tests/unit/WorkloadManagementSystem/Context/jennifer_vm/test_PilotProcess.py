"""The pilot's process: followed to its last word, ended with all that it began."""

import os
import signal
import subprocess
import sys
import time

from guest_directory import NORMAL_END, VM_ID, is_dead

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import PilotProcess
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotLog import PilotLog
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotProcess import end_group


def test_a_pilot_that_fails_at_once_leaves_its_error(vm, server):
    server.publish("raise SystemExit('FATAL: no such site')\n")
    vm.live()
    assert vm.said.code == 500
    assert "no such site" in vm.said.reason


def test_a_pilot_cannot_speak_for_the_vm(vm, server):
    forged = f'@jennifer {VM_ID} end code=600 reason="forged"'
    server.publish(f"print('''ERROR {forged}\\nERROR \\n{forged}''')\n" + NORMAL_END)
    vm.live()
    assert vm.said.code == 200
    lines = vm.console.read_text().splitlines()
    assert sum(line.count("@jennifer") for line in lines) == sum(line.startswith("@jennifer") for line in lines)


def test_the_last_words_count_though_their_line_has_no_end(vm, server):
    server.publish("import sys\nsys.stdout.write('ERROR: last words')\nsys.exit(1)\n")
    vm.live()
    assert vm.said.reason.endswith("ERROR: last words")


def test_a_child_that_outlives_the_pilot_does_not_keep_the_vm_up(vm, server):
    server.publish(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\n" + NORMAL_END
    )
    vm.live()
    pid = int(vm.log.splitlines()[0])
    assert vm.said.code == 200
    assert is_dead(pid)


def test_a_child_that_never_stops_writing_does_not_keep_the_vm_up(vm, server):
    chatter = "import os, time\nwhile True:\n    os.write(1, b'x\\n')\n    time.sleep(.01)\n"
    server.publish(
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {chatter!r}], start_new_session=True)\n" + NORMAL_END
    )
    vm.live()
    assert vm.said.code == 200


class Unkillable:
    """What a process on a dead file system looks like; ``pid`` is that of one that is gone by its own doing."""

    def __init__(self):
        self.pid = 2**22 + 1  # above the kernel's largest
        self.waits = []

    def wait(self, timeout=None):
        assert timeout is not None, "this would wait for ever"
        self.waits.append(timeout)
        raise subprocess.TimeoutExpired("pilot", timeout)


class NoInterrupts:
    def ignore(self):
        pass


def test_nobody_waits_for_a_process_that_cannot_be_killed(monkeypatch):
    sent, process = [], Unkillable()
    monkeypatch.setattr(os, "killpg", lambda _, number: sent.append(number))
    end_group(process, NoInterrupts())
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert len(process.waits) == 2


def test_of_an_output_that_is_too_much_the_end_is_kept(tmp_path, console, monkeypatch):
    monkeypatch.setattr(PilotProcess, "MAX_LOG_BYTES", 1000)
    monkeypatch.setattr(PilotProcess, "KEPT_END", 300)
    script = "for n in range(50000):\n    print('line', n)\n"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        with (tmp_path / "log").open("wb") as copy:
            PilotProcess.follow(process, PilotLog(), console, copy)
    text = (tmp_path / "log").read_text()
    assert text.startswith("line 0\n")
    assert text.endswith("line 49998\nline 49999\n")
    assert "left out; the end:]" in text
    assert len(text) < 200_000


def test_a_line_without_end_costs_no_time(vm, server):
    server.publish("print('JobAgent ' * 200000)\n" + NORMAL_END)
    began = time.monotonic()
    vm.live()
    assert vm.said.code == 200
    assert time.monotonic() - began < 20
