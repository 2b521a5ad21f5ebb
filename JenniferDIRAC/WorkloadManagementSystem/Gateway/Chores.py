"""What a gateway does beside answering, each in a thread of its own, so that one that hangs delays no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreError, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Bounds import told_without_words
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import BadCertificate, HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import LogStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Orders import LifeLimits
from JenniferDIRAC.WorkloadManagementSystem.Gateway.PilotOutputs import PilotOutputs

_ASKED_AT_ONCE = 500
_RENEW_BEFORE = timedelta(days=14)


@dataclass(frozen=True)
class Chore:
    name: str
    every: timedelta
    do: Callable[[], None]


class Chores:
    """Carries each chore out at once, and again and again until ``stop``. A failure costs one turn."""

    def __init__(self, chores: Collection[Chore], log: Any):
        self._chores, self._log = tuple(chores), log
        self._stopped = threading.Event()

    def start(self) -> None:
        for chore in self._chores:
            threading.Thread(target=self._keep_at, args=(chore,), name=chore.name, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _keep_at(self, chore: Chore) -> None:
        failed = False
        while not self._stopped.is_set():
            failed = self.turn(chore, failed)
            self._stopped.wait(chore.every.total_seconds())

    def turn(self, chore: Chore, failed: bool = False) -> bool:
        """Whether it failed now; told when it begins to fail, and when it is over."""
        tell = self._log.verbose if failed else self._log.warn
        try:
            chore.do()
        except (StoreError, ConfigError, BadCertificate) as error:
            tell(f"{chore.name} failed, and is tried again", str(error))
        except Exception as error:  # a chore that ended with its thread would be missed by nobody
            tell(f"{chore.name} failed, and is tried again", told_without_words(error))
        else:
            if failed:
                self._log.notice(f"{chore.name} works again")
            return False
        return True


class Limits:
    """The director's time-outs as its section of the CS last had them."""

    def __init__(self, read: Callable[[], DirectorConfig]):
        self._read = read
        self._now = LifeLimits()

    def __call__(self) -> LifeLimits:
        return self._now

    def renew(self) -> None:
        """:raises ConfigError: the director's section cannot be used; what stood goes on"""
        config = self._read()
        self._now = LifeLimits(config.drain_timeout, config.max_lifetime)


def chores_of(
    store: VirtualMachineStore,
    logs: LogStore,
    limits: Limits,
    outputs: PilotOutputs,
    certificate: HostCertificate,
    keep: timedelta,
    name: str,
    log: Any,
) -> tuple[Chore, ...]:
    """All that a gateway does.

    :param keep: how long an ended VM's logs are kept
    :param name: this gateway's, host and port
    """

    def clear() -> None:
        cleared = logs.clear(lambda vm_ids: over(store, vm_ids), keep)
        if cleared.vms:
            log.notice(f"The logs of {cleared.vms} VMs were deleted; {cleared.left >> 20} MiB are left")
        for problem in cleared.problems:
            log.warn("Logs", problem)

    def here() -> None:
        certificate.left(datetime.now(UTC))
        store.sessions.here(name)

    def look_at_certificate() -> None:
        left = certificate.left(datetime.now(UTC))
        if left < _RENEW_BEFORE:
            log.warn("The host's certificate", f"ends in {left.days} days: no VM can talk to the gateway then")

    return (
        Chore("Saying that the gateway is there", timedelta(seconds=30), here),
        Chore("Looking at the host's certificate", timedelta(hours=12), look_at_certificate),
        Chore("Giving DIRAC the pilots' output", timedelta(seconds=15), outputs.hand_over),
        Chore("Reading the director's time-outs", timedelta(minutes=5), limits.renew),
        Chore("Forgetting old envelopes and sessions", timedelta(minutes=10), store.sessions.purge),
        Chore("Clearing old logs", timedelta(minutes=10), clear),
    )


def over(store: VirtualMachineStore, vm_ids: Collection[str]) -> frozenset[str]:
    """Those of these VMs that have ended, or that nobody knows any more.

    :raises StoreUnavailable: the database does not answer
    """
    ids = tuple(vm_ids)
    alive: set[str] = set()
    for begin in range(0, len(ids), _ASKED_AT_ONCE):
        some = ids[begin : begin + _ASKED_AT_ONCE]
        alive |= store.known(some) - {record.vm_id for record in store.ended(some)}
    return frozenset(ids) - alive
