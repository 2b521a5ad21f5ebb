"""The heartbeat: tells the gateway how this VM is, and does what it answers."""

import os

from .Console import printable
from .Gateway import Away, Refused
from .Machine import under
from .Pauses import fraction, jittered
from .Vitals import running_payloads, vitals

DRAIN_FILE = "/var/lib/dirac_drain"  # the JobAgent takes no new job while it is there
INTERVAL = 300  # seconds
LEASE = 3600  # seconds without an answer, after which a VM without payload ends itself
MISSES = 3  # heartbeats that have to fail too: a machine that was paused for hours has not tried
SENDING = 60  # seconds for logs between two heartbeats
LEAVE = 20  # seconds for a request that is under way when the thread is to end


class Status:
    """What the rest of this program tells of itself; ``notes``: short texts by short names."""

    def __init__(self):
        self.phase = "boot"
        self.notes = {}
        self.log = None  # the PilotLog, from the pilot's start


class Heartbeat:
    """Beats in a thread of its own, the first time at once; every beat sends the logs too.

    :param stop: called with a reason when the VM has to end; again at every beat until ``close``
    :param work: the directory whose free disk counts
    """

    def __init__(self, gateway, uploads, status, settings, root, work, clock, console, stop, random=fraction):
        self._gateway = gateway
        self._uploads = uploads
        self._status = status
        self._interval = settings.get("heartbeat", INTERVAL)
        self._lease = settings.get("lease", LEASE)
        self._root = root
        self._work = work
        self._clock = clock
        self._console = console
        self._stop = stop
        self._random = random
        self._deadline = None  # on the monotonic clock
        self._misses = 0
        self._draining = False
        self._drain_file = ""  # the one that we made
        self._closing = None
        self._thread = None

    @property
    def deadline(self):
        """When to be off by, on the monotonic clock; None: the gateway named none."""
        return self._deadline

    def start(self):
        import threading

        self._closing = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def close(self):
        """No more of it, nor of its orders; waits for a request that is under way."""
        if self._thread:
            self._closing.set()
            self._thread.join(LEAVE)

    def run(self):
        while not self._closing.is_set():
            try:
                self.beat()
            except Exception as error:  # a thread that died would be taken for a dead VM
                self._console.note(f"heartbeat: {type(error).__name__}: {error}")
            self._clock.wait(self._closing, self.pause())

    def beat(self):
        """One heartbeat, what follows from it, and the logs."""
        if self.tell():
            latest = self._clock.monotonic() + SENDING
            try:
                self._uploads.send(lambda: self._closed() or self._clock.monotonic() >= latest)
            except Away:  # later, from where it is
                pass
        reason = self._reason_to_stop()
        if reason and not self._closed():
            self._stop(reason)

    def _closed(self):
        return self._closing is not None and self._closing.is_set()

    def tell(self):
        """Tell how this VM is, and heed the answer's ``drain`` and ``deadline``; whether there was one."""
        try:
            drain, left = self._gateway.heartbeat(self._report())
        except (Away, Refused) as error:
            self._misses += 1
            if self._misses == 1:
                self._console.note(f"the gateway is away: {error}")
            return False
        if self._misses:
            self._console.note("the gateway answers again")
        self._misses = 0
        self._deadline = None if left is None else self._clock.monotonic() + left
        self._drain(drain)
        return True

    def pause(self):
        """Seconds to the next beat: sooner when the deadline or the lease ends before."""
        now = self._clock.monotonic()
        ends = [self._gateway.last_answer + self._lease]
        if self._deadline is not None:
            ends.append(self._deadline)
        return min([jittered(self._interval, self._random)] + [end - now for end in ends if end > now])

    def _report(self):
        report = vitals(self._root, self._work)
        report["phase"] = self._status.phase
        report["jobs"] = running_payloads(self._root)
        report["notes"] = {name: printable(text) for name, text in list(self._status.notes.items())}
        log = self._status.log
        if log and log.jobs:
            report["notes"]["jobs"] = f"{log.jobs} received, {log.failed_payloads} failed"
        return report

    def _reason_to_stop(self):
        now = self._clock.monotonic()
        if self._deadline is not None and now >= self._deadline:
            return "reached the deadline that the gateway set"
        silent = now - self._gateway.last_answer
        if self._misses < MISSES or silent < self._lease:
            return ""
        if running_payloads(self._root):
            self._drain(True)  # the pilot ends when its payload does
            return ""
        return f"no answer from the gateway for {silent:.0f} s, and no payload"

    def _drain(self, wanted):
        """Make the drain file, or remove it: ours, not one that an operator has made."""
        if wanted == self._draining:
            return
        path = under(self._root, DRAIN_FILE)
        try:
            if wanted:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "x"):
                    self._drain_file = path
                os.chmod(path, 0o644)
            elif self._drain_file:
                os.unlink(self._drain_file)
                self._drain_file = ""
        except (FileExistsError, FileNotFoundError):
            pass
        except OSError as error:
            self._console.note(f"the drain file: {error}")
            return
        self._draining = wanted
        self._console.note("takes no new payload" if wanted else "takes payloads again")
