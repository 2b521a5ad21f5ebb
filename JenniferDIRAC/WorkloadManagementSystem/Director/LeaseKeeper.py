"""One director's leases: taken at each cycle, renewed in between, given back at the end."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from JenniferDIRAC.WorkloadManagementSystem.DB.Leases import Claim, Leases
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

# When a director dies another one is to have its endpoints within a minute: its lease ends, and the other's next cycle,
# every 30 s, takes it. A database that is away for as long costs a cycle, nothing else.
LEASE_TTL = timedelta(seconds=25)
RENEW_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Holding:
    """What this director has now. ``gained``: what was not its own without a break; ``others``: who has the rest."""

    held: frozenset[EndpointKey]
    gained: frozenset[EndpointKey]
    others: Mapping[EndpointKey, str]


def _time_with_sleep() -> float:
    """Seconds that also go by while the host is suspended, other than those of ``time.monotonic``."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseKeeper:
    """Safe to use from several threads. ``clock`` in seconds: this host's, for how long a lease is surely held."""

    def __init__(
        self,
        leases: Leases,
        warn: Callable[[str], None],
        ttl: timedelta = LEASE_TTL,
        clock: Callable[[], float] = _time_with_sleep,
    ):
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._leases = leases
        self._warn = warn
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._held: frozenset[EndpointKey] = frozenset()
        self._until = 0.0
        self._patient_until = 0.0
        self._ended = threading.Event()

    def take(self, endpoints: Iterable[EndpointKey], patience: timedelta) -> Holding:
        """Take what can be had of these endpoints.

        :param patience: a cycle that takes longer hangs, and its leases are not renewed any more
        :raises StoreUnavailable: nobody knows who has what
        """
        endpoints = frozenset(endpoints)
        with self._lock:
            self._patient_until = self._clock() + patience.total_seconds()
            before = self._leases.standing()
            self._take(endpoints)
            held = self._held
        mine = frozenset(key for key in held if before.get(key) == self.holder)
        return Holding(held, held - mine, {key: before.get(key, "another director") for key in endpoints - held})

    def claim(self) -> Claim:
        """What the creates of a cycle rest on; to be made before the cycle reads anything."""
        return self._leases.claim(self.holder)

    def has(self, endpoint: EndpointKey) -> bool:
        """Whether nobody else can have the endpoint at this moment, without asking: this process may have slept."""
        return endpoint in self._held and self._clock() < self._until

    def keep(self) -> None:
        """Renew the leases from now on, however long a cycle takes, in a thread that does not keep the agent alive."""
        threading.Thread(target=self._renew_for_ever, name="leases", daemon=True).start()

    def release(self) -> None:
        """Give everything back at once, and renew nothing any more."""
        self._ended.set()
        with self._lock:
            self._held = frozenset()
            self._leases.release(self.holder)

    def renew(self) -> None:
        """Once, unless the cycle hangs."""
        with self._lock:
            if self._held and self._clock() < self._patient_until:
                self._take(self._held)

    def _take(self, endpoints: frozenset[EndpointKey]) -> None:
        asked_at = self._clock()
        self._held = self._leases.take(endpoints, self.holder, self._ttl)
        self._until = asked_at + self._ttl.total_seconds()

    def _renew_for_ever(self) -> None:
        while not self._ended.wait(RENEW_EVERY):
            try:
                self.renew()
            except Exception as error:  # the outermost loop of this thread; without renewal the leases end
                self._warn(f"The leases of the endpoints could not be renewed: {error}")
