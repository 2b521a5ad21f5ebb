"""A proxy before a real service that records every request and makes some go wrong, as told."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"})


@dataclass(frozen=True)
class Seen:
    """A request that came; ``path`` has the query with it."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """An answer in place of the service's own; with ``forward`` the service is asked all the same."""

    status: int
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    forward: bool = False


@dataclass(frozen=True)
class Drop:
    """The connection breaks without an answer."""

    forward: bool = False


@dataclass(frozen=True)
class Hang:
    """No answer ever; ``forwarded`` is set as soon as the service has answered."""

    forward: bool = False
    forwarded: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Change:
    """The service's answer with another body."""

    change: Callable[[bytes], bytes]


Fault = Answer | Drop | Hang | Change


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    fault: Fault
    left: int
    where: Callable[[Seen], bool]

    def fits(self, seen: Seen) -> bool:
        return self.method == seen.method and self.path.search(seen.path) is not None and self.where(seen)


class FaultyProxy:
    """``url`` takes the place of the service's address.

    :param upstream: scheme, host and port of the real service
    """

    def __init__(self, upstream: str):
        self.upstream = urlsplit(upstream)
        self.requests: list[Seen] = []
        self._faults: list[_Rule] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens at the address any more, and all connections end."""
        if not self.over.is_set():
            self.over.set()
            self._server.shutdown()
            self._server.server_close()
            with self._lock:
                for each in self._open:
                    _end(each)

    def fail(
        self, method: str, path: str, fault: Fault, times: int = 1, where: Callable[[Seen], bool] = lambda seen: True
    ) -> None:
        """The next ``times`` requests whose path a regular expression finds have the fault, after those told before."""
        self._faults.append(_Rule(method, re.compile(path), fault, times, where))

    def seen(self, method: str, path: str = "") -> list[Seen]:
        return [each for each in self.requests if each.method == method and re.search(path, each.path)]

    def take(self, seen: Seen) -> Fault | None:
        """Record a request; its fault, if it has one."""
        with self._lock:
            self.requests.append(seen)
            for rule in self._faults:
                if rule.left and rule.fits(seen):
                    rule.left -= 1
                    return rule.fault
        return None

    def connected(self, client: socket.socket, yes: bool) -> None:
        with self._lock:
            (self._open.add if yes else self._open.discard)(client)


def _end(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # Headers and body go out in two writes, and the second must not wait for the first one's acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.proxy.connected(self.connection, True)

    def finish(self) -> None:
        self.proxy.connected(self.connection, False)
        super().finish()

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.take(Seen(self.command, self.path, body, dict(self.headers.items())))
        match fault:
            case Answer(forward=True) | Drop(forward=True) | Hang(forward=True):
                self._ask(body)
        match fault:
            case None:
                self._reply(*self._ask(body))
            case Answer():
                self._reply(fault.status, {"Content-Type": "application/json", **fault.headers}, fault.body.encode())
            case Change():
                status, headers, answer = self._ask(body)
                self._reply(status, headers, fault.change(answer))
            case Hang():
                fault.forwarded.set()
                self.proxy.over.wait()
                self.close_connection = True
            case Drop():
                _end(self.connection)
                self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.proxy.upstream.hostname or "", self.proxy.upstream.port, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in (*_HOP_BY_HOP, "host")}
        try:
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            upstream.close()

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: what was asked stands in ``requests``."""
