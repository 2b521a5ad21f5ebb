"""What interrupts this program, whatever it is doing: the host, its longest lifetime, an order of the gateway."""

import os

from .Ends import STOPPED, Ended

ALARM_AGAIN = 60  # seconds; an exception that a signal raises can get lost in code of Python that ignores exceptions


class Interrupts:
    """Each raises ``Ended`` in the main thread, from ``arm`` to ``ignore``."""

    def __init__(self):
        self.host_asked = False
        self._order = ""

    def arm(self, seconds, reason):
        """Let the host and orders interrupt, and an alarm after so many seconds, with this reason."""
        import signal

        def stop(number, _frame):
            if number == signal.SIGALRM:
                raise Ended(STOPPED, reason)
            if number == signal.SIGUSR1:
                raise Ended(STOPPED, self._order)
            if self.host_asked:  # a host that asks twice must not interrupt what the first time began
                return
            self.host_asked = True
            raise Ended(STOPPED, f"asked to stop by the host (signal {number})")

        for number in self._signals():
            signal.signal(number, stop)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), ALARM_AGAIN)  # 0 would be no alarm at all

    def order(self, reason):
        """Interrupt the main thread, from any other; again and again, if need be."""
        import signal

        self._order = reason
        os.kill(os.getpid(), signal.SIGUSR1)

    def ignore(self):
        """From here on nothing but the power-off ends us."""
        import signal

        for number in self._signals():
            signal.signal(number, signal.SIG_IGN)

    @staticmethod
    def _signals():
        import signal

        return signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1
