"""How this VM is: what a heartbeat tells, and whether a payload runs."""

import os
import re

from .Machine import read_text, under, uptime

WRAPPER = re.compile(rb"(?:^|[/\0])Wrapper_(\d+)(?:\0|$)")


def vitals(root, work):
    """Load, free disk and memory, as far as they can be told."""
    told = {"uptime": round(uptime(), 1), "load": [round(load, 2) for load in os.getloadavg()]}
    free = disk_mib(work)
    if free is not None:
        told["disk_mib"] = free
    memory = re.search(r"^MemAvailable:\s+(\d+) kB", read_text(under(root, "/proc/meminfo")), re.MULTILINE)
    if memory:
        told["memory_mib"] = int(memory.group(1)) >> 10
    return told


def disk_mib(path):
    """MiB free for others than root on a path's file system; None if the path is not there."""
    try:
        free = os.statvfs(path)
    except OSError:
        return None
    return free.f_bavail * free.f_frsize >> 20


def running_payloads(root):
    """How many of DIRAC's job wrappers run: the JobAgent's words do not tell when a job of a pool is over."""
    processes, jobs = under(root, "/proc"), set()
    for name in os.listdir(processes) if os.path.isdir(processes) else ():
        if name.isdigit():
            try:
                with open(os.path.join(processes, name, "cmdline"), "rb") as file:
                    jobs.update(WRAPPER.findall(file.read(65536)))
            except OSError:  # it has just ended
                pass
    return len(jobs)
