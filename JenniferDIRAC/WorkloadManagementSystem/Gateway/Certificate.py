"""The host's certificate and key, as TLS shows them; a renewed pair is taken while the gateway runs."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509


class BadCertificate(Exception):
    """Certificate and key cannot be used; the text says which files and why."""


class HostCertificate:
    """A pair of PEM files.

    :raises BadCertificate: they cannot be used
    """

    def __init__(self, certificate: Path, key: Path):
        self._certificate, self._key = certificate, key
        self._seen = self._as_it_is()
        self.context = self._loaded()

    def renew(self) -> bool:
        """Take the files again if they changed: for connections from now on. Not to be called while another thread
        accepts connections.

        :raises BadCertificate: they changed, and cannot be used; what was there goes on
        """
        if (now := self._as_it_is()) == self._seen:
            return False
        self._loaded()  # in a context of its own: between two writes certificate and key may not belong together
        self._load(self.context)
        self._seen = now
        return True

    def left(self, now: datetime) -> timedelta:
        """How long VMs still trust it.

        :raises BadCertificate: it cannot be read, or is over: no VM can talk to this gateway
        """
        try:
            ends = x509.load_pem_x509_certificate(self._certificate.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise BadCertificate(f"certificate {self._certificate}: {error}") from None
        if ends <= now:
            raise BadCertificate(f"certificate {self._certificate} ended at {ends:%Y-%m-%d %H:%M} UTC: renew it")
        return ends - now

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        def nobody_types_one() -> str:
            raise BadCertificate(f"the key {self._key} has a passphrase: expected a host's key without one")

        try:
            context.load_cert_chain(self._certificate, self._key, nobody_types_one)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise BadCertificate(f"certificate {self._certificate} and key {self._key}: {error}") from None

    def _as_it_is(self) -> tuple:
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError as error:
            raise BadCertificate(f"certificate {self._certificate} and key {self._key}: {error}") from None
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
