"""``python -m openstack_lab.nova compute|conductor|scheduler OPTION…``: Nova's command of that name, ready sooner.

Nova waits 5 s before a service's first report, and 10 s for the conductor before it asks a second time.
"""

import importlib
import os
import sys

if __name__ == "__main__":
    service = sys.argv.pop(1)
    sys.argv[0] = f"nova-{service}"
    command = importlib.import_module(f"nova.cmd.{service}")  # before anything else of Nova: it patches on import
    from nova import conductor, virt
    from nova.servicegroup import api

    virt.__path__.append(os.path.dirname(__file__))  # Nova takes drivers from there only
    api.INITIAL_REPORTING_DELAY = 0
    conductor.API.wait_until_ready.__defaults__ = (1, 60)  # seconds for one of the early attempts, and their number
    sys.exit(command.main())
