"""The in-VM program, run for real in a directory: a real HTTPS server, a real process, another user."""

import ast
import getpass
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from pilot_server import CA, PilotServer

from JenniferDIRAC.WorkloadManagementSystem.Context import jennifer_vm
from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import load_trust_anchors
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import PilotLog

VM_ID = "a" * 32
PROXY = "-----BEGIN CERTIFICATE-----\nhunter2\n"
USER = "nobody" if os.geteuid() == 0 else getpass.getuser()
# The system's, because another user may have no way to one below somebody's home directory.
PYTHON = shutil.which("python3", path=os.defpath) or sys.executable
# What the program is in a VM, but for the power switch and for pauses, which it only tells.
DRIVER = """
import os, signal, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import jennifer_vm
root = sys.argv[2]
jennifer_vm.GRACE = jennifer_vm.LAST_WORDS = 1
exec(sys.argv[3])

def power_off():
    # The host may lose patience just now; that must not keep the machine up.
    os.kill(os.getpid(), signal.SIGTERM)
    open(root + "/powered-off", "w").close()

jennifer_vm.main(
    root + "/etc/jennifer/vm.json",
    root,
    power_off=power_off,
    pause=lambda seconds: print("pause", seconds, flush=True),
)
"""
JOB = "print('2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Received JobID=7, JobType=User, Owner=u')\n"


def stop(message):
    line = f'JobAgent will stop with message "{message}", execution complete.'
    return f"print('2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: {line}')\n"


NORMAL_END = JOB + stop("Nothing to do for more than 1 cycles")


def pythons():
    """Every Python of this host that the program has to run under."""
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(6, 14):
        path = shutil.which(f"python3.{minor}")
        # A version manager's shim may be there without the version.
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            found.setdefault((3, minor), path)
    return [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in sorted(found.items())]


@pytest.fixture(scope="module")
def ca():
    return CA("CA of the pilot server")


@pytest.fixture
def server(ca, tmp_path):
    server = PilotServer(ca, tmp_path)
    server.publish(NORMAL_END)
    yield server
    server.close()


@pytest.fixture
def vm(ca, server, tmp_path):
    # Not below tmp_path, into which no other user may look.
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    (tmp_path / "ca.pem").write_text(ca.pem)
    yield VM(root, server, load_trust_anchors(tmp_path / "ca.pem"))
    shutil.rmtree(root)


class VM:
    """A directory that stands for a VM's disk, as cloud-init leaves it."""

    def __init__(self, root, server, trust_anchors):
        self.root = root
        self.settings = {
            "vm_id": VM_ID,
            "pilot_argv": ["-N", "ours", "-o", "two words"],
            "pilot_env": {
                "PILOT_UUID": "jennifer://ours/1",
                "X509_CERT_DIR": "/etc/grid-security/certificates",
                "X509_VOMS_DIR": "/etc/grid-security/vomsdir",
                "X509_VOMSES": "/etc/grid-security/vomses",
            },
            "pilot_file_urls": [server.url],
            "pilot_user": USER,
            "credential": {"kind": "proxy-file", "path": "/etc/jennifer/proxy.pem"},
            "cert_dir": "/etc/grid-security/certificates",
            "trust_anchors": trust_anchors,
            "extra_hosts": ["10.0.2.2 dirac.here.org"],
            "max_lifetime": 60,
        }
        self.console = self.file("dev/ttyS0", "")
        self.file("sys/class/tty/console/active", "tty0 ttyS0\n")
        self.file("etc/hosts", "127.0.0.1 localhost\n")
        self.proxy = self.file("etc/jennifer/proxy.pem", PROXY, 0o600)
        self.copies = [
            self.file(path, PROXY, 0o600)
            for path in (
                "var/lib/cloud/instances/i-1/user-data.txt",
                "var/lib/cloud/instances/i-1/user-data.txt.i",
                "var/lib/cloud/instances/i-1/cloud-config.txt",
                "var/lib/cloud/instances/i-1/obj.pkl",
                "var/lib/cloud/seed/nocloud/user-data",
                "run/cloud-init/instance-data-sensitive.json",
                "run/cloud-init/combined-cloud-config.json",
            )
        ]
        self.pilot_directory = root / "var/lib/jennifer/pilot"

    def file(self, path, text, mode=0o644):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def start(self, python=PYTHON, environment=None, broken=""):
        """Run the program; ``broken`` is Python that puts something out of order before."""
        self.file("etc/jennifer/vm.json", json.dumps(self.settings))
        command = [python, "-c", DRIVER, jennifer_vm.__file__, str(self.root), broken]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def live(self, python=PYTHON, environment=None, broken=""):
        """The whole life, and what it printed."""
        output, _ = self.start(python, environment, broken).communicate(timeout=60)
        assert self.powered_off
        return output

    @property
    def powered_off(self):
        return (self.root / "powered-off").exists()

    @property
    def said(self):
        return parse_console(self.console.read_text(), VM_ID).said

    @property
    def log(self):
        return (self.root / "var/log/jennifer/pilot.log").read_text()


