"""DIRAC's remote pilot logging, for those who want it: an ordinary lab does without its process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.common.address import require_free_ports
from lab.dirac.answers import value_of
from lab.dirac.configuration import PILOT_LOGGING_SERVICE
from lab.dirac.server import Lab

PROCESS = "pilot-logging"


@contextmanager
def pilot_logging(lab: Lab, vo: str) -> Iterator[str]:
    """The service runs, and is switched on for this VO; gives its address. The process must be the lab's.

    A director that runs takes the switch with its next refreshment of the CS only.

    :raises LabError: its port is in use, or it does not come up
    """
    port = lab.ports.pilot_logging
    url = f"https://{lab.address}:{port}/{PILOT_LOGGING_SERVICE}"
    require_free_ports([port])
    lab.start(PROCESS, [sys.executable, "-m", "lab.dirac.tornado_services", "-o", "LogLevel=INFO"])
    try:
        lab.wait_for_port(PROCESS, port)
        _set_options(vo, {"RemoteLogging": "True", "RemoteLoggerURL": url})
        try:
            yield url
        finally:
            _set_options(vo, {"RemoteLogging": "False"})
    finally:
        lab.processes.stop([PROCESS])


def logged(lab: Lab, vo: str, stamp: str) -> Path:
    """The file of a pilot's log; once the pilot, or its VM, has closed it, the one with ``.log`` behind its name."""
    return lab.root / "pilotlogs" / vo / stamp


def _set_options(vo: str, options: dict[str, str]) -> None:
    from DIRAC import gConfig
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    api = CSAPI()
    for name, value in options.items():
        value_of(api.setOption(f"/Operations/{vo}/Pilot/{name}", value))
    value_of(api.commit())
    gConfig.forceRefresh(fromMaster=True)
