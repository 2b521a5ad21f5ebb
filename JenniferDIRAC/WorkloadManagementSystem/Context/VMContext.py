"""Everything that one VM is told at boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from JenniferDIRAC.WorkloadManagementSystem.Context.Secret import Secret

DEFAULT_CERT_DIR = "/etc/grid-security/certificates"


class ContextError(Exception):
    """A VM's context cannot be made. ``str()`` is for an operator and holds no secret."""


@contextmanager
def context_errors(what: str) -> Iterator[None]:
    """Makes a ContextError of whatever goes wrong inside: one VM's odd value must not end the cycle of all.

    The error's text is quoted, so nothing inside may reveal a secret.
    """
    try:
        yield
    except ContextError:
        raise
    except Exception as error:
        raise ContextError(f"{what}: {type(error).__name__}: {error}") from error


class Credential(Protocol):
    """How a VM comes by its pilot credential."""

    @property
    def files(self) -> Mapping[str, Secret]:
        """Files for root alone in the VM, by path."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What ``jennifer-vm`` is told about it, in a file that holds no secret."""


@dataclass(frozen=True)
class ProxyInUserData:
    """The pilot proxy (PEM: certificate, key, chain) itself, in a file for root alone."""

    proxy: Secret

    PATH = "/etc/jennifer/proxy.pem"

    @property
    def files(self) -> Mapping[str, Secret]:
        return {self.PATH: self.proxy}

    @property
    def settings(self) -> Mapping[str, str]:
        return {"kind": "proxy-file", "path": self.PATH}


@dataclass(frozen=True)
class VMContext:
    """Values for the template of one VM.

    ``pilot_file_urls`` are the places to try for ``pilot.tar`` and its checksums, in this order. ``trust_anchors``
    are PEM texts by the file name they get in ``cert_dir``. ``extra_hosts`` are lines of ``/etc/hosts``.
    """

    vm_id: str
    name: str
    site: str
    ce: str
    queue: str
    vo: str
    pilot_reference: str
    pilot_stamp: str
    pilot_argv: tuple[str, ...]
    pilot_env: Mapping[str, str]
    pilot_file_urls: tuple[str, ...]
    credential: Credential
    max_lifetime: timedelta
    pilot_user: str = "dirac"
    cert_dir: str = DEFAULT_CERT_DIR
    trust_anchors: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_hosts: tuple[str, ...] = ()
    cvmfs_proxy: str = ""
    cvmfs_repositories: tuple[str, ...] = ()
    template: str = "cloud-init"
