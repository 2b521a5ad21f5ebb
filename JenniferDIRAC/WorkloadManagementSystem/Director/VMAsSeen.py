"""A VM's record with what one cycle saw of it: what is new, for the store, and the VM as the planner takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport, PilotState, VirtualMachine


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one cycle saw of a VM.

    ``pilot`` None: DIRAC does not know it. ``console`` "": none was read. ``missed``: so many complete listings in a
    row did not hold its server. ``drifted`` is "" or in what it differs from what would be booted today.
    ``lacks_room``: its server says that the cloud has no room for it.
    """

    pilot: PilotFacts | None = None
    console: str = ""
    missed: int = 0
    drifted: str = ""
    lacks_room: bool = False


def news_of(record: VMRecord, seen: Sighting, now: datetime) -> Facts:
    """What was seen of the VM that its record does not hold yet."""
    news = Facts()
    if seen.pilot and seen.pilot.jobs > record.jobs:
        news |= {"jobs": seen.pilot.jobs, "matched_at": now}
    if seen.console:
        report = parse_console(seen.console, record.vm_id)
        if report.spoke and record.first_word_at is None:
            news["first_word_at"] = now
        if report.said is not None and record.said_code is None:
            news |= {"said_code": report.said.code, "said_reason": report.said.reason}
    said_its_end = record.said_code is not None or "said_code" in news
    if record.pilot_finished_at is None and (said_its_end or (seen.pilot and seen.pilot.state is PilotState.FINISHED)):
        news["pilot_finished_at"] = now
    if seen.lacks_room and not record.no_room:
        news["no_room"] = True
    return news


def vm_as_seen(record: VMRecord, seen: Sighting, news: Facts) -> VirtualMachine:
    """The VM of a record that ``news`` are not in yet."""
    known = replace(record, **news) if news else record
    return VirtualMachine(
        id=record.vm_id,
        vm_type=record.vm_type,
        vo=record.vo,
        cores=record.cores,
        ram_mib=record.ram_mib,
        state=record.state,
        created_at=record.created_at,
        since=record.since,
        server_id=record.server_id,
        missed=seen.missed,
        spoke=known.first_word_at is not None,
        pilot=seen.pilot.state if seen.pilot else PilotState.UNKNOWN,
        pilot_finished_at=known.pilot_finished_at,
        jobs=known.jobs,
        said=None if known.said_code is None else EndReport(known.said_code, known.said_reason),
        outcome=record.outcome,
        outcome_reason=record.outcome_reason,
        outcome_code=record.code,
        task_queue=record.task_queue,
        heartbeat_at=record.heartbeat_at,
        no_room=known.no_room,
        drifted=seen.drifted,
        pilot_entered_at=record.pilot_entered_at,
        jobs_known=record.jobs_known,
        running_at=record.running_at,
        version=record.version,
    )
