#!/usr/bin/env python3
"""jennifer-vm: runs one DIRAC pilot in this virtual machine, says why it ended, and powers the machine off.

One file, standard library only, Python 3.6 to 3.13, started as root by cloud-init. Whatever happens on the way, the
machine is switched off: a VM that stays up by accident costs its owner and serves nobody.

Modules are imported where they are needed: on a guest without hardware virtualisation ssl and urllib cost a second,
and the director waits for the first word.
"""

import json
import os
import re
import select
import sys
import time

SETTINGS = "/etc/jennifer/vm.json"
WORK_DIRECTORY = "/var/lib/jennifer/pilot"
LOG_FILE = "/var/log/jennifer/pilot.log"
HOSTS = "/etc/hosts"
ACTIVE_CONSOLES = "/sys/class/tty/console/active"
# Where cloud-init keeps user-data, or a configuration with user-data's files in it, for root alone to read.
CLOUD_INIT_COPIES = (
    "/var/lib/cloud/instances/*/user-data.txt*",
    "/var/lib/cloud/instances/*/cloud-config.txt",
    "/var/lib/cloud/instances/*/obj.pkl",
    "/var/lib/cloud/seed/*/user-data",
    "/run/cloud-init/instance-data-sensitive.json",
    "/run/cloud-init/combined-cloud-config.json",
)
DRIVES = ("/sys/class/block", "/sys/class/scsi_generic")
PILOT_FILES = ("pilot.json", "pilot.tar")
CHECKSUMS = "checksums.sha512"

FETCH_PAUSES = (5, 15, 45)  # seconds before the second, third and fourth round over all servers
FETCH_TIMEOUT = 20  # seconds without a byte
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_LOG_BYTES = 64 * 1024 * 1024
MAX_ECHOED_LINES = 100  # of the pilot on the console, which clouds keep only the tail of
POWER_OFF_PATIENCE = 30  # seconds for one way of switching off before the next is tried
GRACE = 10  # seconds for one step of the end; what hangs longer, as processes on a dead file system do, is left behind
LAST_WORDS = 10  # seconds for output that is still to be read when the pilot has ended
ALARM_AGAIN = 60  # seconds; an exception that a signal raises can get lost in code of Python that ignores exceptions

STOPPED, SUCCESS, NO_WORK, BANNED, BAD_NODE, BAD_VO, OTHER = 100, 200, 300, 400, 500, 600, 700  # HSF-TN-2016-04


