"""Which director looks after which endpoint: a lease that ends by itself when its holder does not renew it.

Times are those of the database's own clock, for the clocks of two directors' hosts differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, StoreError, again, changed, database_time
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Installation, Lease, UTCNow
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey


class Overtaken(StoreError):
    """Another director acted meanwhile, so what was decided may be wrong by now: nothing was recorded."""

    def __init__(self, what: str = "another director started VMs in this moment, perhaps for the same jobs"):
        super().__init__(what)


class LeaseLost(Overtaken):
    """The endpoints are not (or no longer) this director's."""

    def __init__(self, endpoints: Collection[EndpointKey]):
        super().__init__(f"another director may have {', '.join(map(str, sorted(endpoints)))} by now")


@dataclass(frozen=True)
class Claim:
    """What a director's decision to create VMs rests on: it is ``holder``, and saw demand when ``intents`` batches of
    intents had been recorded by all directors together."""

    holder: str
    intents: int


class Leases:
    """One row per endpoint. A row that is there stays there, so that two directors never wait for each other's gaps."""

    def __init__(self, database: Database):
        self._database = database

    @again
    def take(self, endpoints: Iterable[EndpointKey], holder: str, ttl: timedelta) -> frozenset[EndpointKey]:
        """Take or renew for ``ttl`` those of the endpoints that are free or the holder's own; returns these."""
        keys = sorted(set(endpoints))
        self._enter(keys)
        mine = _among(keys) & (Lease.holder == holder)
        with self._database.transaction() as session:
            now = database_time(session)
            free = or_(Lease.holder == holder, Lease.expires_at <= now)
            session.execute(update(Lease).where(_among(keys), free).values(holder=holder, expires_at=now + ttl))
            return frozenset(_keys(session, mine))

    @again
    def release(self, holder: str) -> None:
        """Free whatever the holder has, at once."""
        with self._database.transaction() as session:
            session.execute(update(Lease).where(Lease.holder == holder).values(expires_at=UTCNow()))

    def standing(self) -> dict[EndpointKey, str]:
        """Who has which endpoint now."""
        query = select(Lease.site, Lease.ce, Lease.holder).where(Lease.expires_at > UTCNow())
        with self._database.transaction() as session:
            return {EndpointKey(site, ce): holder for site, ce, holder in session.execute(query)}

    def claim(self, holder: str) -> Claim:
        """To be made before the VMs and the demand that a decision rests on are read."""
        with self._database.transaction() as session:
            return Claim(holder, session.scalar(select(Installation.intents)) or 0)

    def _enter(self, keys: Collection[EndpointKey]) -> None:
        while missing := sorted(set(keys) - self._known(keys)):
            try:
                with self._database.transaction() as session:
                    row = {"holder": "", "expires_at": database_time(session)}
                    session.execute(insert(Lease), [{"site": key.site, "ce": key.ce} | row for key in missing])
            except IntegrityError:
                continue  # another director entered one of them in the same moment

    def _known(self, keys: Collection[EndpointKey]) -> set[EndpointKey]:
        with self._database.transaction() as session:
            return _keys(session, _among(keys))


def hold_on(session: Session, claim: Claim | None, endpoints: Collection[EndpointKey]) -> None:
    """Let nobody else record intents, or take these endpoints, until the session's transaction ends.

    :raises LeaseLost: one of them is not the claimant's
    :raises Overtaken: another director recorded intents since the claim was made
    """
    counted = update(Installation).values(intents=Installation.intents + 1)
    if claim is None:
        session.execute(counted)
        return
    if not changed(session, counted.where(Installation.intents == claim.intents)):
        raise Overtaken
    held = _keys(session, _among(endpoints) & (Lease.holder == claim.holder) & (Lease.expires_at > UTCNow()), lock=True)
    if lost := set(endpoints) - held:
        raise LeaseLost(lost)


def _among(keys: Collection[EndpointKey]) -> ColumnElement[bool]:
    return tuple_(Lease.site, Lease.ce).in_([(key.site, key.ce) for key in keys])


def _keys(session: Session, where: ColumnElement[bool], lock: bool = False) -> set[EndpointKey]:
    query = select(Lease.site, Lease.ce).where(where)
    return {EndpointKey(*row) for row in session.execute(query.with_for_update() if lock else query)}
