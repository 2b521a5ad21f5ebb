"""What one endpoint's successive listings showed: the memory behind "gone" and "suspect"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Server
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation

# A cloud that shows no list for this long is still watched, or time-outs would never end where every other look fails;
# after a longer silence they begin anew. Longer than any pause that a cloud is given (``EndpointWorker``).
LONGEST_SILENCE = timedelta(minutes=10)


class ListingMemory:
    """Of one endpoint, in this process: a director that starts anew takes nothing for granted.

    ``since`` is since when its listings came without a break, None while they do not. ``suspect_since`` is since when
    they hold suspiciously few of the servers that the records know. ``lendable_since`` is by VO since when there is
    room that no other installation takes for it; a VO is not in it while it is not so. ``lacking`` are the servers that
    the last list does not hold and the one before it did, ``hidden`` the names of those that no live record knows.
    """

    def __init__(self) -> None:
        self.since: datetime | None = None
        self._last: datetime | None = None
        self.suspect_since: datetime | None = None
        self._missed: dict[str, int] = {}
        self._servers: tuple[Server, ...] = ()
        self.lacking: tuple[Server, ...] = ()
        self._strikes: dict[str, int] = {}
        self.hidden: frozenset[str] = frozenset()
        self._others: Mapping[str, Set[str]] | None = None
        self.lendable_since: dict[str, datetime] = {}

    def see(self, look: Observation | Exception, suspect: bool, records: Iterable[VMRecord], now: datetime) -> None:
        """Take in one look; one that failed neither counts a VM as missing nor clears it."""
        silence = self._last is not None and now - self._last > LONGEST_SILENCE
        if isinstance(look, Exception):
            if silence:
                self.since = None
            return
        # The clock may have been set back.
        self.since = now if silence or self.since is None else min(self.since, now)
        if silence:
            self._others = None
        self._last = now
        self.suspect_since = min(self.suspect_since or now, now) if suspect else None
        ids = {server.id for server in look.servers}
        self.lacking = tuple(server for server in self._servers if server.id not in ids)
        self._servers = look.servers
        listed = {server.identity.vm for server in look.servers if server.identity is not None}
        self._missed = {
            record.vm_id: 0 if record.vm_id in listed else self.missed(record.vm_id) + 1 for record in records
        }

    @property
    def last_seen(self) -> tuple[Server, ...]:
        """The servers of the last complete listing, and those that it lacks."""
        return (*self._servers, *self.lacking)

    def missed(self, vm: str) -> int:
        """Complete listings in a row that did not hold this VM."""
        return self._missed.get(vm, 0)

    def strike(self, strays: Iterable[Server]) -> None:
        """Take in which servers no live record knows, of those that a complete listing holds and of those it lacks."""
        lacking = {server.id for server in self.lacking}
        self._strikes = {server.id: self.strikes(server.id) + 1 for server in strays if server.id not in lacking}
        self.hidden = frozenset(server.name for server in strays if server.id in lacking)

    def strikes(self, server: str) -> int:
        """Complete listings in a row that held this server while no record knew it."""
        return self._strikes.get(server, 0)

    def watch_others(self, others: Mapping[str, Set[str]], vos: Iterable[str], room: bool, now: datetime) -> None:
        """Take in which servers (ids, by VO) of other installations a complete listing held, and whether there was
        room; ``vos`` are those that have a share."""
        known = self._others
        quiet = [vo for vo in vos if room and known is not None and others.get(vo, set()) <= known.get(vo, set())]
        self.lendable_since = {vo: self.lendable_since.get(vo, now) for vo in quiet}
        self._others = others
