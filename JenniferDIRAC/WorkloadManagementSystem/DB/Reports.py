"""The last cycle's report of every endpoint and VO."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.orm import Session

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import Database, again, changed
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import Cycle
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import CycleReport
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState, VMTypeKey

REPORT_LIFETIME = timedelta(days=1)  # then its endpoint or VO is no longer served by any director

_Key = tuple[str, str, str]


class Reports:
    """Remembers what it saved last: reports that say the same again cost one statement together."""

    def __init__(self, database: Database):
        self._database = database
        self._saved: Mapping[_Key, CycleReport] = {}

    @again
    def save(self, reports: Sequence[CycleReport]) -> None:
        """Put these in the place of the last reports of the same endpoints and VOs, and drop what nobody renews."""
        if not reports:
            return
        told = {(report.site, report.ce, report.vo): report for report in reports}
        latest = max(report.at for report in reports)
        last, self._saved = self._saved, {}  # nothing is known of it should this fail
        with self._database.transaction() as session:
            if news := _news(session, told, last):
                keys = [(report.site, report.ce, report.vo) for report in news]
                session.execute(delete(Cycle).where(tuple_(Cycle.site, Cycle.ce, Cycle.vo).in_(keys)))
                session.execute(insert(Cycle), [_row(report) for report in news])
            session.execute(delete(Cycle).where(Cycle.at < latest - REPORT_LIFETIME))
        self._saved = told

    def last(self) -> tuple[CycleReport, ...]:
        with self._database.transaction() as session:
            return tuple(_report(row) for row in session.scalars(select(Cycle).order_by(*Cycle.__mapper__.primary_key)))


def _news(
    session: Session, told: Mapping[_Key, CycleReport], last: Mapping[_Key, CycleReport]
) -> Collection[CycleReport]:
    """The reports to write; those that say what they said last get their new time here.

    Whoever else wrote one of them meanwhile gave it another time: then all are written.
    """
    at, before = _common_time(told), _common_time(last)
    if at is None or before is None or told.keys() != last.keys():
        return told.values()
    if changed(session, update(Cycle).where(Cycle.at == before).values(at=at)) != len(last):
        return told.values()
    return [report for key, report in told.items() if report != replace(last[key], at=at)]


def _common_time(reports: Mapping[_Key, CycleReport]) -> datetime | None:
    times = {report.at for report in reports.values()}
    return times.pop() if len(times) == 1 else None


def _row(report: CycleReport) -> dict[str, Any]:
    values = {f.name: getattr(report, f.name) for f in fields(CycleReport)}
    values["vms"] = {state.value: number for state, number in report.vms.items()}
    values["unmet"] = [asdict(unmet) | {"limit": unmet.limit.value} for unmet in report.unmet]
    return values


def _report(row: Cycle) -> CycleReport:
    values = {f.name: getattr(row, f.name) for f in fields(CycleReport)}
    values["vms"] = {VMState(state): number for state, number in row.vms.items()}
    values["unmet"] = tuple(
        Unmet(**unmet | {"limit": Limit(unmet["limit"]), "vm_type": unmet["vm_type"] and VMTypeKey(**unmet["vm_type"])})
        for unmet in row.unmet
    )
    return CycleReport(**values)