class Ended(Exception):
    """This VM's end: an HSF code and a reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Console:
    """The serial console, where the director listens, and standard output."""

    def __init__(self, devices, vm_id="unknown"):
        self.devices = devices
        self.vm_id = vm_id

    def say(self, word, **values):
        text = "".join(f" {name}={json.dumps(value)}" for name, value in values.items())
        # It begins on a line of its own, whatever the kernel was just saying.
        line = f"\n@jennifer {self.vm_id} {word}{text}\n"
        for device in self.devices:
            try:
                # Not to wait for ever on a console that nobody reads.
                file = os.open(device, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK)
                try:
                    os.write(file, line.encode("ascii", "replace"))
                finally:
                    os.close(file)
            except OSError:
                pass
        try:
            if select.select([], [1], [], 0)[1]:
                os.write(1, line.encode("ascii", "replace"))
        except OSError:
            pass


class PilotLog:
    """What the pilot's output tells about why it stopped; fed line by line."""

    STOP = re.compile(r'JobAgent will stop with message "(.*)", execution complete')
    JOB = re.compile(r"JobAgent\b.* Received JobID=\d+")
    PAYLOAD_FAILED = re.compile(r"JobAgent\b.* Payload execution failed with error code")
    NO_MATCH = re.compile(r"JobAgent\b.* Job request OK, but no match found")
    REFUSED = re.compile(r"version mismatch|version .*not (?:matching|allowed)|\bbanned\b|not permitted", re.IGNORECASE)
    ERROR = re.compile(r"\b(?:ERROR|FATAL|[A-Z]\w*Error:)")
    STEP = re.compile(r"Command \w+ instantiated")

    def __init__(self):
        self.stop_message = None
        self.jobs = 0
        self.failed_payloads = 0
        self.no_match = False
        self.refused = ""
        self.last_error = ""

    def feed(self, line):
        """Take a line in; true when it is worth a line on the console."""
        stop = self.STOP.search(line)
        if stop:
            self.stop_message = stop.group(1)
        elif self.JOB.search(line):
            self.jobs += 1
        elif self.PAYLOAD_FAILED.search(line):
            self.failed_payloads += 1
        elif self.NO_MATCH.search(line):
            self.no_match = True
        elif self.ERROR.search(line):
            self.last_error = line.strip()
            if self.REFUSED.search(line):
                self.refused = line.strip()
        else:
            return bool(self.STEP.search(line))
        return True

    def verdict(self, exit_code):
        """The HSF code and reason for a pilot that ended by itself."""
        message = self.stop_message
        if message is None:
            if self.jobs:
                ok = exit_code == 0
                return (SUCCESS if ok else OTHER), f"the pilot ran {self.jobs} job(s), exit code {exit_code}"
            if self.refused:
                return BANNED, self.refused
            if exit_code == 0:
                return (NO_WORK, "no match found") if self.no_match else (OTHER, "the pilot said nothing of its end")
            error = self.last_error or "no error said"
            return BAD_NODE, f"the pilot ended before any job, exit code {exit_code}: {error}"
        if "drained by an operator" in message:
            return STOPPED, message
        if self.jobs:
            if self.failed_payloads >= self.jobs:
                return BAD_VO, f"{message} (all {self.jobs} payload(s) failed)"
            return SUCCESS, f"{message} (after {self.jobs} job(s))"
        if "No more time left" in message:
            return STOPPED, message
        if "Nothing to do" in message or "no match" in message.lower():
            return NO_WORK, message
        if self.refused or self.REFUSED.search(message):
            return BANNED, self.refused or message
        if "JDL Problem" in message:
            return BAD_VO, message
        return OTHER, message


def main(settings_path=SETTINGS, root="/", power_off=None, pause=time.sleep):
    """The whole life of this VM.

    :param root: stands for ``/`` in every path, so that all of this can be tried in a directory
    :param power_off: called last, whatever happened. Default: this machine is switched off
    :param pause: a sleep of so many seconds between attempts to fetch
    """
    console = Console(serial_consoles(root))
    code, reason, settings = OTHER, "jennifer-vm stopped without a reason", {}
    try:
        with open(settings_path) as file:
            settings = json.load(file)
        console.vm_id = settings["vm_id"]
        console.say("hello", time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), uptime=uptime())
        stop_on_signals(settings["max_lifetime"])
        code, reason = run(settings, console, root, pause)
    except Ended as end:
        code, reason = end.code, end.reason
    except BaseException as error:  # there is nobody above us who would switch the machine off
        code, reason = BAD_NODE, f"{type(error).__name__}: {error}"
    finally:
        try:
            ignore_signals()
            within(GRACE, remove_secrets, settings, root)
            # Twice, because the kernel may speak in the middle of one; the director wants one whole line.
            for _ in range(2):
                console.say("end", code=code, reason=printable(reason))
            within(GRACE, os.sync)
        finally:
            (power_off or switch_off)()
    return code


