"""Everything that one VM is told at boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from JenniferDIRAC.ConfigurationSystem.TemplateParts import TemplatePart
from JenniferDIRAC.Resources.Cloud.Secret import Secret

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
    """A VM's pilot credential, of a kind that ``jennifer-vm`` knows by name."""

    @property
    def files(self) -> Mapping[str, Secret]:
        """Files for root alone in the VM, by path, where there is no gateway."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What ``jennifer-vm`` is told about these, in a file that holds no secret."""

    def reveal(self) -> dict[str, str]:
        """Kind and secret, for the envelope and nothing else."""


@dataclass(frozen=True)
class PilotProxy:
    """The pilot proxy (PEM: certificate, key, chain) itself."""

    proxy: Secret

    PATH = "/etc/jennifer/proxy.pem"

    @property
    def files(self) -> Mapping[str, Secret]:
        return {self.PATH: self.proxy}

    @property
    def settings(self) -> Mapping[str, str]:
        return {"kind": "proxy-file", "path": self.PATH}

    def reveal(self) -> dict[str, str]:
        return {"kind": "proxy", "pem": self.proxy.reveal()}


@dataclass(frozen=True)
class GatewayAccess:
    """How a VM comes by all that is not in its user-data.

    ``ca``: PEM texts of the CAs that the gateway's certificate may come from, besides the image's own. ``patience``:
    for so long the VM tries to reach it, and the ticket is good.
    """

    url: str
    ticket: Secret
    patience: timedelta
    ca: str = ""

    TICKET_PATH = "/etc/jennifer/ticket"


@dataclass(frozen=True)
class CVMFS:
    """``proxies`` are tried in order, then those of ``shoal``; nothing is changed where no repository is named."""

    repositories: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    shoal: str = ""


@dataclass(frozen=True)
class VMContext:
    """Values for the template of one VM.

    ``pilot_file_urls`` are the places to try for ``pilot.tar`` and its checksums, in this order. ``trust_anchors``
    are PEM texts by the file name they get in ``cert_dir``. ``extra_hosts`` are lines of ``/etc/hosts``.
    ``pilot_logger`` is the address of DIRAC's own remote pilot logging, "" where it is switched off. ``gateway`` is
    None where there is none: then the credential stands in user-data. ``template_parts`` are merged into ``template``,
    in this order.
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
    cvmfs: CVMFS = CVMFS()
    min_disk_mib: int = 512
    lease: timedelta = timedelta(hours=1)
    heartbeat: timedelta = timedelta(minutes=5)
    pilot_logger: str = ""
    gateway: GatewayAccess | None = None
    template: str = "cloud-init"
    template_parts: tuple[TemplatePart, ...] = ()
