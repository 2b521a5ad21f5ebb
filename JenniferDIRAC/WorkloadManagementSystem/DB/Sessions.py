"""The VMs' sessions with the gateway: tickets, who redeemed them, heartbeats, and whether a gateway is there at all.

Of tickets and sessions only digests are kept, and a VM's envelope only sealed, and only until the VM has it. Times are
those of the database's own clock: directors and gateways run on different hosts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, StoreError, again, changed, database_time
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import VM, Gateway, GatewaySession, UTCNow
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

#: A gateway that did not say for so long that it is there is away.
GATEWAY_SILENCE = timedelta(seconds=90)
_OVER = (VMState.DELETING, VMState.ENDED)
_LAST_LOGS = timedelta(minutes=5)
_KEPT_FOR = timedelta(days=30)


class TicketRefused(StoreError):
    """A ticket was not redeemed. ``str()`` tells an operator why; whoever brought it is told nothing."""


class NoTicket(TicketRefused):
    """There is no such VM: anybody can make up an id."""


@dataclass(frozen=True)
class SessionState:
    """What a request of a VM is judged by. ``digest`` "": it did not redeem its ticket."""

    digest: str
    state: VMState
    since: datetime
    created_at: datetime


@dataclass(frozen=True)
class Guest:
    """What the gateway knows of one VM. ``heartbeat`` is the VM's own word: untrusted."""

    expires_at: datetime
    redeemed_at: datetime | None = None
    redeemed_from: str = ""
    refusals: int = 0
    refused_at: datetime | None = None
    refused_from: str = ""
    refused_why: str = ""
    heartbeat: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pilot:
    """A VM, and its pilot as DIRAC knows it."""

    vm_id: str
    reference: str


