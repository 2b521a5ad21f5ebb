"""This VM's contact with the gateway, from the ticket's redemption to the farewell."""

from .Ends import Ended
from .Farewell import HOST_PATIENCE, LEAST_SECONDS, say_end, say_farewell
from .Heartbeat import LEASE, Heartbeat, Status
from .Uploads import Uploads


class Contact:
    """Heartbeats and logs while the pilot runs, and the end."""

    def __init__(self, gateway, settings, logs, root, work, clock, console, stop):
        self.status = Status()
        self._gateway = gateway
        self._lease = settings.get("lease", LEASE)
        self._clock = clock
        self._console = console
        self._uploads = Uploads(gateway, console, logs)
        self._heartbeat = Heartbeat(gateway, self._uploads, self.status, settings, root, work, clock, console, stop)
        self._heartbeat.start()

    def pilot_starts(self, log):
        self.status.log = log
        self.status.phase = "pilot"

    def end(self, code, reason, latest, interrupts):
        """Tell the gateway all; ``latest``, on the monotonic clock, ends the longest lifetime."""
        self.status.phase = "end"
        now = self._clock.monotonic()
        latest = max(latest, now + LEAST_SECONDS)
        if interrupts.host_asked:
            latest = now + HOST_PATIENCE
            say_end(self._gateway, code, reason)
        self._heartbeat.close()
        # One that hangs in a request, in spite of all time-outs, does not keep the machine on.
        interrupts.arm(latest - now + LEAST_SECONDS, "the gateway is slow")
        try:
            problem = say_farewell(
                self._gateway, self._heartbeat, self._uploads, code, reason, self._clock, self._lease, latest
            )
        except Ended as interrupt:
            problem = f"{interrupt}; {say_end(self._gateway, code, reason)}"
        finally:
            interrupts.ignore()
        if problem:
            self._console.note(f"the gateway does not have all: {problem}")
