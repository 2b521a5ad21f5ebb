"""Small words of sentences: numbers of things, lengths and points of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lasting(time: timedelta) -> str:
    """A length of time in its two greatest units: 40 s, 3 min 20 s, 2 h, 1 d 4 h; below nothing it is 0 s."""
    left = max(0, round(time.total_seconds()))
    parts = []
    for seconds, unit in _UNITS:
        number, left = divmod(left, seconds)
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number) or "0 s"


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
