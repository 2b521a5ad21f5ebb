"""The gateway's ear: uvicorn, with time-outs that it lacks for those who connect and say nothing, or little.

A silent client is cut off in each phase: before and in the TLS handshake (``asyncio``'s own time-out, made shorter),
until its request's headers are complete (here), between two requests (uvicorn's keep-alive), and in a request's body
(``Bounds``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import signal
import socket
import threading
import time
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from JenniferDIRAC.WorkloadManagementSystem.Gateway.Bounds import told_without_words
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import BadCertificate, HostCertificate

_MAX_HEADERS = 16 * 1024
_LOOK_FOR_CERTIFICATE = 60  # seconds
_GRACE = 20  # seconds for requests under way when the gateway is to end
_TELL_AGAIN = 60  # seconds
_OTHER_FILES = 256  # beside connections: the database's, logs, libraries


class PatientEnough(H11Protocol):
    """HTTP/1.1 that cuts a client off which takes longer than ``patience`` seconds for a request's headers, or than
    ``longest`` for the whole exchange: one that does not read its answer."""

    patience = 10.0
    longest = 180.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._cut: asyncio.TimerHandle | None = None
        self._exchange: tuple[Any, asyncio.TimerHandle] | None = None
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._exchange is not None:
            self._exchange[1].cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """The clock runs from the first byte of a request, or of what is left of the last one, and starts again only
        when a request's headers were complete."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
            if self._exchange is None or self._exchange[0] is not self.cycle:
                if self._exchange is not None:
                    self._exchange[1].cancel()
                self._exchange = self.cycle, self.loop.call_later(self.longest, self._end_exchange, self.cycle)
        elif self._cut is None:
            self._cut = self.loop.call_later(self.patience, self.transport.abort)

    def _end_exchange(self, cycle: Any) -> None:
        if not cycle.response_complete:
            self.transport.abort()

    def _unwatch(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class _Loop(asyncio.SelectorEventLoop):
    patience = PatientEnough.patience

    async def create_server(self, *args, **kwargs):
        kwargs |= {"ssl_handshake_timeout": self.patience, "ssl_shutdown_timeout": self.patience / 2}
        return await super().create_server(*args, **kwargs)


class Listener:
    """One application at one socket.

    :param log: with DIRAC's ``verbose``, ``notice``, ``warn`` and ``error``
    :param patience: seconds for a TLS handshake, and for a request's headers
    :param longest: seconds for a whole exchange, from the headers to the last byte of the answer
    """

    def __init__(
        self,
        app: FastAPI,
        certificate: HostCertificate,
        ear: socket.socket,
        max_connections: int,
        log: Any,
        patience: float = PatientEnough.patience,
        longest: float = PatientEnough.longest,
    ):
        self._certificate, self._ear, self._log, self._patience = certificate, ear, log, patience
        self._config = uvicorn.Config(
            app,
            http=type("Protocol", (PatientEnough,), {"patience": patience, "longest": longest}),
            ws="none",
            lifespan="off",
            ssl_context_factory=lambda *_: certificate.context,
            limit_concurrency=max_connections,
            h11_max_incomplete_event_size=_MAX_HEADERS,
            timeout_graceful_shutdown=_GRACE,
            callback_notify=self._renew,
            timeout_notify=_LOOK_FOR_CERTIFICATE,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
        )
        self.server = uvicorn.Server(self._config)
        for name in ("uvicorn.error", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [_Passed(log)], False
            logger.setLevel(logging.INFO)

    def listen(self) -> None:
        """Serve until ``stop``, or SIGTERM in the main thread."""

        def loop() -> asyncio.AbstractEventLoop:
            return type("Loop", (_Loop,), {"patience": self._patience})()

        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again when it has ended
                signal.signal(one, lambda *_: self.stop())
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(self.server.serve(sockets=[self._ear]))

    def stop(self) -> None:
        """From any thread: take no more connections, and end with the last request under way."""
        self.server.should_exit = True

    async def _renew(self) -> None:
        try:
            if self._certificate.renew():
                self._log.notice("The host's certificate was renewed")
        except BadCertificate as error:
            self._log.error("The host's certificate changed and cannot be used; the old one is used on", str(error))


def open_ear(port: int, host: str = "") -> socket.socket:
    """A listening socket; without ``host`` on all addresses, of IPv6 and IPv4 where the host has both.

    :raises OSError: the port is taken, or may not be used
    """
    ear = _ear(port, host)
    # asyncio does so for sockets of its own making only; without it every answer takes 40 ms more.
    ear.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ear


def _ear(port: int, host: str) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
    return socket.create_server((host, port))


def room_for(connections: int) -> int:
    """Let this process have so many connections, as far as the host lets it; how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, soft - _OTHER_FILES)


class _Passed(logging.Handler):
    """What the libraries log, to DIRAC's log: of an exception its kind and place only."""

    def __init__(self, log: Any):
        super().__init__()
        self._log, self._full_until = log, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            words = record.getMessage().strip()
            if record.exc_info and record.exc_info[1]:
                words = f"{words.splitlines()[0]}: {told_without_words(record.exc_info[1])}"
            if words.startswith("Exceeded concurrency"):
                return self._tell_full(time.monotonic())
            # Anybody can send what is no HTTP request, as often as they like.
            tell = self._log.error if record.levelno >= logging.ERROR else self._log.verbose
            tell(f"{record.name}: {words}")

    def _tell_full(self, now: float) -> None:
        if now >= self._full_until:
            self._log.warn("There are as many connections as MaxConnections allows", "others are told to come later")
            self._full_until = now + _TELL_AGAIN
