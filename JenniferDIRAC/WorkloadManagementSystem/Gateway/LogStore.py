"""The writing side of the VMs' logs: appending only, within quotas, and clearing up what is old.

What ``append`` returned for is with the kernel: it survives the end of this process, whatever its kind. A VM's
directory is locked while it is written to, for other processes too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from JenniferDIRAC.ConfigurationSystem.GatewayConfig import GatewayConfig
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import VM_ID, LogFile, LogFiles, files_in, open_log
from JenniferDIRAC.WorkloadManagementSystem.Gateway.RateLimit import RateLimit

MIB = 2**20
MAX_CHUNK = MIB
_BURST_SECONDS = 8
#: A log that was written to within this time is never deleted.
IN_USE = timedelta(hours=1)
#: Above this part of the total the oldest logs are deleted, so that there is room until it is looked at again.
_COMFORTABLE = 0.9
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: Of these VMs, by id, those whose life is over, or of which nobody knows.
Over = Callable[[Collection[str]], Collection[str]]


class LogRefused(Exception):
    """A log was not taken; ``str()`` says why, and nothing of it was kept."""


class WrongOffset(LogRefused):
    """The log ends elsewhere."""

    def __init__(self, size: int):
        super().__init__(f"the log has {size} bytes")
        self.size = size


class QuotaFull(LogRefused):
    """The log, or its VM, has all the space that it gets."""


class TooFast(LogRefused):
    """The VM sends more than it may, and may come again after ``seconds``."""

    def __init__(self, seconds: int):
        super().__init__("more than this VM may send at a time")
        self.seconds = seconds


class DiskFull(LogRefused):
    """There is no room for anybody, or the directory cannot be used."""


@dataclass(frozen=True)
class Quotas:
    """In bytes, but ``files``, a number."""

    file: int
    files: int
    vm: int
    total: int

    @classmethod
    def of(cls, config: GatewayConfig) -> Quotas:
        total = config.max_total_gib * 1024 * MIB
        return cls(config.max_file_mib * MIB, config.max_files_per_vm, config.max_vm_mib * MIB, total)


@dataclass(frozen=True)
class Cleared:
    """Of how many VMs the logs were deleted, what all that is left has in bytes, and what went wrong, in sentences."""

    vms: int
    left: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Kept:
    """All logs of one VM; ``written_at`` in seconds since 1970."""

    vm_id: str
    size: int
    written_at: float


class LogStore(LogFiles):
    """Safe to use from several threads.

    :param clock: seconds that never go back, for the rate
    :param now: seconds since 1970, for the age of files
    :raises OSError: the directory cannot be made or used
    """

    def __init__(
        self,
        root: Path,
        quotas: Quotas,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ):
        super().__init__(root)
        self._quotas, self._now = quotas, now
        self._rate = RateLimit(rate, max(rate * _BURST_SECONDS, MAX_CHUNK), clock)
        self._lock = threading.Lock()
        root.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._total = sum(kept.size for kept in self._all())
        probe = root / f".probe-{os.getpid()}"
        probe.touch(0o600)
        probe.unlink(missing_ok=True)

    def append(self, vm_id: str, label: str, offset: int, data: bytes) -> int:
        """Put ``data`` at the end of a log, which must be at ``offset``; all of it or nothing. The log's new size.

        :raises LogRefused: by its kind
        """
        if wait := self._rate.take(vm_id, len(data)):
            raise TooFast(wait)
        with self._room(len(data)):
            try:
                with self._locked(vm_id) as directory:
                    return self._append(directory, label, offset, data)
            except OSError as error:
                if error.errno in _DISK_FULL:
                    raise DiskFull("there is no room for logs now") from error
                raise DiskFull(f"logs cannot be kept now: {os.strerror(error.errno or errno.EIO)}") from error

    def _append(self, directory: int, label: str, offset: int, data: bytes) -> int:
        logs = {log.label: log for log in files_in(directory)}
        self._check(logs, label, offset, len(data))
        if not data and label not in logs:
            return 0
        with open_log(directory, label, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
            except OSError:
                os.ftruncate(file, offset)
                raise
        return offset + len(data)

    def _check(self, logs: dict[str, LogFile], label: str, offset: int, more: int) -> None:
        size = logs[label].size if label in logs else 0
        if offset != size:
            raise WrongOffset(size)
        if size + more > self._quotas.file:
            raise QuotaFull(f"a log may have {self._quotas.file // MIB} MiB, and this one has them")
        if sum(log.size for log in logs.values()) + more > self._quotas.vm:
            raise QuotaFull(f"the logs of a VM may have {self._quotas.vm // MIB} MiB together, and they have them")
        if label not in logs and len(logs) >= self._quotas.files:
            raise QuotaFull(f"a VM may have {self._quotas.files} logs, and this one has them")

    @contextmanager
    def _room(self, more: int) -> Iterator[None]:
        """Claim so much of the total; it is given back when nothing was written."""
        with self._lock:
            if self._total + more > self._quotas.total:
                raise DiskFull("there is no room for logs now")
            self._total += more
        try:
            yield
        except BaseException:
            with self._lock:
                self._total -= more
            raise

    @contextmanager
    def _locked(self, vm_id: str) -> Iterator[int]:
        """A VM's directory, made if need be, as a descriptor that nobody else has until it is closed."""
        for last in (False, True):
            with self.directory(vm_id, make=True) as directory:
                fcntl.flock(directory, fcntl.LOCK_EX)
                if last or os.fstat(directory).st_nlink:  # 0: it was cleared away meanwhile
                    yield directory
                    return

    def clear(self, over: Over, keep: timedelta) -> Cleared:
        """Delete the logs of VMs whose life is over: what is older than ``keep``, and, where all logs together come
        near what they may have, the oldest.

        :raises StoreError: as ``over`` does
        """
        self._rate.forget()
        found = sorted(self._all(), key=lambda kept: kept.written_at)
        now, total, deleted, problems = self._now(), sum(kept.size for kept in found), 0, []
        quiet = [kept for kept in found if now - kept.written_at > IN_USE.total_seconds()]
        gone = set(over([kept.vm_id for kept in quiet])) if quiet else set()
        for kept in quiet:
            old = now - kept.written_at > keep.total_seconds()
            if kept.vm_id not in gone or not (old or total > self._quotas.total * _COMFORTABLE):
                continue
            try:
                if self._delete(kept):
                    deleted += 1
                    total -= kept.size
            except OSError as error:
                problems.append(f"the logs of VM {kept.vm_id} cannot be deleted: {error}")
        with self._lock:
            self._total = left = sum(kept.size for kept in self._all())
        if left > self._quotas.total * _COMFORTABLE:
            problems.append(f"what is left, {left // MIB} MiB, is near the limit, and of VMs that live or ended lately")
        return Cleared(deleted, left, tuple(problems))

    def _delete(self, kept: _Kept) -> bool:
        """False, and nothing is done, if it was written to meanwhile."""
        with self._locked(kept.vm_id) as directory:
            if max((log.written_at.timestamp() for log in files_in(directory)), default=0) > kept.written_at:
                return False
            for name in os.listdir(directory):
                os.unlink(name, dir_fd=directory)
            (self.root / kept.vm_id[:2] / kept.vm_id).rmdir()
            return True

    def _all(self) -> Iterator[_Kept]:
        for first in _directories(self.root, re.compile(r"[0-9a-f]{2}")):
            for found in _directories(Path(first.path), re.compile(VM_ID)):
                try:
                    with self.directory(found.name) as directory:
                        logs = tuple(files_in(directory))
                    written_at = max((log.written_at.timestamp() for log in logs), default=found.stat().st_mtime)
                except OSError:  # it went meanwhile, or cannot be read: then it cannot be written to either
                    continue
                yield _Kept(found.name, sum(log.size for log in logs), written_at)


def _directories(parent: Path, form: re.Pattern) -> Iterator[os.DirEntry]:
    with os.scandir(parent) as entries:
        yield from [entry for entry in entries if form.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
