"""Looks for secrets in what a run left behind, whole or in part, in any form that a log or a table may give them."""

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

#: Lines of a PEM file have 64 characters but for the last one; what is shorter than this may come about by chance.
SHORTEST = 12
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_TOKEN = re.compile(rb"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")


def forms(secret: str) -> set[bytes]:
    """A secret as text, in JSON, in a URL, in hexadecimal digits, and within the base64 of a longer text."""
    plain = secret.encode()
    found = {plain, json.dumps(secret)[1:-1].encode(), quote(secret).encode()}
    found |= {quote(secret, safe="").encode(), quote_plus(secret).encode()}
    found |= {plain.hex().encode(), plain.hex().upper().encode()}
    for before in range(3):  # the characters at both ends depend on the neighbours
        coded = base64.b64encode(b"\0" * before + plain)
        inner = coded[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def key_lines(text: str) -> list[str]:
    """The lines of the private keys in a PEM text, which is how they are found with and without line ends."""
    lines = [line.strip() for key in _KEY.findall(text) for line in key.split("\n")]
    return [line for line in lines if len(line) >= SHORTEST]


def tokens(data: bytes) -> set[str]:
    """All words that have the form of a ticket or session."""
    return {word.decode() for word in _TOKEN.findall(data)}


@dataclass
class Needles:
    """Secrets by what they are."""

    secrets: dict[str, set[str]] = field(default_factory=dict)

    def add(self, what: str, *secrets: str) -> None:
        assert all(len(secret) >= SHORTEST for secret in secrets), f"{what}: too short to be told from chance"
        assert secrets, f"{what}: none"
        self.secrets.setdefault(what, set()).update(secrets)

    def in_data(self, data: bytes) -> set[str]:
        """What of them stands there; never the secret itself, for this is what a failing test shows."""
        return {what for what, form in self._forms() if form in data}

    def in_files(self, paths: list[Path]) -> dict[str, set[str]]:
        found = {}
        for path in paths:
            if hits := self.in_data(path.read_bytes()):
                found[str(path)] = hits
        return found

    def _forms(self) -> list[tuple[str, bytes]]:
        return [(what, form) for what, secrets in self.secrets.items() for secret in secrets for form in forms(secret)]
