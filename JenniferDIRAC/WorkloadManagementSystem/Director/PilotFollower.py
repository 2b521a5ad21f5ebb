"""Follows the VMs' pilots in PilotAgentsDB: entered when the VM is there, and ended at the latest with it."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import datetime, timedelta

from DIRAC.WorkloadManagementSystem.Client import PilotStatus

from JenniferDIRAC.WorkloadManagementSystem.DB.LiveRecords import LiveRecords
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import Facts, VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable, PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Outcome, PilotState, VMState

# What becomes of the pilot of a VM that ended without its pilot saying so; of all others Aborted, so that DIRAC's
# StalledJobAgent sees to their jobs.
_END = {Outcome.WORKED: PilotStatus.DONE, Outcome.NO_WORK: PilotStatus.DONE, Outcome.KILLED: PilotStatus.DELETED}
# An outage of PilotManager may last so long without a pilot being left behind.
_LOOK_BACK = timedelta(days=1)
# A server that vanished may be listed again, with its pilot at work, when the cloud has come to its senses.
VANISHED_GRACE = timedelta(minutes=10)


class PilotFollower:
    """What it could not tell DIRAC in one cycle it tells in a later one."""

    def __init__(
        self,
        store: VirtualMachineStore,
        records: LiveRecords,
        dirac: DiracServices,
        warn: Callable[[str], None],
        now: Callable[[], datetime],
        vanished_grace: timedelta = VANISHED_GRACE,
    ):
        self._store = store
        self._records = records
        self._dirac = dirac
        self._warn = warn
        self._now = now
        self._vanished_grace = vanished_grace
        self._settled: set[str] = set()
        self._registered: set[str] = set()

    def follow(self, others: Container[EndpointKey] = ()) -> None:
        """Register the pilots of VMs that have a server and no pilot yet; end those whose VM has ended.

        :param others: endpoints of another director, which follows the pilots there
        :raises StoreUnavailable: it is not known which VMs there are, or not recorded whose pilots were entered
        """
        live = [record for record in self._records.read() if record.endpoint not in others]
        self._registered &= {record.vm_id for record in live}
        there = [
            record
            for record in live
            # An intent that is still open may have a server that nobody told of, and whose pilot asks for jobs soon.
            if (record.server_id or record.state is VMState.PLANNED) and record.outcome is None
            if record.vm_id not in self._registered
        ]
        recent = self._records.ends(self._now() - _LOOK_BACK)
        unsettled = [one for one in recent if one.vm_id not in self._settled]
        gone = [one for one in unsettled if one.endpoint not in others and not self._may_return(one)]
        try:
            known = self._dirac.pilot_facts(record.pilot_reference for record in (*there, *gone))
        except DiracUnavailable as error:
            self._warn(f"Pilots could not be followed in this cycle: {error}")
            return
        if len(self._settled) > 2 * len(recent):
            self._settled &= {record.vm_id for record in recent}
        entered = [one for one in there if one.pilot_reference in known or self._tell(one, self._register)]
        for record in gone:
            facts = known.get(record.pilot_reference)
            if _is_settled(facts) or self._tell(record, self._end):
                self._settled.add(record.vm_id)
        now = self._now()
        self._store.note_all({one.vm_id: Facts(pilot_entered_at=now) for one in entered if not one.pilot_entered_at})
        self._registered |= {record.vm_id for record in entered}

    def _may_return(self, record: VMRecord) -> bool:
        return record.outcome is Outcome.VANISHED and self._now() - record.ended_at < self._vanished_grace

    def _tell(self, record: VMRecord, what: Callable[[VMRecord], None]) -> bool:
        try:
            what(record)
        except DiracUnavailable as error:
            self._warn(f"VM {record.vm_id}: DIRAC did not take the news of its pilot yet: {error}")
            return False
        return True

    def _register(self, record: VMRecord) -> None:
        # Entered late, it may have taken its only job already, which nobody could note for it.
        status = PilotStatus.SUBMITTED if record.first_word_at is None else PilotStatus.RUNNING
        self._dirac.register_pilot(record.pilot_reference, record.pilot_stamp, record.vo, record.vm_type, status)

    def _end(self, record: VMRecord) -> None:
        reason = f"VM {record.outcome.value}: {record.outcome_reason}"
        self._dirac.end_pilot(
            record.pilot_reference, _END.get(record.outcome, PilotStatus.ABORTED), reason, record.vm_type
        )


def _is_settled(facts: PilotFacts | None) -> bool:
    """Whether there is nothing to end: the pilot was never entered, or has its final state."""
    return facts is None or facts.state is PilotState.FINISHED
