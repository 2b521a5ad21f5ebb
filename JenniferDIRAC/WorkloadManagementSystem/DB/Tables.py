"""The tables of VirtualMachineDB, and the column types that MariaDB, MySQL and SQLite have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Double, Enum, ForeignKey, Index, LargeBinary, String, Text, false, text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind, Outcome, VMState

CONSOLE_TAIL_BYTES = 16384


class UTCDateTime(TypeDecorator):
    """Timezone-aware UTC in Python; naive UTC with microseconds in the database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name == "mysql" else DateTime())

    def process_bind_param(self, value, dialect):
        return value and self.kept(value).replace(tzinfo=None)

    def process_result_value(self, value, dialect):
        return value and value.replace(tzinfo=UTC)

    def kept(self, value: datetime) -> datetime:
        """What comes back of what is put in."""
        if value.tzinfo is None:
            raise TypeError(f"expected a time with a time zone, found {value!r}")
        return value if value.tzinfo is UTC else value.astimezone(UTC)


class CutText(TypeDecorator):
    """Text of any origin, cut to ``max_bytes`` of UTF-8: its beginning is kept, or its end."""

    impl = Text
    cache_ok = True

    def __init__(self, max_bytes: int, keep_end: bool = False):
        super().__init__()
        self.max_bytes = max_bytes
        self.keep_end = keep_end

    def process_bind_param(self, value, dialect):
        return value and self.kept(value)

    def kept(self, value: str) -> str:
        """What comes back of what is put in."""
        if value.isascii() and len(value) <= self.max_bytes:
            return value
        kept = slice(-self.max_bytes, None) if self.keep_end else slice(self.max_bytes)
        return value.encode("utf-8", "ignore")[kept].decode("utf-8", "ignore")


def _words(enum: type) -> Enum:
    """An enum stored by its value in a plain text column, so that a new member needs no change of the table."""
    return Enum(
        enum, native_enum=False, length=24, values_callable=lambda members: [member.value for member in members]
    )


# Binary collation: names compare on MariaDB as they do in Python and on SQLite.
_TABLE = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_Key = String(128)
_Reason = CutText(4096)
_Name = CutText(1024)  # of any origin, and only ever shown
_Bytes = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
# For a column that comes later than its table: what the rows have that are there. An expression, which MySQL wants.
_EMPTY = text("('')")


