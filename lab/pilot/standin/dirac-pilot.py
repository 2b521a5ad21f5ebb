"""A stand-in for the standard DIRAC pilot: the same files, options and environment, and far fewer processes.

It reads ``pilot.json`` beside it, writes ``pilot.cfg`` and becomes DIRAC's own JobAgent. To use the real Pilot 3, point
``pilotRepo`` of ``/Operations/Defaults/Pilot`` at its repository; nothing else changes.
"""

import os
import sys

from pilotCommands import configure, launch
from pilotTools import OPTIONS, PilotError, PilotParams, log


def main():
    try:
        params = PilotParams(sys.argv[1:], os.environ)
        if params.help:
            sys.stdout.write("".join(f"{short[:1]:2s} --{name}\n" for short, name in OPTIONS))
            return 0
        params.check(os.environ)
        configure(params)
    except PilotError as error:
        log("ERROR", str(error))
        return 1
    return launch(params, dict(os.environ))


if __name__ == "__main__":
    sys.exit(main())
