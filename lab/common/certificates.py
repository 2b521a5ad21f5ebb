"""A certificate authority for the lab, its host certificate, and one certificate per user."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

DN_PREFIX = "/C=fr/O=DiracLab/CN="
HOST = "localhost"
_CA_DAYS, _DAYS = 30, 20


def make_certificates(grid_security: Path, users_directory: Path, users: Iterable[str], alternative_names: str) -> None:
    """Write CA, host and user pairs; ``alternative_names`` are the host's, in OpenSSL's form (``IP:…,DNS:…``)."""
    certificates = grid_security / "certificates"
    certificates.mkdir(parents=True)
    ca, ca_key = certificates / "lab-ca.pem", grid_security / "ca.key"
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", _CA_DAYS, "-subj", f"{DN_PREFIX}Lab CA"),
        *("-addext", "keyUsage=critical,digitalSignature,cRLSign,keyCertSign", "-keyout", ca_key, "-out", ca),
    )
    ca_key.chmod(0o400)
    subject_hash = _openssl("x509", "-hash", "-noout", "-in", ca).strip()
    (certificates / f"{subject_hash}.0").symlink_to(ca.name)
    usage = f"serverAuth,clientAuth\nsubjectAltName={alternative_names}"
    _pair(ca, ca_key, HOST, grid_security / "hostcert.pem", grid_security / "hostkey.pem", usage)
    for user in users:
        directory = users_directory / user
        directory.mkdir(parents=True)
        _pair(ca, ca_key, user, directory / "usercert.pem", directory / "userkey.pem", "clientAuth")


def _pair(ca: Path, ca_key: Path, name: str, certificate: Path, key: Path, usage: str) -> None:
    extensions = certificate.with_suffix(".ext")
    extensions.write_text(
        f"basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n"
    )
    request = _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", DN_PREFIX + name, "-keyout", key)
    _openssl(
        *("x509", "-req", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-CAserial", ca_key.with_suffix(".srl")),
        *("-days", _DAYS, "-sha256", "-extfile", extensions, "-out", certificate),
        request=request,
    )
    key.chmod(0o400)
    extensions.unlink()


def _openssl(*arguments: object, request: str | None = None) -> str:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=request, capture_output=True, text=True, check=True).stdout
