"""A real gateway on a real socket with TLS, its database a SQLite file, and VMs that speak to it.

As a program, ``python gateway_world.py DIRECTORY``, it is a gateway that can be killed.
"""

import http.client
import json
import os
import secrets
import socket
import ssl
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, event

from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest, new_ticket, seal
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts, Step, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Application import Parts, make_app
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Listener import Listener, open_ear
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import MIB, LogStore, Quotas
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Orders import LifeLimits
from JenniferDIRAC.WorkloadManagementSystem.Planner.Lifecycle import TRANSITIONS
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState, VMTypeKey
from lab.common.certificates import make_certificates

HOUR = timedelta(hours=1)
ENVELOPE = {"settings": {"lease": 3600}, "credential": {"kind": "proxy", "pem": "a very secret proxy"}}
WIDE = Quotas(64 * MIB, 16, 128 * MIB, 1024 * MIB)


class Log:
    """DIRAC's log, kept."""

    def __init__(self):
        self.lines = []

    def _keep(self, level):
        def tell(*words):
            self.lines.append((level, " ".join(map(str, words))))

        return tell

    def __getattr__(self, level):
        if level not in ("verbose", "notice", "warn", "error"):
            raise AttributeError(level)
        return self._keep(level)

    def of(self, level):
        return [line for kind, line in self.lines if kind == level]

    def text(self):
        return "\n".join(line for _, line in self.lines)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, at=0.0):
        self.at = at

    def __call__(self):
        return self.at


class World:
    """One gateway and its database, in ``root``.

    :param away: while true, the database is where nobody finds it
    """

    def __init__(
        self,
        root,
        certificates,
        quotas=WIDE,
        rate=1024 * MIB,
        limits=None,
        chunk_time=HOUR,
        patience=10.0,
        most=500,
        longest=HOUR,
    ):
        self.root, self.certificates = root, certificates
        self.database = root / "vm.db"
        engine = create_engine(f"sqlite:///{self.database}")
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        self.store = VirtualMachineStore(engine)
        self.log, self.clock, self.limits = Log(), Clock(), limits or LifeLimits()
        self.logs = LogStore(root / "logs", quotas, rate, clock=self.clock)
        parts = Parts(self.store.sessions, self.logs, lambda: self.limits, self.log, time.time, chunk_time)
        self.app = make_app(parts)
        self.ear = open_ear(0, "127.0.0.1")
        self.port = self.ear.getsockname()[1]
        self.certificate = HostCertificate(certificates / "hostcert.pem", certificates / "hostkey.pem")
        self.listener = Listener(
            self.app, self.certificate, self.ear, most, self.log, patience, longest.total_seconds()
        )

    def __enter__(self):
        self._thread = threading.Thread(target=self.listener.listen)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.listener.stop()
        self._thread.join(30)
        self.store._engine.dispose()

    def database_away(self):
        self.store._engine.dispose()
        self.database.rename(self.root / "away.db")
        self.database.mkdir()

    def database_back(self):
        self.database.rmdir()
        (self.root / "away.db").rename(self.database)

    def tls(self):
        return ssl.create_default_context(cafile=self.certificates / "certificates" / "lab-ca.pem")

    def raw(self):
        """A TLS connection for whatever bytes."""
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        return self.tls().wrap_socket(plain, server_hostname="localhost")

    def ask(self, method, path, body=None, token="", headers=None):
        """One request on a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(), timeout=20)
        try:
            return asked(connection, method, path, body, token, headers)
        finally:
            connection.close()

    def vm(self, state=VMState.RUNNING, valid_for=HOUR):
        """A VM with a ticket that it did not redeem yet."""
        return VM(self, state, valid_for)

    def guest(self, **what):
        """A VM in its session."""
        vm = self.vm(**what)
        assert vm.redeem().status == 200
        return vm


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


def asked(connection, method, path, body=None, token="", headers=None):
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if isinstance(body, dict):
        body, headers["Content-Type"] = json.dumps(body), "application/json"
    connection.request(method, path, body, headers)
    return Answer(connection.getresponse())


class VM:
    def __init__(self, world, state, valid_for):
        self.world = world
        self.id, self.ticket, self.session = make_vm(world.store, state, valid_for)

    def redeem(self, **other):
        body = {"ticket": self.ticket, "session": self.session} | other
        return self.world.ask("POST", f"/vm/v1/{self.id}/redeem", body)

    def beat(self, **what):
        return self.ask("POST", "heartbeat", {"phase": "pilot"} | what)

    def end(self, code=200, reason=""):
        return self.ask("POST", "end", {"code": code, "reason": reason})

    def put(self, data, offset=0, label="pilot", **others):
        return self.ask("PUT", f"logs/{label}?offset={offset}", data, **others)

    def size(self, label="pilot"):
        return self.ask("GET", f"logs/{label}")

    def ask(self, method, what, body=None, token=None, headers=None):
        token = self.session if token is None else token
        return self.world.ask(method, f"/vm/v1/{self.id}/{what}", body, token, headers)

    def go(self, *states):
        for state in states:
            record = self.world.store.get(self.id)
            assert self.world.store.move(self.id, record.state, state, now(), "a test", outcome=Outcome.WORKED)

    @property
    def record(self):
        return self.world.store.get(self.id)

    @property
    def known(self):
        return self.world.store.sessions.guest(self.id)


def now():
    return datetime.now(UTC)


def make_vm(store, state=VMState.RUNNING, valid_for=HOUR):
    """A VM's id, ticket and session."""
    vm_id, ticket = uuid.uuid4().hex, new_ticket()
    key = VMTypeKey("CLOUD.GRIF.fr", "grif", "el9")
    store.record_intents([Intent(vm_id, key, "belle", 1, 2048, 1, f"cloud://grif/{vm_id}", "0" * 32)], now())
    way = {VMState.PLANNED: ()}
    while state not in way:
        way |= {b: (*way[a], (a, b)) for a, b in sorted(TRANSITIONS) if a in way and b not in way}
    for source, target in way[state]:
        store.move_all([Step(vm_id, source, target, now(), "on its way", facts=Facts(outcome=Outcome.WORKED))])
    store.sessions.keep(vm_id, digest(ticket.reveal()), seal(ticket, ENVELOPE), valid_for)
    return vm_id, ticket.reveal(), secrets.token_urlsafe(32)


def certificates_in(directory):
    make_certificates(directory, directory / "users", (), "IP:127.0.0.1,DNS:localhost")
    return directory


def main(directory):
    """Tells its port on standard output."""
    root = Path(directory)
    world = World(root, root / "security", patience=1)
    print(world.port, flush=True)
    world.listener.listen()


if __name__ == "__main__":
    os.environ.setdefault("DIRAC_NO_CFG", "1")
    main(sys.argv[1])