def run(settings, console, root, pause):
    """Everything from the first word to the pilot's end; gives its HSF code and reason."""
    work = under(root, WORK_DIRECTORY)
    add_hosts(under(root, HOSTS), settings["extra_hosts"])
    cert_dir = under(root, settings["cert_dir"])
    install_files(cert_dir, settings["trust_anchors"])
    account = pilot_account(settings["pilot_user"])
    os.makedirs(work, mode=0o755, exist_ok=True)
    os.chmod(work, 0o700)
    fetch_pilot(settings["pilot_file_urls"], work, cert_dir, pause)
    unpack(os.path.join(work, "pilot.tar"), work)
    environment = pilot_environment(settings, account, root)
    environment["X509_USER_PROXY"] = hand_over_proxy(settings["credential"], work, root)
    remove_cloud_init_copies(root)
    close_drives(root)
    give(work, account)
    free = os.statvfs(work)
    console.say("pilot-start", disk_mib=free.f_bavail * free.f_frsize >> 20)
    command = [sys.executable, "dirac-pilot.py"] + settings["pilot_argv"]
    log = PilotLog()
    exit_code = run_pilot(command, work, environment, account, log, console, under(root, LOG_FILE))
    console.say("pilot-end", exit=exit_code, jobs=log.jobs)
    return log.verdict(exit_code)


def within(seconds, function, *arguments):
    """What a function gives; None if it fails, or is left behind because it takes longer."""
    import threading

    results = []

    def work():
        try:
            results.append(function(*arguments))
        except Exception:  # the machine is switched off all the same
            pass

    try:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
    except RuntimeError:  # the payload has used up all processes
        return None
    thread.join(seconds)
    return results[0] if results else None


def under(root, path):
    """A path of the VM, below ``root``."""
    return path if root == "/" else os.path.join(root, path.lstrip("/"))


def printable(text, limit=200):
    """At most ``limit`` characters that no terminal acts upon."""
    return "".join(char if char.isprintable() else " " for char in str(text))[:limit]


def uptime():
    """Seconds since the kernel started."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


def serial_consoles(root):
    """The kernel's consoles that are serial lines (the cloud records these), else its main console."""
    try:
        with open(under(root, ACTIVE_CONSOLES)) as file:
            names = file.read().split()
    except OSError:
        names = []
    serial = [name for name in names if not re.match(r"tty\d*$", name)] or ["console"]
    return [under(root, "/dev/" + name) for name in serial]


def stop_on_signals(max_lifetime):
    """A stop by the host, or by the alarm after ``max_lifetime`` seconds, interrupts whatever is being done."""
    import signal

    stopping = []

    def stop(number, _frame):
        if number == signal.SIGALRM:
            raise Ended(STOPPED, f"reached its longest lifetime of {max_lifetime} s")
        if stopping:  # a host that asks twice must not interrupt what the first time began
            return
        stopping.append(number)
        raise Ended(STOPPED, f"asked to stop by the host (signal {number})")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, max_lifetime, ALARM_AGAIN)


def ignore_signals():
    """From here on nothing but the power-off ends us."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def add_hosts(path, lines):
    """Add lines to the hosts file that are not there yet."""
    try:
        with open(path) as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    missing = [line for line in lines if line not in text.splitlines()]
    if missing:
        with open(path, "a") as file:
            file.write("".join(line + "\n" for line in ([""] if text and not text.endswith("\n") else []) + missing))


def install_files(directory, files):
    """Write public files (CA certificates by their hash names) into a directory for all to read."""
    for name, text in files.items():
        if os.path.basename(name) != name or name.startswith("."):
            raise Ended(BAD_NODE, "a trust anchor has a name that is no file name")
        os.makedirs(directory, mode=0o755, exist_ok=True)
        with open(os.path.join(directory, name), "w") as file:
            file.write(text)
        os.chmod(os.path.join(directory, name), 0o644)


def fill_empty_directory(path):
    """Make a directory, with an empty file in it: the pilot stops without a word at an empty VOMS directory."""
    if path.startswith("/cvmfs/") or (os.path.isdir(path) and os.listdir(path)):
        return
    os.makedirs(path, mode=0o755, exist_ok=True)
    with open(os.path.join(path, "none"), "w"):
        pass


def pilot_account(name):
    """The account of the pilot's user, made when it is missing."""
    import pwd
    import subprocess

    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    command = ["useradd", "--create-home", "--shell", "/bin/bash", name]
    try:
        subprocess.check_call(command, stdin=subprocess.DEVNULL)
        return pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise Ended(BAD_NODE, f"cannot make the user {name}: {error}") from error