class Sessions:
    def __init__(self, database: Database):
        self._database = database

    @again
    def keep(self, vm_id: str, ticket: str, sealed: bytes, valid_for: timedelta) -> None:
        """Keep a new VM's ticket, as its digest, with the VM's sealed envelope."""
        with self._database.transaction() as session:
            expires_at = database_time(session) + valid_for
            session.execute(
                insert(GatewaySession),
                [{"vm_id": vm_id, "ticket": ticket, "sealed": sealed, "expires_at": expires_at}],
            )

    @again
    def redeem(self, vm_id: str, ticket: str, digest: str, address: str) -> bytes:
        """Begin the VM's session, and give its sealed envelope. It may be asked for again in the same session as long
        as the VM has not shown that it got it.

        :param ticket, digest: the digests of the ticket and of the session that begins
        :param address: of whoever brings them
        :raises TicketRefused: noted with the VM, if there is one
        """
        with self._database.transaction() as session:
            now = database_time(session)
            state = session.scalar(select(VM.state).where(VM.vm_id == vm_id))
            if state is not None and state not in _OVER:
                mine = update(GatewaySession).where(GatewaySession.vm_id == vm_id, GatewaySession.ticket == ticket)
                # Of two at once only one finds it without a session.
                fresh = mine.where(GatewaySession.digest == "", GatewaySession.expires_at > now)
                if changed(session, fresh.values(digest=digest, redeemed_at=now, redeemed_from=address)):
                    first = func.coalesce(VM.first_word_at, now)
                    session.execute(update(VM).where(VM.vm_id == vm_id).values(first_word_at=first))
            # As it is now: a transaction that waited for another one reads what was before it else.
            row = session.get(GatewaySession, vm_id, with_for_update=True)
            if row is None:
                raise NoTicket(f"no ticket was made for a VM {vm_id!r}")
            if not (why := _refusal(row, state, ticket, digest)):
                return row.sealed
            row.refusals += 1
            row.refused_at, row.refused_from, row.refused_why = now, address, why
        raise TicketRefused(f"VM {vm_id}: {why}")

    def state(self, vm_id: str) -> SessionState | None:
        """What a request in the name of this VM is judged by; None: no ticket was ever made for it."""
        query = select(GatewaySession.digest, VM.state, VM.since, VM.created_at).join_from(
            GatewaySession, VM, GatewaySession.vm_id == VM.vm_id
        )
        with self._database.transaction() as session:
            row = session.execute(query.where(GatewaySession.vm_id == vm_id)).one_or_none()
            return row and SessionState(*row)

    @again
    def beat(self, vm_id: str, heartbeat: Mapping[str, Any]) -> None:
        """Note a VM's heartbeat; that it sends one shows that it has its envelope, which is kept no longer."""
        with self._database.transaction() as session:
            mine = update(GatewaySession).where(GatewaySession.vm_id == vm_id)
            session.execute(mine.values(heartbeat=dict(heartbeat), sealed=None))
            session.execute(update(VM).where(VM.vm_id == vm_id).values(heartbeat_at=UTCNow()))

    @again
    def end(self, vm_id: str, code: int, reason: str) -> None:
        """Note why a VM says that it ends, in printable text; the first report stands, from wherever it came."""
        with self._database.transaction() as session:
            now = database_time(session)
            mine = update(VM).where(VM.vm_id == vm_id)
            session.execute(mine.where(VM.said_code.is_(None)).values(said_code=code, said_reason=reason))
            session.execute(mine.where(VM.pilot_finished_at.is_(None)).values(pilot_finished_at=now))

    def guest(self, vm_id: str) -> Guest | None:
        """What the gateway knows of a VM; None if it has nothing to do with it."""
        names = Guest.__dataclass_fields__
        query = select(*(getattr(GatewaySession, name) for name in names)).where(GatewaySession.vm_id == vm_id)
        with self._database.transaction() as session:
            row = session.execute(query).one_or_none()
            return row and Guest(**dict(zip(names, row, strict=True)))

    def to_hand_over(self, limit: int, without: Collection[str] = ()) -> tuple[Pilot, ...]:
        """VMs that are done with their logs, and whose pilot's output DIRAC does not have yet: those that have ended,
        or said so a while ago, for the logs may come after."""
        query = select(GatewaySession.vm_id, VM.pilot_reference).join_from(
            GatewaySession, VM, GatewaySession.vm_id == VM.vm_id
        )
        with self._database.transaction() as session:
            said = VM.said_code.is_not(None) & (VM.pilot_finished_at < database_time(session) - _LAST_LOGS)
            done = (VM.state == VMState.ENDED) | said
            wanted = query.where(~GatewaySession.handed_over, done, GatewaySession.vm_id.not_in(list(without)))
            rows = session.execute(wanted.order_by(GatewaySession.expires_at).limit(limit))
            return tuple(Pilot(*row) for row in rows)

    @again
    def handed_over(self, vm_id: str) -> None:
        """DIRAC has the output of the VM's pilot, or never can."""
        with self._database.transaction() as session:
            mine = update(GatewaySession).where(GatewaySession.vm_id == vm_id)
            session.execute(mine.values(handed_over=True))

    @again
    def purge(self) -> None:
        """Drop the envelopes that nobody can ask for any more, and what is known of VMs of long ago."""
        with self._database.transaction() as session:
            now = database_time(session)
            live = select(VM.vm_id).where(VM.state != VMState.ENDED)
            unused = (GatewaySession.digest == "") & (GatewaySession.expires_at < now)
            useless = unused | ((GatewaySession.digest != "") & GatewaySession.vm_id.not_in(live))
            sealed = update(GatewaySession).where(GatewaySession.sealed.is_not(None))
            session.execute(sealed.where(useless).values(sealed=None))
            old = GatewaySession.expires_at < now - _KEPT_FOR
            session.execute(delete(GatewaySession).where(old, GatewaySession.vm_id.not_in(live)))

    @again
    def here(self, gateway: str) -> None:
        """A gateway, named by its host and port, says that it is there: more often than ``GATEWAY_SILENCE``."""
        try:
            with self._database.transaction() as session:
                now = database_time(session)
                mine = update(Gateway).where(Gateway.name == gateway)
                if changed(session, mine.where(Gateway.at >= now - GATEWAY_SILENCE).values(at=now)):
                    return
                if not changed(session, mine.values(since=now, at=now)):
                    session.execute(insert(Gateway), [{"name": gateway, "since": now, "at": now}])
        except IntegrityError:  # it was entered in the same moment
            return

    def gateway_since(self) -> datetime | None:
        """Since when VMs could reach a gateway without a break; None: there is none now."""
        with self._database.transaction() as session:
            lately = Gateway.at >= database_time(session) - GATEWAY_SILENCE
            return session.scalar(select(func.min(Gateway.since)).where(lately))


def _refusal(row: GatewaySession, state: VMState | None, ticket: str, digest: str) -> str:
    if row.ticket != ticket:
        return "a ticket that is not its own was brought"
    if state is None or state in _OVER:
        return "its ticket was brought when its life was over"
    if not row.digest:
        return f"its ticket was brought too late; it expired at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if row.digest == digest and row.sealed is not None:
        return ""
    before = f"it was redeemed at {row.redeemed_at:%Y-%m-%d %H:%M:%S} UTC from {row.redeemed_from}"
    return f"its ticket was brought again; {before}"
