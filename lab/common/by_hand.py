"""What the labs' commands have in common: progress with the time it took, and what runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.common.base import BaseLab


def timed_progress() -> Callable[[str], None]:
    """Prints what it is given with the seconds since now."""
    start = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - start:5.1f} s] {text}", flush=True)


def show_status(lab: BaseLab) -> int:
    """Print the lab's processes and guests; 0 when nothing is wrong: all of them run, or nothing does."""
    processes, machines = lab.status(), lab.virtual_machines()
    if not processes and not machines:
        print(f"Nothing runs: {lab.root}")
        return 0
    for process in processes:
        state = f"PSS {process.memory_mib:4d} MiB" if process.alive else "GONE"
        print(f"{process.name:14s} pid {process.pid:7d}  {state}")
    print(f"{'all':14s}              PSS {sum(process.memory_mib for process in processes):4d} MiB  {lab.root}")
    for machine in machines:
        print(f"QEMU {machine}")
    return 0 if processes and all(process.alive for process in processes) else 1
