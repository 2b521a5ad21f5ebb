"""The VM records in a director's memory: after the first time only what was written since is read."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, RecentEnd, VMState

# A row's time is that of its statement, and it can be seen only when its transaction is over; none takes longer.
OVERLAP = timedelta(seconds=60)
# As a safety net everything is read anew so often.
READ_AFRESH_AFTER = timedelta(hours=1)


class LiveRecords:
    """Follows the store: what other directors and the admins' commands write comes in with the next ``read``.

    The VMs that ended are remembered for as long as ``ends`` was asked for, and up to ``read_afresh_after`` longer.
    """

    def __init__(
        self,
        store: VirtualMachineStore,
        overlap: timedelta = OVERLAP,
        read_afresh_after: timedelta = READ_AFRESH_AFTER,
    ):
        self._store = store
        self._overlap = overlap
        self._read_afresh_after = read_afresh_after
        self._live: dict[str, VMRecord] = {}
        self._ended: list[VMRecord] = []  # as _end_of orders them
        self._told: list[RecentEnd | None] = []  # what each of these tells
        self._ended_since: datetime | None = None
        self._sorted: tuple[VMRecord, ...] | None = ()
        self._read_at: datetime | None = None
        self._afresh_at: datetime | None = None

    def read(self, afresh: bool = False) -> tuple[VMRecord, ...]:
        """All VMs that have not ended, oldest first.

        :param afresh: read everything, not only what is new
        :raises StoreUnavailable: what is remembered stays as it was
        """
        at = self._store.clock()
        if afresh or self._is_stale(at):
            self._live = {record.vm_id: record for record in self._store.live()}
            self._ended, self._told, self._ended_since, self._sorted = [], [], None, None
            self._afresh_at = at
        else:
            for record in self._store.touched(self._read_at - self._overlap):
                self._take(record)
        self._read_at = at
        if self._sorted is None:
            self._sorted = tuple(sorted(self._live.values(), key=lambda record: (record.created_at, record.vm_id)))
        return self._sorted

    def forget(self) -> None:
        """What is remembered is wrong: the next ``read`` reads everything."""
        self._afresh_at = None

    def ends(self, since: datetime) -> tuple[VMRecord, ...]:
        """The VMs that ended at ``since`` or later, oldest end first, as far as the last ``read`` saw."""
        first = self._first_end(since)
        return tuple(self._ended[first:])

    def recent_ends(self, since: datetime) -> tuple[RecentEnd, ...]:
        """What those of ``ends`` tell of their VM types."""
        first = self._first_end(since)
        return tuple(filter(None, self._told[first:]))

    @property
    def last(self) -> tuple[VMRecord, ...]:
        """What the last ``read`` gave."""
        return self._sorted or ()

    @property
    def endpoints(self) -> frozenset[EndpointKey]:
        """Those that had live VMs at the last ``read``."""
        return frozenset(record.endpoint for record in self._live.values())

    def _is_stale(self, at: datetime) -> bool:
        if self._afresh_at is None or self._read_at is None:
            return True
        # The database's clock was set back, or it is another database server's.
        return at < self._read_at or at - self._afresh_at >= self._read_afresh_after

    def _first_end(self, since: datetime) -> int:
        """The place of the first end at ``since`` or later."""
        if self._ended_since is None or since < self._ended_since:
            self._ended = sorted(self._store.recent_ends(since), key=_end_of)
            self._told = [record.recent_end for record in self._ended]
            self._ended_since = since
        return bisect_left(self._ended, (since, ""), key=_end_of)

    def _take(self, record: VMRecord) -> None:
        if record.state is VMState.ENDED:
            if self._ended_since is not None and record.ended_at >= self._ended_since:
                self._take_end(record)
            if self._live.pop(record.vm_id, None) is not None:
                self._sorted = None
        elif self._live.get(record.vm_id) != record:
            self._live[record.vm_id] = record
            self._sorted = None

    def _take_end(self, record: VMRecord) -> None:
        place = bisect_left(self._ended, _end_of(record), key=_end_of)
        is_there = place < len(self._ended) and self._ended[place].vm_id == record.vm_id
        here = slice(place, place + is_there)
        if self._ended[here] != [record]:
            self._ended[here], self._told[here] = [record], [record.recent_end]


def _end_of(record: VMRecord) -> tuple[datetime, str]:
    return record.ended_at, record.vm_id
