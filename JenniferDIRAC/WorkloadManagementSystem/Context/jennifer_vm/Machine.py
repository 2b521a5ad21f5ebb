"""This machine: its paths, its clock, its tools."""

import os
import time

TOOL_DIRECTORIES = ("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin")


class Clock:
    """Time, and this machine's clock."""

    def now(self):
        """Seconds since 1970, as this machine believes."""
        return time.time()

    def monotonic(self):
        return time.monotonic()

    def sleep(self, seconds):
        time.sleep(seconds)

    def wait(self, event, seconds):
        """Wait for an event, at most so long; whether it came."""
        return event.wait(seconds)

    def set(self, now):
        time.clock_settime(time.CLOCK_REALTIME, now)


class TrialClock(Clock):
    """For a life in a directory: the machine's clock is left alone."""

    def set(self, now):
        pass


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


def uptime():
    """Seconds since the kernel started."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


def read_text(path):
    """A file's text; "" if it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def find_tool(root, name):
    """The path of a program of this machine, or None."""
    for directory in TOOL_DIRECTORIES:
        path = os.path.join(under(root, directory), name)
        if os.access(path, os.X_OK):
            return path
    return None


def run_tool(command, seconds, text=""):
    """Run a program: its exit code (None: took too long, or did not start) and what it printed.

    :param text: for its standard input
    """
    import signal
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as words:
        words.write(text.encode())
        words.seek(0)
        try:
            # Files, not pipes: a child that hangs on a dead file system would hold these open.
            process = subprocess.Popen(
                command, stdin=words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return None, str(error)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = None
        output.seek(0)
        said = output.read(65536).decode("utf-8", "replace").strip()
        return code, said if code is not None else f"no end within {seconds} s {said}".strip()


def guard(root):
    """Let neither a reboot nor a lack of memory leave this machine on with nobody in charge of it.

    cloud-init starts us at an instance's first boot only; what it runs at every boot switches the machine off then.
    """
    if root == "/":
        spare("-900")
    per_boot = under(root, "/var/lib/cloud/scripts/per-boot")
    instance = under(root, "/var/lib/cloud/instance")
    try:
        now = os.readlink(instance)
        os.makedirs(per_boot, exist_ok=True)
        script = os.path.join(per_boot, "jennifer")
        with open(script, "w") as file:
            file.write(f'#!/bin/sh\n[ "$(readlink {instance})" = "{now}" ] && poweroff -f\n')
        os.chmod(script, 0o755)
    except OSError:  # no cloud-init, or a disk that cannot be written to
        pass


def spare(score):
    """How readily the kernel kills this process when memory runs out: -1000 (never) to 1000."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(score)
    except OSError:
        pass