def wait_for(process, word):
    """The first line of the program's output with this word."""
    return next(line for line in process.stdout if word in line)


def is_dead(pid):
    """Gone, or a zombie that nobody has reaped."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


# The whole life


@pytest.mark.parametrize("python", pythons())
def test_a_vm_runs_its_pilot_tells_its_end_and_powers_off(vm, python):
    vm.settings["pilot_user"] = getpass.getuser()
    output = vm.live(python)
    words = [line.split()[2] for line in vm.console.read_text().splitlines() if line.startswith("@jennifer")]
    assert words[:2] == ["hello", "pilot-start"], output
    assert words[-3:] == ["pilot-end", "end", "end"]
    assert (vm.said.code, vm.said.reason) == (200, "Nothing to do for more than 1 cycles (after 1 job(s))")
    assert parse_console(output, VM_ID).said == vm.said


def test_the_pilot_runs_as_its_user_with_its_arguments_and_environment(vm, server):
    server.publish(
        "import json, os, sys\n"
        "umask = os.umask(0)\n"
        "proxy = os.environ['X509_USER_PROXY']\n"
        "print(json.dumps([os.getuid(), sys.argv[1:], dict(os.environ), umask, open(proxy).read(), "
        "os.stat(proxy).st_mode & 0o777, os.stat(proxy).st_uid, os.listdir('.'), sys.stdin.read(), os.getpgrp() == "
        "os.getpid(), [os.listdir(os.environ[n]) for n in ('X509_VOMS_DIR', 'X509_VOMSES')]]))\n"
    )
    vm.live()
    uid, argv, environment, umask, proxy, mode, owner, files, stdin, leads, voms = json.loads(vm.log)
    account = pwd.getpwnam(USER)
    assert (uid, owner) == (account.pw_uid, account.pw_uid)
    assert argv == vm.settings["pilot_argv"]
    assert environment["PILOT_UUID"] == "jennifer://ours/1"
    assert (environment["USER"], environment["HOME"]) == (USER, account.pw_dir)
    assert (umask, mode) == (0o077, 0o600)
    assert proxy == PROXY
    assert {"dirac-pilot.py", "pilot.json", "pilot.tar"} <= set(files)
    assert stdin == ""
    assert leads
    assert all(voms)


def test_nothing_of_the_director_s_environment_reaches_the_pilot(vm, server):
    server.publish("import os\nprint(sorted(os.environ))\n")
    vm.live(environment={**os.environ, "LEAKED": "1"})
    assert "LEAKED" not in vm.log


def test_no_copy_of_the_credential_is_left(vm):
    vm.live()
    left = [path for path in vm.root.rglob("*") if path.is_file() and "hunter2" in path.read_text(errors="replace")]
    assert left == []
    assert not vm.proxy.exists()
    assert not any(path.exists() for path in vm.copies)


def test_root_has_no_second_copy_while_the_pilot_runs(vm, server):
    # Who may not look into a directory is told that nothing is there.
    server.publish("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    process = vm.start()
    wait_for(process, "pilot-start")
    assert [path for path in (vm.proxy, *vm.copies) if path.exists()] == []
    process.terminate()
    process.communicate(timeout=60)


def test_the_pilot_cannot_read_the_drive_that_the_proxy_came_with(vm):
    for sort, name in (("block", "sr0"), ("block", "cciss!c0d0"), ("scsi_generic", "sg0"), ("block", "gone")):
        vm.file(f"sys/class/{sort}/{name}", "")
    drives = [vm.file(f"dev/{name}", PROXY, 0o664) for name in ("sr0", "cciss/c0d0", "sg0")]
    other = vm.file("dev/null", "", 0o666)
    vm.live()
    assert vm.said.code == 200
    assert [stat.S_IMODE(path.stat().st_mode) for path in (*drives, other)] == [0o600, 0o600, 0o600, 0o666]


@pytest.mark.parametrize("make", ["os.symlink({other!r}, proxy)", "os.mkfifo(proxy)", "os.mkdir(proxy)"])
def test_what_a_payload_puts_in_the_place_of_its_proxy_leads_root_nowhere(vm, server, make):
    other = vm.file("etc/precious", "precious")
    make = make.format(other=str(other))
    server.publish(f"import os\nproxy = os.environ['X509_USER_PROXY']\nos.unlink(proxy)\n{make}\n" + NORMAL_END)
    vm.live()
    assert vm.said.code == 200
    assert other.read_text() == "precious"


def test_hosts_and_trust_anchors_are_installed(vm):
    vm.live()
    assert (vm.root / "etc/hosts").read_text() == "127.0.0.1 localhost\n10.0.2.2 dirac.here.org\n"
    for name, text in vm.settings["trust_anchors"].items():
        assert (vm.root / "etc/grid-security/certificates" / name).read_text() == text


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


# Ends that are asked for


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
jennifer_vm.ALARM_AGAIN = 1
class Deaf:
    def __del__(self):
        __import__("time").sleep(2)
def run(*arguments):
    Deaf()
    return real_run(*arguments)
real_run, jennifer_vm.run = jennifer_vm.run, run
"""
    vm.live(broken=deaf)
    assert vm.said.code == 100


