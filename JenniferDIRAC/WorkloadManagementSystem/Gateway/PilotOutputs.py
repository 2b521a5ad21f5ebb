"""Gives DIRAC the output of the VMs' pilots, so that dirac-admin-get-pilot-output finds it as that of any pilot.

What DIRAC calls standard error is what the VM said besides: its own words, its boot, or, of one that never came to the
gateway, the end of its console.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import Pilot
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import LogFiles, printable_log

_AT_ONCE = 50
# DIRAC keeps them in columns of 16 MiB, for ever.
_MOST = 2**20
_PILOT = "pilot"
_TRY_AGAIN = 600.0  # seconds after DIRAC did not take one
_NOT_THERE = "not found"
_NEVER_ENTERED = "Pilot reference not found"


class PilotOutputs:
    """:param pilots: DIRAC's PilotAgentsDB"""

    def __init__(
        self, store: VirtualMachineStore, logs: LogFiles, pilots: Any, warn: Callable[[str], None], clock=time.monotonic
    ):
        self._store = store
        self._logs = logs
        self._pilots = pilots
        self._warn = warn
        self._clock = clock
        self._later: dict[str, float] = {}  # VMs, and when to try them again

    def hand_over(self) -> None:
        """Hand over what is complete by now; what DIRAC does not take is tried again the next time.

        :raises StoreUnavailable: the database does not answer
        """
        now = self._clock()
        self._later = {vm: at for vm, at in self._later.items() if at > now}
        for pilot in self._store.sessions.to_hand_over(_AT_ONCE, without=self._later):
            try:
                output, rest = self._output(pilot.vm_id), self._rest(pilot.vm_id)
            except OSError as error:
                self._warn(f"VM {pilot.vm_id}: its logs cannot be read for DIRAC yet: {error}")
                self._later[pilot.vm_id] = now + _TRY_AGAIN
                continue
            if (not output and not rest) or self._is_taken(pilot, output, rest):
                self._store.sessions.handed_over(pilot.vm_id)
            else:
                self._later[pilot.vm_id] = now + _TRY_AGAIN

    def _is_taken(self, pilot: Pilot, output: str, rest: str) -> bool:
        there = self._pilots.getPilotOutput(pilot.reference)
        if there["OK"]:
            return True  # by another gateway, or before a database was away
        if _NOT_THERE not in there["Message"]:
            # storePilotOutput would say of every pilot that it is not known.
            self._warn(f"VM {pilot.vm_id}: DIRAC cannot take its pilot's output yet: {there['Message']}")
            return False
        result = self._pilots.storePilotOutput(pilot.reference, output, rest)
        if result["OK"] or _NEVER_ENTERED in result["Message"]:
            return True
        self._warn(f"VM {pilot.vm_id}: DIRAC did not take its pilot's output yet: {result['Message']}")
        return False

    def _output(self, vm_id: str) -> str:
        return printable_log(self._logs.tail(vm_id, _PILOT, _MOST))

    def _rest(self, vm_id: str) -> str:
        logs = [log.label for log in self._logs.of(vm_id) if log.label != _PILOT]
        most = _MOST // max(1, len(logs))
        texts = {f"{label}.log": printable_log(self._logs.tail(vm_id, label, most)) for label in logs}
        if not texts and (console := self._store.console_tail(vm_id)):
            texts = {"the end of its console": printable_log(console.encode())}
        return "\n".join(f"=== {name} of VM {vm_id} ===\n{text}" for name, text in texts.items())
