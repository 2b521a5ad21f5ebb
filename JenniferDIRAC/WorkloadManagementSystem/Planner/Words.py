"""How a length of time is told."""

from __future__ import annotations

from datetime import timedelta

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