def fetch_pilot(urls, directory, cert_dir, pause):
    """Fetch the pilot's files into a directory from the first server that gives all of them whole."""
    problem = ""
    for seconds in (0,) + FETCH_PAUSES:
        if seconds:
            pause(seconds)
        context = tls_context(cert_dir)
        for url in urls:
            try:
                files = fetch_checked(url, context)
            except (OSError, ValueError) as error:  # URLError, SSLError and time-outs are OSErrors
                problem = f"{url}: {error}"
                continue
            for name, content in files.items():
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
            return
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    raise Ended(BAD_NODE, f"cannot fetch the pilot (clock {now} UTC); last: {problem}")


def tls_context(cert_dir):
    """Servers are trusted by the system's CAs and those of the grid's directory."""
    import ssl

    context = ssl.create_default_context()
    # Python 3.13 is stricter than RFC 5280 was when some of the grid's CAs began; all before it take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if os.path.isdir(cert_dir):
        context.load_verify_locations(capath=cert_dir)
    return context


def fetch_checked(url, context):
    """The pilot's files at one server, checked against the checksums published beside them.

    :raises OSError, ValueError: no connection, or files that do not agree
    """
    import hashlib

    expected = {}
    for line in fetch(url, CHECKSUMS, context).decode("ascii").splitlines():
        checksum, _, name = line.strip().partition("  ")
        expected[name] = checksum
    files = {}
    for name in PILOT_FILES:
        if name not in expected:
            raise ValueError(f"{CHECKSUMS} does not list {name}")
        files[name] = fetch(url, name, context)
        if hashlib.sha512(files[name]).hexdigest() != expected[name]:
            raise ValueError(f"{name} does not have the checksum of {CHECKSUMS}")
    return files


def fetch(url, name, context):
    """One file of a server.

    :raises OSError, ValueError: not reached, not found, or too large
    """
    from urllib.request import urlopen

    with urlopen(f"{url}/{name}", timeout=FETCH_TIMEOUT, context=context) as answer:
        content = answer.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{name} is too large")
    return content


def unpack(path, directory):
    """Unpack plain files and directories; anything that would land elsewhere is an error."""
    import tarfile

    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = member.name.split("/")
                if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
                    raise Ended(BAD_VO, f"pilot.tar: refused the member {printable(member.name)}")
                target = os.path.join(directory, *parts)
                os.makedirs(target if member.isdir() else os.path.dirname(target), exist_ok=True)
                if member.isfile():
                    with open(target, "wb") as file:
                        file.write(archive.extractfile(member).read())
                    os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
    except tarfile.TarError as error:
        raise Ended(BAD_VO, f"pilot.tar cannot be unpacked: {error}") from error
    if not os.path.isfile(os.path.join(directory, "dirac-pilot.py")):
        raise Ended(BAD_VO, "pilot.tar holds no dirac-pilot.py")


def pilot_environment(settings, account, root):
    """The pilot's environment: a log-in's few variables and what the director set."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "LANG": "C.UTF-8",
        # A pilot that dies takes what is in its buffer with it.
        "PYTHONUNBUFFERED": "yes",
    }
    environment.update(settings["pilot_env"])
    for name in ("X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES"):
        if name in environment:
            environment[name] = under(root, environment[name])
            fill_empty_directory(environment[name])
    return environment


def hand_over_proxy(credential, work, root):
    """Move the proxy from root's file to one of the pilot's, and give its path."""
    if credential.get("kind") != "proxy-file":
        raise Ended(BAD_NODE, "unknown kind of credential")
    source = under(root, credential["path"])
    with open(source, "rb") as file:
        content = file.read()
    path = os.path.join(work, "proxy.pem")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    shred(source)
    return path


def remove_cloud_init_copies(root):
    """Remove the copies of the user-data that cloud-init keeps: they hold the credential too.

    A payload that becomes root finds it in the seed drive still; and everybody in a metadata service, if there is one.
    """
    import glob

    for pattern in CLOUD_INIT_COPIES:
        for path in glob.glob(under(root, pattern)):
            shred(path)


def close_drives(root):
    """Let root alone read block devices, the seed drive among them: images put their users into groups that may."""
    for directory in DRIVES:
        directory = under(root, directory)
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            try:
                os.chmod(under(root, "/dev/" + name.replace("!", "/")), 0o600)
            except FileNotFoundError:
                pass


def remove_secrets(settings, root):
    """Remove every copy of the credential but the seed drive's."""
    path = settings.get("credential", {}).get("path")
    if path:
        shred(under(root, path))
    shred(os.path.join(under(root, WORK_DIRECTORY), "proxy.pem"))
    remove_cloud_init_copies(root)