@pytest.mark.parametrize(
    "broken",
    [
        "jennifer_vm.remove_secrets = lambda *_: __import__('time').sleep(3600)",
        "os.sync = lambda: __import__('time').sleep(3600)",
        "jennifer_vm.remove_secrets = None",
        "jennifer_vm.printable = None",
    ],
    ids=["a hung file", "a hung disk", "a mistake", "another mistake"],
)
def test_the_machine_is_switched_off_whatever_hangs_or_fails_at_the_end(vm, broken):
    vm.live(broken=broken)  # which asserts it


class Unkillable:
    """What a process on a dead file system looks like; ``pid`` is that of one that is gone by its own doing."""

    def __init__(self):
        self.pid = 2**22 + 1  # above the kernel's largest
        self.waits = []

    def wait(self, timeout=None):
        assert timeout is not None, "this would wait for ever"
        self.waits.append(timeout)
        raise subprocess.TimeoutExpired("pilot", timeout)


def test_nobody_waits_for_a_process_that_cannot_be_killed(monkeypatch):
    sent, process = [], Unkillable()
    monkeypatch.setattr(os, "killpg", lambda _, number: sent.append(number))
    monkeypatch.setattr(jennifer_vm, "ignore_signals", lambda: None)
    jennifer_vm.end_group(process)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    assert len(process.waits) == 2


# Everything that may be wrong ends in a word and the power switch


