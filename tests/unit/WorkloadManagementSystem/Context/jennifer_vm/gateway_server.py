"""A gateway that follows the contract and fails as it is told: HTTPS on this host, its time a test's."""

import json
import re
from http.server import BaseHTTPRequestHandler

from pilot_server import HereServer, server_context

TICKET = "t" * 43
MAX_CHUNK = 1024 * 1024


class FakeClock:
    """Time that passes when somebody waits."""

    def __init__(self):
        self.passed = 0.0
        self.off = 0.0  # of the machine's clock
        self.waits = []
        self.when = []  # (seconds passed, function): what happens at a time

    def now(self):
        return 1_800_000_000 + self.passed + self.off

    def monotonic(self):
        return 5000 + self.passed

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.passed += seconds
        for item in [item for item in self.when if item[0] <= self.passed]:
            self.when.remove(item)
            item[1]()

    def wait(self, event, seconds):
        self.sleep(seconds)
        return event.is_set()

    def set(self, now):
        self.off = now - 1_800_000_000 - self.passed


class GatewayServer(HereServer):
    """What one VM's gateway knows. ``faults`` are (operation, what, times): an operation is redeem, heartbeat, end or
    logs; what is a status, ``cut`` (nothing happens) or ``lose`` (it happens, and the answer gets lost)."""

    def __init__(self, ca, directory, vm_id, clock, *names):
        self.vm_id, self.clock, self.ticket = vm_id, clock, TICKET
        self.session = None
        self.envelope = {"settings": {}, "credential": {"kind": "proxy", "pem": "hunter2\n"}}
        self.answer = {"drain": False, "deadline": None}
        self.heartbeats, self.logs, self.end, self.chunks, self.requests = [], {}, None, [], []
        self.room = 10**9  # bytes for each log
        self.away_until = 0.0  # seconds of the clock
        self.faults = []
        self.retry_after = ""
        super().__init__(type("Handler", (_Handler,), {"gateway": self}), server_context(ca, directory, *names))

    def fault_of(self, operation):
        for place, (where, what, times) in enumerate(self.faults):
            if where == operation:
                if times > 1:
                    self.faults[place] = (where, what, times - 1)
                else:
                    del self.faults[place]
                return what
        return None

    def handle(self, method, path, bearer, body):
        """A status and the JSON of an answer."""
        if path[0] == "redeem":
            asked = json.loads(body)
            if asked["ticket"] != self.ticket or self.session not in (None, asked["session"]):
                return 403, {"detail": "the ticket was refused"}
            self.session = asked["session"]
            return 200, {"envelope": self.envelope, "now": self.clock.now() - self.clock.off}
        if bearer != f"Bearer {self.session}":
            return 401, {"detail": "unknown"}
        if path[0] == "heartbeat":
            self.heartbeats.append(json.loads(body))
            return 200, {**self.answer, "now": self.clock.now() - self.clock.off}
        if path[0] == "end":
            self.end = self.end or json.loads(body)
            return 204, None
        return self._log(path[1], body)

    def _log(self, place, body):
        label, offset = re.fullmatch(r"([a-z][a-z0-9-]{0,31})\?offset=(\d+)", place).groups()
        log = self.logs.setdefault(label, bytearray())
        if int(offset) != len(log):
            return 409, {"size": len(log)}
        if len(body) > MAX_CHUNK or len(log) + len(body) > self.room:
            return 413, {"detail": "the log is full"}
        log += body
        self.chunks.append(len(body))
        return 200, {"size": len(log)}


class _Handler(BaseHTTPRequestHandler):
    gateway = None

    def log_message(self, *_):
        pass

    def _serve(self):
        gateway = self.gateway
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        prefix = f"/vm/v1/{gateway.vm_id}/"
        assert self.path.startswith(prefix)
        path = self.path.removeprefix(prefix).split("/", 1)
        gateway.requests.append((gateway.clock.passed, path[0]))
        fault = gateway.fault_of(path[0])
        if gateway.clock.passed < gateway.away_until:
            fault = 503
        if fault == "cut":
            return
        if isinstance(fault, int):
            answer = fault, {"detail": "as it was told"}
        else:
            answer = gateway.handle(self.command, path, self.headers.get("Authorization"), body)
        if fault != "lose":
            self._answer(*answer)

    def _answer(self, status, values):
        content = b"" if values is None else json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status in (301, 302, 307):
            self.send_header("Location", self.gateway.url + "/elsewhere")
        if self.gateway.retry_after:
            self.send_header("Retry-After", self.gateway.retry_after)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815
