"""The operators' levers, each with who pulled it and why, and how it was taken back."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime

from sqlalchemy import or_, select, update

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, StoreError, again, changed
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Lever as Row
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import LeverRecord
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever


class UnknownLever(StoreError):
    """There is no lever of that number that could be taken back.

    :param record: the lever of that number, if there is one: somebody took it back before
    """

    def __init__(self, id: int, record: LeverRecord | Row | None):
        before = record and f"lever {id} was taken back by {record.released_by} at {record.released_at:%F %T} UTC"
        super().__init__(before or f"there is no lever {id}")


class Levers:
    """Nothing is ever removed: what stood when can be looked up later."""

    def __init__(self, database: Database):
        self._database = database

    @again
    def pull(self, lever: Lever, now: datetime) -> Lever:
        """Record a lever and give it its number; it stands from ``now`` on, whatever its ``since``."""
        values = {f.name: getattr(lever, f.name) for f in fields(Lever)} | {"id": None, "since": now}
        with self._database.transaction() as session:
            row = Row(**values)
            session.add(row)
            session.flush()
            return _lever(row)

    @again
    def release(self, id: int, who: str, why: str, now: datetime) -> Lever:
        """Take a lever back.

        :raises UnknownLever: there is none of that number, or it was taken back already
        """
        values = {"released_at": now, "released_by": who, "released_why": why}
        with self._database.transaction() as session:
            released = changed(session, update(Row).where(Row.id == id, Row.released_at.is_(None)).values(values))
            row = session.get(Row, id)
            if row is None or not released:
                raise UnknownLever(id, row)
            return _lever(row)

    def standing(self, now: datetime) -> tuple[Lever, ...]:
        """The levers that are neither taken back nor over, oldest first."""
        query = select(Row).where(Row.released_at.is_(None), or_(Row.until.is_(None), Row.until > now))
        with self._database.transaction() as session:
            return tuple(_lever(row) for row in session.scalars(query.order_by(Row.id)))

    def all(self, limit: int = 100) -> tuple[LeverRecord, ...]:
        """The last levers, newest first."""
        with self._database.transaction() as session:
            return tuple(
                LeverRecord(_lever(row), row.released_at, row.released_by, row.released_why)
                for row in session.scalars(select(Row).order_by(Row.id.desc()).limit(limit))
            )


def _lever(row: Row) -> Lever:
    return Lever(**{f.name: getattr(row, f.name) for f in fields(Lever)})
