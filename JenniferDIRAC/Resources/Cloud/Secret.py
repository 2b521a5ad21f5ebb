"""Text that cannot be printed by accident."""

from __future__ import annotations

from typing import Any, NoReturn

_SHOWN = "<secret>"


class Secret:
    """A text that shows itself as ``<secret>`` in logs, formats, tracebacks and ``repr``; ``reveal()`` gives it.

    It cannot be pickled, for what is pickled lands in caches and on wires, and there is no ``vars()`` of it. An empty
    one is false, as an empty text is.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the place that needs it, at the last moment, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return _SHOWN

    def __format__(self, how: str) -> str:
        return format(_SHOWN, how)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret has no state to show")
