"""The pilot as a process: run as its user, followed line by line, ended with all that it began."""

import os
import select
import time

from .Console import printable

MAX_LOG_BYTES = 64 * 1024 * 1024
MAX_ECHOED_LINES = 100  # of the pilot on the console, which clouds keep only the tail of
GRACE = 10  # seconds for one step of the end; what hangs longer, as on a dead file system, is left behind
MAX_LINE = 4096  # of what is looked at for meaning; a payload can write lines without end
KEPT_END = 64 * 1024  # bytes of an output's end that are kept where all of it is too much
LAST_WORDS = 10  # seconds for output that is still to be read when the pilot has ended


def run_pilot(command, work, environment, account, log, console, log_file, interrupts, alone=False):
    """Run the pilot as its user, and give its exit code.

    :param alone: whether the user is the pilot's alone, so that all that it has running ends with the pilot
    """
    import subprocess

    from .Machine import spare

    # Looked up here: between fork and exec there may be no thread left to release the name service's lock.
    groups = os.getgrouplist(account.pw_name, account.pw_gid)

    def become_pilot():
        if account.pw_uid != os.geteuid():
            spare("0")  # of the kernel, when memory runs out, not us but the payload
            os.setgroups(groups)
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
            end_group(process, interrupts)
            if alone and account.pw_uid != os.geteuid():
                end_user(account.pw_uid)


def follow(process, log, console, copy):
    """Read the pilot's output to its end, or for a while after the pilot's: a child of it may hold the output open."""
    output = process.stdout.fileno()
    rest, copied, echoed, data, latest, end = b"", 0, 0, b"more", None, b""
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
        else:
            end = (end + data)[-KEPT_END:]
        lines = (rest + data).split(b"\n")
        rest = lines.pop()[-65536:]
        for line in lines if data else [rest]:
            text = line[:MAX_LINE].decode("utf-8", "replace")
            if log.feed(text) and echoed < MAX_ECHOED_LINES:
                echoed += 1
                # Its own lines must not pass for ours.
                console.say("line", text=printable(text).replace("@jennifer", "@ jennifer"))
    if end:
        try:
            copy.write(b"\n[... what was too much is left out; the end:]\n" + end)
        except OSError:
            pass


def end_group(process, interrupts):
    """End what is left of the pilot's process group, without waiting for what cannot be ended."""
    import signal
    import subprocess

    interrupts.ignore()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except OSError:
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass


def end_user(uid):
    """Kill what the pilot's user has running still: a payload may have left the group."""
    import signal

    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat("/proc/" + name).st_uid == uid:
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass
