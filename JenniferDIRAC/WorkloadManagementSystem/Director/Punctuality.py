"""Who keeps the others waiting: a cloud that hangs costs one deadline once, and then nobody's time but its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait

# A failure that took longer than this is a time-out of some kind: the next may take as long.
SLOW_FAILURE = 5.0  # seconds


class Punctuality:
    """Waits for the tasks of many endpoints, but not for those whose last task was late; seconds.

    An endpoint is punctual again when a task of its ends well within the deadline, whether or not anybody waited.
    """

    def __init__(self, deadline: float, clock: Callable[[], float] = time.monotonic):
        self._deadline = deadline
        self._clock = clock
        self._late: set[Hashable] = set()
        self._lock = threading.Lock()

    def wait(self, futures: Mapping[Hashable, Future]) -> None:
        """Return when all tasks of punctual endpoints have ended, at the latest after the deadline."""
        began = self._clock()
        for key, future in futures.items():
            future.add_done_callback(lambda done, key=key: self._ended(key, done, self._clock() - began))
        with self._lock:
            awaited = [future for key, future in futures.items() if key not in self._late]
        unfinished = wait(awaited, timeout=self._deadline).not_done
        with self._lock:
            self._late |= {key for key, future in futures.items() if future in unfinished and not future.done()}

    def _ended(self, key: Hashable, future: Future, seconds: float) -> None:
        with self._lock:
            if future.exception() is None and seconds <= self._deadline:
                self._late.discard(key)
            elif future.exception() is not None and seconds > SLOW_FAILURE:
                self._late.add(key)
