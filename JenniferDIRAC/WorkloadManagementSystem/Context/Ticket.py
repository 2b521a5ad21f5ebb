"""A VM's one-time ticket, and the envelope that only its bearer can open.

The database keeps the ticket's digest and the envelope sealed with a key that is made of the ticket. Whoever reads the
database, or breaks into the gateway before the VM has come, learns neither the pilot credential nor the ticket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from JenniferDIRAC.Resources.Cloud.Secret import Secret

_BYTES = 32
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


class BadTicket(Exception):
    """It does not open the envelope."""


def new_ticket() -> Secret:
    """256 random bits in 43 characters of url-safe base64."""
    return Secret(secrets.token_urlsafe(_BYTES))


def is_token(text: str) -> bool:
    """Whether a text has the form of a ticket, or of the session that a VM makes."""
    return _FORM.fullmatch(text) is not None


def digest(token: str) -> str:
    """What is kept of a ticket or session: 64 hexadecimal digits. They are random enough to need no slow hash."""
    return hashlib.sha256(b"digest:" + token.encode()).hexdigest()


def seal(ticket: Secret, envelope: Mapping[str, Any]) -> bytes:
    """The envelope, which may hold any JSON, for whoever brings the ticket."""
    return _cipher(ticket.reveal()).encrypt(zlib.compress(json.dumps(envelope).encode()))


def unseal(ticket: str, sealed: bytes) -> dict[str, Any]:
    """:raises BadTicket: it was sealed with another ticket, or changed"""
    try:
        return json.loads(zlib.decompress(_cipher(ticket).decrypt(sealed)))
    except InvalidToken:
        raise BadTicket("the ticket does not open the envelope") from None


def _cipher(ticket: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"key:" + ticket.encode()).digest()))
