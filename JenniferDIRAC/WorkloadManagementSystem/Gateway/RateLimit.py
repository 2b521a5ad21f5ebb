"""How many bytes each VM may send: a token bucket for each."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable


class RateLimit:
    """``rate`` bytes per second and VM, and after a silence ``burst`` at once; safe to use from several threads.

    :param clock: seconds that never go back
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # by VM: what it held, and when

    def take(self, vm_id: str, amount: int) -> int:
        """0: the VM may send this much (at most ``burst``). Else the seconds after which it may."""
        with self._lock:
            now = self._clock()
            held = self._held(vm_id, now)
            if amount > held:
                return math.ceil((amount - held) / self._rate)
            self._buckets[vm_id] = (held - amount, now)
            return 0

    def forget(self) -> None:
        """Those that are full again need not be remembered."""
        with self._lock:
            now = self._clock()
            for vm_id in [vm_id for vm_id in self._buckets if self._held(vm_id, now) >= self._burst]:
                del self._buckets[vm_id]

    def _held(self, vm_id: str, now: float) -> float:
        held, at = self._buckets.get(vm_id, (self._burst, now))
        return min(self._burst, held + (now - at) * self._rate)
