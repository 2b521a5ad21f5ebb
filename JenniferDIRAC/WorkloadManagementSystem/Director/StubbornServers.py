"""Servers that are still there though their cloud was asked to delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Collect, Delete
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VirtualMachine
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Words import lasting

# A cloud's people mend such a server in hours; asked in every cycle, the deletes would only fill its logs.
ASK_EVERY = timedelta(minutes=10)
TELL_EVERY = timedelta(hours=1)
_FORGET_AFTER = timedelta(days=1)


class StubbornServers:
    """After ``delete_timeout`` they are asked for every ten minutes, and told of once an hour. In this process: a
    director that starts anew asks and tells at once.
    """

    def __init__(self, warn: Callable[[str], None]):
        self._warn = warn
        self._since: dict[str, datetime] = {}
        self._asked: dict[str, datetime] = {}
        self._told: dict[str, datetime] = {}

    def to_send(
        self, deletes: Iterable[Delete], vms: Iterable[VirtualMachine], policy: Policy, now: datetime
    ) -> list[Delete]:
        """Those deletes whose time it is."""
        doomed = {delete.vm: delete for delete in deletes}
        since = self._since = {vm: at for vm, at in self._since.items() if vm in doomed or now - at < _FORGET_AFTER}
        for vm in vms:
            delete = doomed.get(vm.id)
            if delete is None or now - since.setdefault(vm.id, now) <= policy.delete_timeout:
                continue
            server = delete.server_id
            words = f"VM {vm.id}: its server {server} at {delete.endpoint} is still there more than "
            words += f"{lasting(policy.delete_timeout)} after it was to be deleted; ask the cloud's people"
            self._tell(server, words, now)
            if _is_due(self._asked, server, ASK_EVERY, now):
                self._asked[server] = now
            else:
                del doomed[vm.id]
        self._asked = {server: at for server, at in self._asked.items() if now - at < TELL_EVERY}
        return list(doomed.values())

    def tell_of(self, collects: Iterable[Collect], now: datetime) -> None:
        """A line for each server that is deleted without a record, for nobody else would know."""
        for collect in collects:
            self._tell(
                collect.server_id, f"{collect.endpoint}: server {collect.server_id} is deleted: {collect.reason}", now
            )

    def _tell(self, server: str, words: str, now: datetime) -> None:
        if _is_due(self._told, server, TELL_EVERY, now):
            self._told = {each: at for each, at in self._told.items() if now - at < TELL_EVERY} | {server: now}
            self._warn(words)


def _is_due(last: dict[str, datetime], server: str, rhythm: timedelta, now: datetime) -> bool:
    """Also when a clock was set back."""
    return server not in last or not timedelta(0) <= now - last[server] < rhythm
