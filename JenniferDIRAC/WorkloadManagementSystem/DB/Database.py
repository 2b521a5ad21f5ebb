"""The engine behind the store: its transactions, its errors, its clock, and tables that older versions made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

import tenacity
from sqlalchemy import Column, CursorResult, Engine, Executable, Index, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateColumn

from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Base, UTCNow

# Of MariaDB and MySQL: a deadlock; a row that another transaction changed since this one read it.
_UNDONE = (1213, 1020)


class StoreError(Exception):
    """Base of the store's own errors; ``str()`` is for an operator and never holds a secret."""


class StoreUnavailable(StoreError):
    """The database does not answer. Whether the operation took effect is unknown: read before doing it again."""


class _Undone(StoreUnavailable):
    """The database undid the operation because two were in each other's way: it can be done again."""


#: For an operation that is one transaction: done again when the database undid it.
again = tenacity.retry(
    retry=tenacity.retry_if_exception_type(_Undone),
    stop=tenacity.stop_after_attempt(5),
    wait=tenacity.wait_random(0, 0.1),
    reraise=True,
)


class Database:
    """Any SQLAlchemy engine; safe to use from several threads and processes at once."""

    def __init__(self, engine: Engine):
        """Make what is missing of the tables: all of them, or what those of an older version lack.

        :raises StoreUnavailable: the database does not answer
        """
        self.engine = engine
        with self._answering():
            for table in Base.metadata.sorted_tables:
                _make(engine, table)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """:raises StoreUnavailable: the database does not answer"""
        with self._answering(), Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, PoolExhausted) as error:
            url, original = self.engine.url, getattr(error, "orig", error)
            where = f"{url.database} on {url.host}:{url.port}" if url.host else url.database
            kind = _Undone if original.args and original.args[0] in _UNDONE else StoreUnavailable
            raise kind(f"database {where} does not answer: {original}") from error


def changed(session: Session, statement: Executable) -> int:
    """How many rows the statement met."""
    return cast(CursorResult, session.execute(statement)).rowcount


def database_time(session: Session) -> datetime:
    """The database's own clock: the one that all hosts share."""
    return session.execute(select(UTCNow())).scalar_one()


def _make(engine: Engine, table: Table) -> None:
    """The table, or the columns and indexes that it lacks."""
    if not inspect(engine).has_table(table.name):
        with _unless_made(lambda: inspect(engine).has_table(table.name)):
            table.create(engine)
            return
    for column in _missing_columns(engine, table):
        statement = f"ALTER TABLE {table.name} ADD COLUMN {CreateColumn(column).compile(dialect=engine.dialect)}"
        with _unless_made(lambda column=column: column not in _missing_columns(engine, table)):
            with engine.begin() as connection:
                connection.execute(text(statement))
    for index in _missing_indexes(engine, table):
        with _unless_made(lambda index=index: index not in _missing_indexes(engine, table)):
            index.create(engine)


@contextmanager
def _unless_made(is_made: Callable[[], bool]) -> Iterator[None]:
    """Another process may have made the same thing in the same moment."""
    try:
        yield
    except DBAPIError:
        if not is_made():
            raise


def _missing_columns(engine: Engine, table: Table) -> list[Column]:
    there = {column["name"] for column in inspect(engine).get_columns(table.name)}
    return [column for column in table.columns if column.name not in there]


def _missing_indexes(engine: Engine, table: Table) -> list[Index]:
    there = {index["name"] for index in inspect(engine).get_indexes(table.name)}
    return [index for index in table.indexes if index.name not in there]
