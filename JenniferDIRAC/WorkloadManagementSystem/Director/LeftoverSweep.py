"""What our deleted servers left behind at a cloud, such as ports: found now and then, and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, CloudError, Leftover, Rejected
from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint, EndpointKey, Outcome

# A port too many costs little, a list of all ports costs a large project some seconds.
RHYTHM = timedelta(minutes=30)
LOOK_BACK = timedelta(days=1)
MAX_DELETED = 20


@dataclass(frozen=True)
class Swept:
    """What one sweep of an endpoint deleted, and what it could not; ``error`` is what ended it early."""

    endpoint: EndpointKey
    deleted: tuple[Leftover, ...]
    refused: tuple[tuple[Leftover, Rejected], ...] = ()
    error: CloudError | None = None


class LeftoverSweep:
    """Twice in a row, half an hour apart, something must belong to a server that was ours and is gone.

    What a cloud refuses to delete is told, and not tried again by this process.
    """

    def __init__(self, records: LiveRecords):
        self._records = records
        self._checked: dict[EndpointKey, datetime] = {}
        self._asked_of: dict[EndpointKey, frozenset[str]] = {}
        self._suspects: dict[EndpointKey, frozenset[Leftover]] = {}
        self._refused: set[Leftover] = set()

    def due(
        self, endpoints: Iterable[Endpoint], now: datetime
    ) -> Mapping[EndpointKey, Callable[[CloudEndpoint], Swept]]:
        """The sweeps to make now: where servers are gone that the last one did not ask of, or where it found something.

        A sweep is due until it has begun: an endpoint may be busy, or want to be left alone.

        :raises StoreUnavailable: it is not known which VMs ended
        """
        listed = {
            endpoint.key: {server.id for server in endpoint.servers}
            for endpoint in endpoints
            if endpoint.servers is not None and endpoint.suspect_since is None and self._is_time(endpoint.key, now)
        }
        if not listed:
            return {}
        gone: dict[EndpointKey, set[str]] = {key: set() for key in listed}
        for record in self._records.ends(now - LOOK_BACK):
            key = record.endpoint
            if record.outcome is Outcome.VANISHED:
                continue  # it may come back, with its pilot at work
            if key in listed and record.server_id and record.server_id not in listed[key]:
                gone[key].add(record.server_id)
        # By server, not by time: the records in memory are a cycle behind what was recorded in this one.
        news = {key for key in listed if self._suspects.get(key) or gone[key] - self._asked_of.get(key, frozenset())}
        self._checked |= dict.fromkeys(listed.keys() - news, now)
        return {key: partial(self._sweep, key, frozenset(gone[key]), now) for key in news}

    def _is_time(self, key: EndpointKey, now: datetime) -> bool:
        return key not in self._checked or abs(now - self._checked[key]) >= RHYTHM

    def _sweep(self, key: EndpointKey, gone: frozenset[str], now: datetime, cloud: CloudEndpoint) -> Swept:
        """In the endpoint's thread."""
        self._checked[key] = now
        found = [leftover for leftover in cloud.leftovers(gone) if leftover not in self._refused]
        self._asked_of[key] = gone
        before, self._suspects[key] = self._suspects.get(key, frozenset()), frozenset(found)
        deleted: list[Leftover] = []
        refused: list[tuple[Leftover, Rejected]] = []
        error = None
        for leftover in [each for each in found if each in before][:MAX_DELETED]:
            try:
                cloud.delete_leftover(leftover)
                deleted.append(leftover)
            except Rejected as refusal:
                refused.append((leftover, refusal))
                self._refused.add(leftover)
            except CloudError as failure:  # the next would fare no better
                error = failure
                break
        self._suspects[key] -= {*deleted, *self._refused}
        return Swept(key, tuple(deleted), tuple(refused), error)
