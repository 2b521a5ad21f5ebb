"""Several requests to one cloud at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")


def side_by_side(at_once: int, act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call ``act``, which raises nothing, for each item, at most ``at_once`` at a time; begun in the items' order.

    The caller's thread does its part; the others are daemons, unlike those of ``concurrent.futures``: a cloud that
    hangs does not keep the agent alive.
    """
    left = deque(items)

    def work() -> None:
        while True:
            try:
                item = left.popleft()
            except IndexError:
                return
            act(item)

    threads: list[threading.Thread] = []
    with suppress(RuntimeError):  # this machine has too many: then fewer do it all
        for _ in range(min(at_once, len(left)) - 1):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            threads.append(thread)
    work()
    for thread in threads:
        thread.join()