def test_broken_settings_power_the_vm_off_too(vm):
    vm.settings = {}
    vm.live()
    assert "@jennifer unknown end code=500" in vm.console.read_text()


def test_a_server_that_is_down_is_passed_over(vm):
    vm.settings["pilot_file_urls"].insert(0, "https://localhost:1")
    assert "pause" not in vm.live()
    assert vm.said.code == 200


def test_no_server_at_all_is_told_after_several_rounds(vm):
    vm.settings["pilot_file_urls"] = ["https://localhost:1"]
    assert [line for line in vm.live().splitlines() if "pause" in line] == ["pause 5", "pause 15", "pause 45"]
    assert vm.said.code == 500
    assert "cannot fetch the pilot" in vm.said.reason
    assert "https://localhost:1" in vm.said.reason


def test_a_server_that_no_ca_vouches_for_is_not_trusted(vm, tmp_path):
    (tmp_path / "other.pem").write_text(CA("Another CA").pem)
    vm.settings["trust_anchors"] = load_trust_anchors(tmp_path / "other.pem")
    vm.live()
    assert vm.said.code == 500
    assert "certificate" in vm.said.reason.lower()
    assert not (vm.pilot_directory / "dirac-pilot.py").exists()


@pytest.mark.parametrize("name", ["pilot.tar", "pilot.json"])
def test_a_file_that_was_changed_on_the_way_is_not_run(vm, server, name):
    with (server.directory / name).open("ab") as file:
        file.write(b"\0")
    vm.live()
    assert vm.said.code == 500
    assert f"{name} does not have the checksum" in vm.said.reason
    assert not (vm.root / "var/log/jennifer/pilot.log").exists()


