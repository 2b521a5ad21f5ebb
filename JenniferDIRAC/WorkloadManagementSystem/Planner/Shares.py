"""What a VO uses for its share of an endpoint, and whose turn it is there.

A VO that this director does not serve belongs to another installation on the same project. While it is further below
its share than ours, free room is left to it, until nobody has taken that room for a while. The VO with the lowest use
for its share never waits, so several directors never wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from datetime import datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint
from JenniferDIRAC.WorkloadManagementSystem.Planner.Places import Stop


class Shares:
    """The VOs' use of one endpoint in cores, by all installations. VOs are in lower case."""

    __slots__ = ("endpoint", "weights", "use", "lent_in", "_neediest")

    def __init__(
        self,
        endpoint: Endpoint,
        own: Mapping[str, int],
        served: Container[str],
        lend_after: timedelta,
        now: datetime,
    ):
        self.endpoint = endpoint
        self.weights = {vo.lower(): share for vo, share in endpoint.shares.items()}
        self.use = dict(own)
        for vo, cores in endpoint.others.items():
            self.use[vo.lower()] = self.use.get(vo.lower(), 0) + cores
        # Room that a VO did not take for long is lent, whatever the others take meanwhile.
        since = endpoint.lendable_since
        sharing = [vo for vo, share in self.weights.items() if share > 0 and vo not in served]
        kept = {vo: _lent_in(since.get(vo), lend_after, now) for vo in sharing}
        foreign = [(self.ratio(vo), vo) for vo, left in kept.items() if left != timedelta(0)]
        self._neediest = min(foreign, default=None)
        self.lent_in = kept[self._neediest[1]] if self._neediest else None

    def has_share(self, vo: str) -> bool:
        return not self.weights or self.weights.get(vo, 0) > 0

    def ratio(self, vo: str) -> float:
        """Cores in use per share; infinite for a VO without one, which uses only what is lent."""
        use = self.use.get(vo, 0)
        if not self.weights:
            return float(use)
        share = self.weights.get(vo, 0)
        return use / share if share > 0 else math.inf

    def started(self, vo: str, cores: int) -> None:
        self.use[vo] = self.use.get(vo, 0) + cores

    def stop(self, vo: str) -> Stop | None:
        """Whether the room here is left to a VO of another installation."""
        if self._neediest is None:
            return None
        ratio, foreign = self._neediest
        if ratio >= self.ratio(vo):
            return None
        key, lent = self.endpoint.key, ""
        if self.lent_in is not None:
            lent = f", lent in {math.ceil(self.lent_in.total_seconds())} s unless it is taken"
        return Stop(
            Limit.SHARE,
            f"{key}: left to {self._told(foreign)}, against {self._told(vo)}{lent}",
            self.lent_in,
            f"CEs/{key.ce}/Shares",
        )

    def _told(self, vo: str) -> str:
        return f"{vo} with {self.use.get(vo, 0)} cores in use for a share of {self.weights.get(vo, 0):g}"


def _lent_in(since: datetime | None, lend_after: timedelta, now: datetime) -> timedelta | None:
    """How long the room is still kept; zero when it is lent, None when no clock runs."""
    if since is None:
        return None
    age = now - since
    if age > lend_after:
        return timedelta(0)
    # More than lend_after is meant, and of a clock that was set back no more than that is waited for.
    return min(lend_after, lend_after - age) + timedelta(seconds=1)
