"""Logs, sent to the gateway in chunks, from where it has them."""

import os

from .Console import printable
from .Gateway import Away, OtherOffset, Refused

CHUNK_BYTES = 1024 * 1024
SMALLEST_CHUNK = 16 * 1024
PATIENCE = 3  # answers in a row that bring a log no further


class Log:
    """A file that may grow. ``refused``: why the gateway takes no more of it."""

    def __init__(self, label, path):
        self.label = label
        self.path = path
        self.offset = 0
        self.refused = ""

    def read(self, size):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read(size)
        except OSError:  # not there yet
            return b""

    def size(self):
        try:
            return os.path.getsize(self.path)
        except OSError:
            return 0


class Uploads:
    """The logs of this VM: ``paths`` by label."""

    def __init__(self, gateway, console, paths):
        self._gateway = gateway
        self._console = console
        self._logs = [Log(label, path) for label, path in paths.items()]
        self._chunk = CHUNK_BYTES

    def send(self, enough=lambda: False):
        """Send what the gateway does not have yet.

        :param enough: asked before every chunk, whether to leave the rest for later
        :raises Away: it takes no more for now
        """
        for log in self._logs:
            self._send(log, enough)

    def _send(self, log, enough):
        stuck = 0
        end = log.size()  # a pilot that writes faster than we send has to wait for the next time
        while not log.refused and log.offset < end and not enough():
            before, data = log.offset, log.read(self._chunk)
            try:
                log.offset = self._gateway.append(log.label, log.offset, data)
            except OtherOffset as error:
                log.offset = error.size
            except Refused as error:
                self._stop(log, str(error))
            except Away as error:
                if error.slow:
                    self._chunk = max(self._chunk // 2, SMALLEST_CHUNK)
                raise
            if not 0 <= log.offset <= log.size():
                self._stop(log, f"it says it has {log.offset} bytes, more than there are")
            stuck = stuck + 1 if log.offset <= before else 0
            if stuck >= PATIENCE:
                raise Away(f"log {log.label} gets no further than {log.offset} bytes")

    def _stop(self, log, reason):
        log.refused = printable(reason)
        self._console.note(f"the gateway takes no more of the log {log.label}: {reason}")