def test_a_file_without_a_checksum_is_not_run(vm, server):
    (server.directory / "checksums.sha512").write_text("")
    vm.live()
    assert "does not list pilot.json" in vm.said.reason


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("/tmp/evil"),
        member("a/../../evil"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "dirac-pilot.py"),
        member("device", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_an_archive_that_reaches_outside_is_refused(vm, server, evil):
    server.publish(NORMAL_END, (evil,))
    vm.live()
    assert vm.said.code == 600
    assert "refused the member" in vm.said.reason


def test_a_user_that_cannot_be_made_is_told(vm):
    vm.settings["pilot_user"] = "no-such-user"
    vm.live(environment={"PATH": "/nonexistent"})
    assert vm.said.code == 500
    assert "cannot make the user no-such-user" in vm.said.reason


def test_a_trust_anchor_is_written_nowhere_else(vm):
    vm.settings["trust_anchors"] = {"../../evil": "x"}
    vm.live()
    assert vm.said.code == 500
    assert not (vm.root / "etc/evil").exists()


def test_a_credential_of_an_unknown_kind_is_told(vm):
    vm.settings["credential"] = {"kind": "ticket"}
    vm.live()
    assert vm.said.reason == "unknown kind of credential"


@pytest.fixture
def power_commands(tmp_path, monkeypatch):
    """A function that sets the exit code of stand-ins for systemctl and poweroff, which write down their use."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)

    def exit_with(code):
        for command in ("systemctl", "poweroff"):
            script = tmp_path / command
            script.write_text(f'#!/bin/sh\necho {command} "$@" >> {tmp_path}/tried\nexit {code}\n')
            script.chmod(0o755)

    yield exit_with
    signal.signal(signal.SIGTERM, before)


def test_every_way_of_switching_off_is_tried_at_once_when_the_one_before_fails(tmp_path, power_commands):
    power_commands(1)
    pauses = []
    jennifer_vm.switch_off(root=str(tmp_path), pause=pauses.append)
    assert (tmp_path / "tried").read_text() == "systemctl poweroff --force\npoweroff -f\n"
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"
    assert pauses == []


def test_the_kernels_key_is_pressed_though_its_permission_cannot_be_given(tmp_path, power_commands):
    power_commands(1)
    (tmp_path / "proc/sys/kernel/sysrq").mkdir()
    jennifer_vm.switch_off(root=str(tmp_path), pause=lambda _: None)
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"


def test_a_command_that_hangs_is_not_waited_for(tmp_path, power_commands, monkeypatch):
    power_commands(1)
    monkeypatch.setattr(jennifer_vm, "POWER_OFF_PATIENCE", 0.1)
    (tmp_path / "systemctl").write_text("#!/bin/sh\n/bin/sleep 3\n")
    jennifer_vm.switch_off(root=str(tmp_path), pause=lambda _: None)
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"


def test_a_machine_that_goes_down_need_not_wait_for_us(tmp_path, power_commands):
    power_commands(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seen = []
    jennifer_vm.switch_off(root=str(tmp_path), pause=lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
    assert seen == [signal.SIG_DFL, signal.SIG_DFL]


# Why a pilot stopped

RECEIVED = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Received JobID=7, JobType=User, Owner=u"
FAILED = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent INFO: Payload execution failed with error code 1"
NO_MATCH = "2026-11-20 12:00:00 UTC WorkloadManagement/JobAgent NOTICE: Job request OK, but no match found No match"


def stopped(message):
    return f'… WorkloadManagement/JobAgent INFO: JobAgent will stop with message "{message}", execution complete.'


@pytest.mark.parametrize(
    ("lines", "exit_code", "code"),
    [
        ([stopped("Node is being drained by an operator")], 0, 100),
        ([RECEIVED, stopped("Node is being drained by an operator")], 0, 100),
        ([stopped("No more time left")], 0, 100),
        ([RECEIVED, stopped("No more time left")], 0, 200),
        ([RECEIVED, stopped("Nothing to do for more than 1 cycles")], 0, 200),
        ([RECEIVED, stopped("Filling Mode is Disabled")], 0, 200),
        ([RECEIVED], 0, 200),
        ([RECEIVED], 1, 700),
        ([stopped("Nothing to do for more than 1 cycles")], 0, 300),
        ([NO_MATCH], 0, 300),
        ([stopped("Pilot version mismatch")], 0, 400),
        (["2026 UTC WorkloadManagement/JobAgent ERROR: Pilot version mismatch: 9.0 is not 9.1"], 1, 400),
        ([], 1, 500),
        ([RECEIVED, FAILED, stopped("Error during a payload execution")], 0, 600),
        ([RECEIVED, RECEIVED, FAILED, stopped("Error during a payload execution")], 0, 200),
        ([stopped("JDL Problem")], 0, 600),
        ([stopped("something new")], 0, 700),
        ([], 0, 700),
    ],
)
def test_the_hsf_code_follows_from_the_pilots_log(lines, exit_code, code):
    log = PilotLog()
    for line in lines:
        log.feed(line)
    found, reason = log.verdict(exit_code)
    assert found == code
    assert reason


def test_lines_of_a_payload_are_no_words_of_the_job_agent():
    log = PilotLog()
    log.feed("my job prints Received JobID=5 and Payload execution failed with error code 1")
    assert (log.jobs, log.failed_payloads) == (0, 0)


# The file itself


def test_the_program_is_python_3_6():
    ast.parse(Path(jennifer_vm.__file__).read_text(), feature_version=(3, 6))


def test_the_program_needs_nothing_but_the_standard_library():
    tree = ast.parse(Path(jennifer_vm.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_first_word_waits_for_no_slow_import():
    tree = ast.parse(Path(jennifer_vm.__file__).read_text())
    at_start = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert at_start == {"json", "os", "re", "select", "sys", "time"}


def test_the_work_directory_is_the_pilots_alone(vm):
    vm.live()
    assert stat.S_IMODE(vm.pilot_directory.stat().st_mode) == 0o700
    assert vm.pilot_directory.stat().st_uid == pwd.getpwnam(USER).pw_uid
