"""One endpoint's thread: a cloud that hangs keeps its own thread, and nobody else's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AuthenticationFailed,
    CloudEndpoint,
    CloudError,
    Rejected,
    Throttled,
    Unreachable,
)

# seconds
LONGEST_PAUSE = 300.0


class EndpointWorker:
    """Runs one task at a time against one endpoint, in a daemon thread that cannot keep the agent from ending."""

    def __init__(
        self, name: str, make_endpoint: Callable[[], CloudEndpoint], clock: Callable[[], float] = time.monotonic
    ):
        self._name = name
        self._make_endpoint = make_endpoint
        self._endpoint: CloudEndpoint | None = None
        self._clock = clock
        self._current: tuple[Future, str, float] | None = None
        self._pause: tuple[float, CloudError] | None = None

    def start(self, what: str, task: Callable[[CloudEndpoint], Any]) -> Future:
        """Begin ``task``; the future holds its value or its exception.

        While an earlier task still runs, or the cloud wants to be left alone, nothing is begun and the future says so.
        """
        future: Future = Future()
        if refusal := self.refusal:
            future.set_exception(refusal)
            return future
        self._current = (future, what, self._clock())
        thread = threading.Thread(target=self._run, args=(future, task), name=f"{self._name}: {what}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # this machine has too many
            future.set_exception(Unreachable(f"nothing was sent: {error}"))
        return future

    @property
    def busy(self) -> str:
        """What is under way, and for how long; "" when nothing is."""
        if self._current is None or self._current[0].done():
            return ""
        _, what, since = self._current
        return f"'{what}' for {self._clock() - since:.0f} s"

    @property
    def refusal(self) -> CloudError | None:
        """Why nothing can be begun now."""
        if busy := self.busy:
            return Unreachable(f"the cloud has not answered {busy}")
        if self._pause is None or self._clock() >= self._pause[0]:
            return None
        until, error = self._pause
        words = f"{error} (not tried for another {until - self._clock():.0f} s)"
        return Throttled(words) if isinstance(error, Throttled) else type(error)(words)

    def _run(self, future: Future, task: Callable[[CloudEndpoint], Any]) -> None:
        try:
            if self._endpoint is None:
                self._endpoint = self._make_endpoint()
            future.set_result(task(self._endpoint))
        except (AuthenticationFailed, Rejected, Throttled) as error:
            self.heed(error)
            future.set_exception(error)
        except Exception as error:  # the outermost loop of an endpoint's thread: the caller gets it with the future
            future.set_exception(error)
        except BaseException as error:  # a library that wants the process to end: that is no reason to end the caller
            future.set_exception(Unreachable(repr(error)))

    def heed(self, error: CloudError) -> None:
        """Leave the cloud alone for as long as it wants; mended configuration and credentials are read anew."""
        if isinstance(error, Throttled):
            seconds = min(error.retry_after or 0, LONGEST_PAUSE)
        else:
            self._endpoint = None
            # A log-in that fails in every cycle could lock the account, also for whoever is mending it.
            seconds = LONGEST_PAUSE if isinstance(error, AuthenticationFailed) else 0
        self._pause = (self._clock() + seconds, error)
