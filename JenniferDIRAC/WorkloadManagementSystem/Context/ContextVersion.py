"""Which version of its context a VM gets: the name of its template, and a digest of all that the VM is told.

What is a VM's own (ids, stamps, names, credential, times) has no part in it, nor has its flavor.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from DIRAC.ConfigurationSystem.Client.ConfigurationData import gConfigurationData

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import type_key
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import gateway_access
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import context_of_nobody
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import (
    SUFFIX,
    render_user_data,
    sealed_content,
    template_files,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, VMContext
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import Scope

DIGITS = 8
_NAME_LENGTH = 40  # what a column of the database has room for besides the digest
_NOBODYS_SECRET = Secret("<secret>\n")
_CODE = Path(__file__).parent  # the in-VM program is in it

#: Files that a context is made of: a directory, and a pattern for what counts there.
_Files = tuple[Path, str]


class Recipient(NamedTuple):
    """Whose version is asked for: any VM of this type for this VO."""

    endpoint: EndpointConfig
    vm_type: VMTypeConfig
    profile: ProfileConfig
    vo: str
    director: DirectorConfig

    def __hash__(self) -> int:
        return hash(self.scope)  # an option may be one that has none

    @property
    def scope(self) -> Scope:
        return type_key(self.vm_type), self.vo.lower()


def all_that_is_told(context: VMContext) -> bytes:
    """Everything that a VM of this context is told: what is not in here may change without being tried on one VM.

    :raises ContextError: it cannot be made
    """
    user_data = render_user_data(context, max_bytes=sys.maxsize)  # what a cloud takes is for the VM's own
    if context.gateway is None:
        return user_data
    return user_data + json.dumps(sealed_content(context, user_data), sort_keys=True).encode()


def context_version(recipient: Recipient) -> str:
    """Such as ``el9@3f2a91c0``.

    :raises ContextError: the context cannot be made
    """
    return _version_of(_context(recipient))


class ContextVersions:
    """The versions as they are today, made anew only where something changed that they are made of."""

    def __init__(self) -> None:
        self._made: dict[Scope, _Made] = {}

    def versions(self, recipients: Iterable[Recipient]) -> dict[Recipient, str]:
        """Of those whose context can be made; where it cannot, whoever creates a VM is told why."""
        stamps = _Stamps()
        found = {}
        for recipient in recipients:
            made = self._today(recipient, stamps)
            if made is not None:
                found[recipient] = made.version
        return found

    def _today(self, recipient: Recipient, stamps: _Stamps) -> _Made | None:
        last, settings = self._made.get(recipient.scope), (gConfigurationData.getVersion(), *recipient)
        if last is not None and last.settings == settings and last.stamps == stamps.of(last.files):
            return last
        try:
            context = _context(recipient)
            files = _files_of(context, recipient)
            now = stamps.of(files)
            # Most changes of the CS are about something else, and a template is dear to render.
            is_same = last is not None and (last.context, last.stamps) == (context, now)
            made = _Made(settings, context, files, now, last.version if is_same else _version_of(context))
        except ContextError:
            self._made.pop(recipient.scope, None)
            return None
        self._made[recipient.scope] = made
        return made


@dataclass(frozen=True, slots=True)
class _Made:
    """A version, and what it was made of: the CS's version with the recipient, and the files as they were."""

    settings: tuple
    context: VMContext
    files: tuple[_Files, ...]
    stamps: tuple
    version: str


@dataclass(slots=True)
class _Stamps:
    """Names, times and sizes of files, each looked at once."""

    _seen: dict[_Files, tuple] = field(default_factory=dict)

    def of(self, files: Iterable[_Files]) -> tuple:
        return tuple([self._seen.get(some) or self._seen.setdefault(some, _look(*some)) for some in files])


def _look(directory: Path, pattern: str) -> tuple:
    found = []
    for name in sorted(glob.glob(pattern, root_dir=directory, recursive=True, include_hidden=True)):
        try:
            status = os.stat(directory / name)
        except OSError as error:
            found.append((name, error.errno))
        else:
            found.append((name, status.st_mtime_ns, status.st_size))
    return directory, *found


def _context(recipient: Recipient) -> VMContext:
    endpoint, vm_type, profile, vo, director = recipient
    gateway = gateway_access(endpoint, director, _NOBODYS_SECRET)
    return context_of_nobody(endpoint, vm_type, profile, vo, "<pilot reference>", _NOBODYS_SECRET, gateway=gateway)


def _version_of(context: VMContext) -> str:
    name = Path(context.template).name.removesuffix(SUFFIX).removesuffix(".j2")[:_NAME_LENGTH]
    return f"{name}@{hashlib.sha256(all_that_is_told(context)).hexdigest()[:DIGITS]}"


def _files_of(context: VMContext, recipient: Recipient) -> tuple[_Files, ...]:
    """A template may include others, which lie beside it, whatever they are called."""
    templates = template_files(context)
    files = [(path.parent, "*") for path in templates] + [(_CODE, "**/*.py")]
    named = filter(None, (recipient.profile.trust_anchors, recipient.director.gateway_ca))
    return *files, *((path.parent, glob.escape(path.name)) for path in named)
