"""Gives DIRAC the output of the VMs' pilots, so that dirac-admin-get-pilot-output finds it as that of any pilot.

What DIRAC calls standard error is what the VM said besides: its own words, its boot, or, of one that never came to the
gateway, the end of its console.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import Pilot
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import LogFiles, printable_log

_AT_ONCE = 50
# DIRAC keeps them in columns of 16 MiB, for ever.
_MOST = 2**20
_PILOT = "pilot"
_NEVER_ENTERED = "Pilot reference not found"


class PilotOutputs:
    """:param pilots: DIRAC's PilotAgentsDB"""

    def __init__(self, store: VirtualMachineStore, logs: LogFiles, pilots: Any, warn: Callable[[str], None]):
        self._store = store
        self._logs = logs
        self._pilots = pilots
        self._warn = warn

    def hand_over(self) -> None:
        """Hand over what is complete by now; what DIRAC does not take is tried again the next time.

        :raises StoreUnavailable: the database does not answer
        """
        for pilot in self._store.sessions.to_hand_over(_AT_ONCE):
            try:
                output, rest = self._output(pilot.vm_id), self._rest(pilot.vm_id)
            except OSError as error:
                self._warn(f"VM {pilot.vm_id}: its logs cannot be read for DIRAC: {error}")
                output = rest = ""
            if (not output and not rest) or self._is_taken(pilot, output, rest):
                self._store.sessions.handed_over(pilot.vm_id)

    def _is_taken(self, pilot: Pilot, output: str, rest: str) -> bool:
        if self._pilots.getPilotOutput(pilot.reference)["OK"]:
            return True  # by another gateway, or before a database was away
        result = self._pilots.storePilotOutput(pilot.reference, output, rest)
        if result["OK"] or _NEVER_ENTERED in result["Message"]:
            return True
        self._warn(f"VM {pilot.vm_id}: DIRAC did not take its pilot's output yet: {result['Message']}")
        return False

    def _output(self, vm_id: str) -> str:
        return printable_log(self._logs.tail(vm_id, _PILOT, _MOST))

    def _rest(self, vm_id: str) -> str:
        logs = [log.label for log in self._logs.of(vm_id) if log.label != _PILOT]
        texts = {f"{label}.log": printable_log(self._logs.tail(vm_id, label, _MOST)) for label in logs}
        if not texts and (console := self._store.console_tail(vm_id)):
            texts = {"the end of its console": printable_log(console.encode())}
        return "\n".join(f"=== {name} of VM {vm_id} ===\n{text}" for name, text in texts.items())