class UTCNow(FunctionElement):
    """The time of the database's own clock, to the microsecond (SQLite: millisecond)."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(UTCNow)
def _utc_now(element, compiler, **_):
    return "UTC_TIMESTAMP(6)"


@compiles(UTCNow, "sqlite")
def _utc_now_of_sqlite(element, compiler, **_):
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {
        datetime: UTCDateTime(),
        VMState: _words(VMState),
        Outcome: _words(Outcome),
        LeverKind: _words(LeverKind),
    }


class Installation(Base):
    __tablename__ = "Installation"
    __table_args__ = _TABLE
    only: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    uuid: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]
    # How many batches of intents were recorded: who planned on an older number planned on what is no longer so.
    intents: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class VM(Base):
    __tablename__ = "VirtualMachines"
    __table_args__ = (
        Index("ix_vm_state", "state"),
        Index("ix_vm_endpoint", "site", "ce"),
        Index("ix_vm_created_at", "created_at"),
        Index("ix_vm_ended_at", "ended_at"),
        Index("ix_vm_touched_at", "touched_at"),
        Index("ix_vm_version", "site", "ce", "queue", "vo", "version"),
        _TABLE,
    )
    vm_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    site: Mapped[str] = mapped_column(_Key)
    ce: Mapped[str] = mapped_column(_Key)
    queue: Mapped[str] = mapped_column(_Key)
    vo: Mapped[str] = mapped_column(_Key)
    cores: Mapped[int]
    ram_mib: Mapped[int]
    state: Mapped[VMState]
    since: Mapped[datetime]
    created_at: Mapped[datetime]
    pilot_reference: Mapped[str] = mapped_column(String(255), unique=True)
    pilot_stamp: Mapped[str] = mapped_column(String(64))
    task_queue: Mapped[int]
    template: Mapped[str] = mapped_column(_Name)
    version: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    outcome: Mapped[Outcome | None]
    outcome_reason: Mapped[str] = mapped_column(_Reason, default="")
    code: Mapped[int] = mapped_column(default=0)
    server_id: Mapped[str] = mapped_column(String(255), default="")
    image: Mapped[str] = mapped_column(_Name, default="")
    flavor: Mapped[str] = mapped_column(_Name, default="")
    networks: Mapped[str] = mapped_column(_Name, default="", server_default=_EMPTY)
    zone: Mapped[str] = mapped_column(_Name, default="", server_default=_EMPTY)
    jobs: Mapped[int] = mapped_column(default=0)
    said_code: Mapped[int | None]
    said_reason: Mapped[str] = mapped_column(_Reason, default="")
    pilot_entered_at: Mapped[datetime | None]
    first_word_at: Mapped[datetime | None]
    running_at: Mapped[datetime | None]
    matched_at: Mapped[datetime | None]
    pilot_finished_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    no_room: Mapped[bool] = mapped_column(default=False, server_default=false())
    heartbeat_at: Mapped[datetime | None]
    # When this row was last written, by the database's clock: whoever remembers the rest reads only what is newer.
    touched_at: Mapped[datetime | None] = mapped_column(default=UTCNow(), onupdate=UTCNow())
    console_tail: Mapped[str] = mapped_column(CutText(CONSOLE_TAIL_BYTES, keep_end=True), default="", deferred=True)


class History(Base):
    __tablename__ = "VirtualMachineHistory"
    __table_args__ = _TABLE
    id: Mapped[int] = mapped_column(primary_key=True)
    vm_id: Mapped[str] = mapped_column(ForeignKey(VM.vm_id), index=True)
    source: Mapped[VMState | None]
    target: Mapped[VMState]
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(_Reason)
    actor: Mapped[str] = mapped_column(_Key)


class Cycle(Base):
    __tablename__ = "Cycles"
    __table_args__ = (Index("ix_cycle_at", "at"), _TABLE)
    site: Mapped[str] = mapped_column(_Key, primary_key=True)
    ce: Mapped[str] = mapped_column(_Key, primary_key=True)
    vo: Mapped[str] = mapped_column(_Key, primary_key=True)
    at: Mapped[datetime]
    line: Mapped[str] = mapped_column(_Reason)
    wanted_cores: Mapped[int]
    started: Mapped[int]
    vms: Mapped[dict[str, int]] = mapped_column(JSON)
    unmet: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    problem: Mapped[str] = mapped_column(_Reason)


class Lever(Base):
    __tablename__ = "Levers"
    __table_args__ = (Index("ix_lever_released_at", "released_at"), _TABLE)
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[LeverKind]
    who: Mapped[str] = mapped_column(_Key)
    why: Mapped[str] = mapped_column(_Reason)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    site: Mapped[str] = mapped_column(_Key)
    ce: Mapped[str] = mapped_column(_Key)
    queue: Mapped[str] = mapped_column(_Key)
    vo: Mapped[str] = mapped_column(_Key)
    vm: Mapped[str] = mapped_column(_Key)
    option: Mapped[str] = mapped_column(_Key)
    value: Mapped[float | None] = mapped_column(Double)
    released_at: Mapped[datetime | None]
    released_by: Mapped[str] = mapped_column(_Key, default="")
    released_why: Mapped[str] = mapped_column(_Reason, default="")


class Plan(Base):
    __tablename__ = "Plans"
    __table_args__ = (Index("ix_plan_at", "at"), _TABLE)
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    director: Mapped[str] = mapped_column(_Key)
    digest: Mapped[str] = mapped_column(String(64))
    document: Mapped[bytes] = mapped_column(_Bytes)


class Lease(Base):
    __tablename__ = "Leases"
    __table_args__ = _TABLE
    site: Mapped[str] = mapped_column(_Key, primary_key=True)
    ce: Mapped[str] = mapped_column(_Key, primary_key=True)
    holder: Mapped[str] = mapped_column(_Key)
    expires_at: Mapped[datetime]


class EndpointConfiguration(Base):
    __tablename__ = "EndpointConfigurations"
    __table_args__ = _TABLE
    site: Mapped[str] = mapped_column(_Key, primary_key=True)
    ce: Mapped[str] = mapped_column(_Key, primary_key=True)
    document: Mapped[bytes] = mapped_column(_Bytes)


class GatewaySession(Base):
    __tablename__ = "GatewaySessions"
    __table_args__ = (Index("ix_session_expires_at", "expires_at"), _TABLE)
    vm_id: Mapped[str] = mapped_column(String(32), primary_key=True)  # no foreign key: it is there before the intent
    ticket: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes | None] = mapped_column(_Bytes)
    expires_at: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64), default="")
    redeemed_at: Mapped[datetime | None]
    redeemed_from: Mapped[str] = mapped_column(_Key, default="")
    refusals: Mapped[int] = mapped_column(default=0)
    refused_at: Mapped[datetime | None]
    refused_from: Mapped[str] = mapped_column(_Key, default="")
    refused_why: Mapped[str] = mapped_column(_Reason, default="")
    heartbeat: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Gateway(Base):
    __tablename__ = "Gateways"
    __table_args__ = _TABLE
    name: Mapped[str] = mapped_column(_Key, primary_key=True)
    since: Mapped[datetime]
    at: Mapped[datetime]
