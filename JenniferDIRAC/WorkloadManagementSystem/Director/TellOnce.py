"""Lines for the log that hold over many cycles."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class TellOnce:
    """Tells each line when it appears, and again only after it had gone."""

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._standing: frozenset[str] = frozenset()

    def stand(self, lines: Iterable[str]) -> None:
        """These hold now, and no other."""
        standing = frozenset(lines)
        for line in sorted(standing - self._standing):
            self._tell(line)
        self._standing = standing
