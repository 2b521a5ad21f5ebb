"""Text that cannot be printed by accident."""

from __future__ import annotations


class Secret:
    """A text that shows itself as ``<secret>`` in logs, formats, tracebacks and ``repr``; ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the place that needs it, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)