def shred(path):
    """Overwrite and remove a file, if it is there; only remove what a payload has put in its place."""
    import stat

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "wb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                file.write(b"\0" * min(status.st_size, MAX_FILE_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        pass
    try:
        os.unlink(path)
    except OSError:
        pass


def give(directory, account):
    """Make a directory and all in it the pilot's."""
    if account.pw_uid == os.geteuid():
        return
    for parent, directories, files in os.walk(directory):
        for name in [parent] + [os.path.join(parent, name) for name in directories + files]:
            os.chown(name, account.pw_uid, account.pw_gid, follow_symlinks=False)


def run_pilot(command, work, environment, account, log, console, log_file):
    """Run the pilot as its user, and give its exit code."""
    import subprocess

    def become_pilot():
        if account.pw_uid != os.geteuid():
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        os.umask(0o077)

    os.makedirs(os.path.dirname(log_file), mode=0o700, exist_ok=True)
    with open(log_file, "wb") as copy:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=become_pilot,
            start_new_session=True,
        )
        try:
            follow(process, log, console, copy)
            return process.wait()
        finally:
            end_group(process)


def follow(process, log, console, copy):
    """Read the pilot's output to its end, or for a while after the pilot's: a child of it may hold the output open."""
    output = process.stdout.fileno()
    rest, copied, echoed, data, latest = b"", 0, 0, b"more", None
    while data:
        # Asked before the output is, so that its last words are there when it has ended.
        if latest is None and process.poll() is not None:
            latest = time.monotonic() + LAST_WORDS
        ready = select.select([output], [], [], 2)[0]
        if not ready and latest is None:
            continue
        data = os.read(output, 65536) if ready and (latest is None or time.monotonic() < latest) else b""
        if copied < MAX_LOG_BYTES:
            copied += len(data)
            try:
                copy.write(data)
                copy.flush()
            except OSError:  # a full disk is the payload's affair; the pilot goes on
                copied = MAX_LOG_BYTES
        lines = (rest + data).split(b"\n")
        rest = lines.pop()[-65536:]
        for line in lines if data else [rest]:
            text = line.decode("utf-8", "replace")
            if log.feed(text) and echoed < MAX_ECHOED_LINES:
                echoed += 1
                # Its own lines must not pass for ours.
                console.say("line", text=printable(text).replace("@jennifer", "@ jennifer"))


def end_group(process):
    """End what is left of the pilot's process group, without waiting for what cannot be ended."""
    import signal
    import subprocess

    ignore_signals()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except OSError:
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass


def switch_off(root="/", pause=time.sleep):
    """Switch the machine off: by systemd, without it, and by the kernel's magic key."""
    import signal
    import subprocess

    for command in (["systemctl", "poweroff", "--force"], ["poweroff", "-f"]):
        if within(POWER_OFF_PATIENCE, subprocess.call, command) == 0:
            # The machine's last act is to wait for whoever ignores SIGTERM.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            pause(POWER_OFF_PATIENCE)
    for path, value in (("/proc/sys/kernel/sysrq", "1"), ("/proc/sysrq-trigger", "o")):
        try:
            with open(under(root, path), "w") as file:
                file.write(value)
        except OSError:  # the first may be read-only and the second work all the same
            pass


if __name__ == "__main__":
    main()
