"""The logs that VMs sent to the gateway, for operators: this service reads them where the gateway keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from JenniferDIRAC.ConfigurationSystem.GatewayConfig import read_gateway_config
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import LogFile, LogFiles, printable_log
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

MAX_READ = 2**20  # bytes at a time


class NoLog(Exception):
    """There is no such log, or it cannot be read; the text says why and what there is."""


class LogDesk:
    """:param where: gives the directory of the logs"""

    def __init__(self, store: VirtualMachineStore, where: Callable[[], Path] = lambda: read_gateway_config().logs):
        self._store = store
        self._where = where

    def logs(self, vm: str) -> tuple[VMRecord, tuple[LogFile, ...]]:
        """A VM, and the logs that it sent.

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        :raises NoLog: the directory cannot be read
        """
        record = self._store.get(vm)
        return record, self._of(record.vm_id)

    def read(self, vm: str, label: str, offset: int, limit: int) -> dict[str, Any]:
        """A piece of a log from ``offset`` on, of at most ``limit`` bytes and MAX_READ, in whole lines if it has any;
        with a negative offset the end of it, from that many bytes before it. It tells where it ends, how large the log
        is, and whether the VM may still add to it.

        :raises UnknownVM: no VM, or more than one, answers to ``vm``
        :raises NoLog: there is no such log
        """
        record = self._store.get(vm)
        logs = self._of(record.vm_id)
        size = next((log.size for log in logs if log.label == label), None)
        if size is None:
            known = ", ".join(log.label for log in logs) or "none yet"
            raise NoLog(f"VM {record.vm_id} sent no log '{label}'; it sent: {known}")
        begin = max(0, size + offset) if offset < 0 else offset
        files = LogFiles(self._where())
        try:
            data = files.read(record.vm_id, label, begin, max(0, min(limit, MAX_READ)))
        except OSError as error:
            raise NoLog(f"the log '{label}' of VM {record.vm_id} cannot be read: {error.strerror}") from None
        if offset < 0 < begin and b"\n" in data:
            skipped = data.index(b"\n") + 1
            begin, data = begin + skipped, data[skipped:]
        if begin + len(data) < size and b"\n" in data:
            data = data[: data.rindex(b"\n") + 1]
        return {
            "vm_id": record.vm_id,
            "label": label,
            "text": printable_log(data),
            "next": begin + len(data),
            "size": size,
            "ended": record.state is VMState.ENDED,
        }

    def _of(self, vm_id: str) -> tuple[LogFile, ...]:
        root = self._where()
        if not root.is_dir():
            raise NoLog(
                f"there is no directory {root} here: expected that of the gateway's logs, the option LogPath in "
                "/Systems/WorkloadManagement/Services/CloudGateway. The VirtualMachineManager runs where it is"
            )
        try:
            return LogFiles(root).of(vm_id)
        except OSError as error:
            raise NoLog(f"the logs of VM {vm_id} cannot be read: {error}") from None
