"""Small words of sentences: numbers of things, points of time, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime


def moment(at: datetime, now: datetime) -> str:
    """A point of time: today's without the date."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def number(count: int, thing: str) -> str:
    """1 VM, 2 VMs."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def counted(counts: Mapping[str, int]) -> str:
    """2 Booting, 1 Requested."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = list(names) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def sentence(text: str) -> str:
    """With a full stop, if it has none: reasons come from many mouths."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
