"""The VMs' logs on disk, and how they are read: ``<root>/<first two digits>/<vm_id>/<label>.log``.

All names are the server's. Each step of a path is opened on its own and follows no symbolic link, so that nothing that
was planted leads out of the directory. What a VM wrote is untrusted: ``printable_log`` before it is shown anywhere.
"""

from __future__ import annotations

import errno
import html
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import printable_lines

VM_ID = r"^[0-9a-f]{32}$"
LABEL = r"^[a-z][a-z0-9-]{0,31}$"
_SUFFIX = ".log"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that was planted would hold up whoever opens it.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoRegularFile(OSError):
    """Where a log should be there is something else."""


@dataclass(frozen=True)
class LogFile:
    """One log of a VM."""

    label: str
    size: int
    written_at: datetime


class LogFiles:
    """Reads the logs below a directory that another process may be writing to."""

    def __init__(self, root: Path):
        self.root = root

    def of(self, vm_id: str) -> tuple[LogFile, ...]:
        """A VM's logs by label; none for a VM that sent none."""
        try:
            with self.directory(vm_id) as directory:
                return tuple(files_in(directory))
        except FileNotFoundError:
            return ()

    def size(self, vm_id: str, label: str) -> int:
        """Of one log, in bytes; 0 if there is none.

        :raises OSError: it cannot be read
        """
        try:
            with self.directory(vm_id) as directory, open_log(directory, label, os.O_RDONLY) as file:
                return os.fstat(file).st_size
        except FileNotFoundError:
            return 0

    def read(self, vm_id: str, label: str, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset`` on; none behind the end, or of a log that is not there.

        :raises OSError: it cannot be read
        """
        try:
            with self.directory(vm_id) as directory, open_log(directory, label, os.O_RDONLY) as file:
                return os.pread(file, limit, offset)
        except FileNotFoundError:
            return b""

    def tail(self, vm_id: str, label: str, limit: int) -> bytes:
        """The last ``limit`` bytes, from the beginning of a line on if there is one."""
        begin = max(0, self.size(vm_id, label) - limit)
        data = self.read(vm_id, label, begin, limit)
        return data.split(b"\n", 1)[1] if begin and b"\n" in data else data

    @contextmanager
    def directory(self, vm_id: str, make: bool = False) -> Iterator[int]:
        """A VM's directory, as an open descriptor.

        :raises FileNotFoundError: there is none, and none is to be made
        :raises OSError: it cannot be used
        """
        if not re.fullmatch(VM_ID, vm_id) or "\n" in vm_id:
            raise ValueError("expected 32 hexadecimal digits as a VM's id")
        with _opened(str(self.root), _DIRECTORY & ~os.O_NOFOLLOW) as root:  # the operator may have linked this one
            with _step(vm_id[:2], root, make) as first, _step(vm_id, first, make) as second:
                yield second


def files_in(directory: int) -> Iterator[LogFile]:
    """The logs in an open directory of a VM, by label."""
    for name in sorted(os.listdir(directory)):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if name.endswith(_SUFFIX) and stat.S_ISREG(found.st_mode):
            written_at = datetime.fromtimestamp(found.st_mtime, UTC)
            yield LogFile(name.removesuffix(_SUFFIX), found.st_size, written_at)


@contextmanager
def open_log(directory: int, label: str, flags: int) -> Iterator[int]:
    """A log in an open directory, as a descriptor.

    :raises FileNotFoundError: there is none, and ``flags`` do not make one
    :raises OSError: it cannot be opened, or is no regular file, or has a second name
    """
    if not re.fullmatch(LABEL, label) or "\n" in label:
        raise ValueError("expected small letters, digits and hyphens as a log's label")
    with _opened(label + _SUFFIX, flags | _FILE, directory) as file:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise NoRegularFile(errno.EPERM, "not a regular file of one name", label + _SUFFIX)
        yield file


def printable_log(data: bytes) -> str:
    """A log as a terminal may show it."""
    return printable_lines(data.decode("utf-8", "replace"))


def html_of_log(data: bytes) -> str:
    """A log as the inside of an HTML element, or an attribute's value."""
    return html.escape(printable_log(data))


def _step(name: str, parent: int, make: bool):
    if make:
        try:
            os.mkdir(name, 0o750, dir_fd=parent)
        except FileExistsError:
            pass
    return _opened(name, _DIRECTORY, parent)


@contextmanager
def _opened(name: str, flags: int, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, flags, 0o640, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
