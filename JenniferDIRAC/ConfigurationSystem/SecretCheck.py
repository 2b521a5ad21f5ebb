"""Finds what looks like a secret in the CS, where every client can read it and ``pilot.json`` publishes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem

_SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "appcred",
    "privatekey",
    "accesskey",
    "apikey",
    "userkey",
    "keycontent",
)
_MARKS = re.compile(r"-----BEGIN|\beyJ[\w-]{8,}\.[\w-]+")
# One word without a path's slashes at its start: application credentials, AWS keys and bearer tokens look like this.
_LONG_WORD = re.compile(r"(?<![\w/.:+=-])[A-Za-z0-9+=_-][A-Za-z0-9+/=_-]{39,}")
# NAME=value, NAME:::value (Pilot 3's user variables) and --name value inside a longer option.
_ASSIGNMENT = re.compile(r"(?:^|[\s,;/-])([A-Za-z_][\w.-]*)\s*(?::::|=|\s)\s*([^\s,;]+)")
_HINT = "every client can read the CS; keep it in a root-only file of the director's host (clouds.yaml, secure.yaml)"


def find_secrets(section: str, options: Mapping[str, Any]) -> tuple[ConfigProblem, ...]:
    """A problem for each option that looks like a secret: its path, and never its value."""
    return tuple(
        ConfigProblem(f"{section}/{name}", "no secret in the CS", "what looks like a secret", _HINT)
        for name, value in options.items()
        if _is_secret_name(name) or looks_secret(value)
    )


def looks_secret(value: Any) -> bool:
    """Whether a value holds a key, a token, or an assignment to something that is named like one."""
    texts: Iterable[str] = map(str, value) if isinstance(value, (list, tuple)) else (str(value),)
    return any(
        _MARKS.search(text)
        or any(_is_random(word) for word in _LONG_WORD.findall(text))
        or any(_is_secret_name(name) and not found.startswith("/") for name, found in _ASSIGNMENT.findall(text))
        for text in texts
    )


def _is_secret_name(name: str) -> bool:
    folded = re.sub(r"[^a-z]", "", name.lower())
    return folded == "key" or any(word in folded for word in _SECRET_WORDS)


def _is_random(word: str) -> bool:
    """Upper case, lower case and digits mixed as no name or path mixes them."""
    kinds = [0 if char.isdigit() else 1 if char.isupper() else 2 if char.islower() else 3 for char in word]
    changes = sum(one != other for one, other in pairwise(kinds))
    return {0, 1, 2} <= set(kinds) and changes > len(word) / 3
