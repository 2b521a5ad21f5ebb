"""One DIRAC server for all tests that ask for it, and DIRAC's environment before anything imports DIRAC."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

sys.path.insert(0, str(Path(__file__).parents[1]))

from lab.dirac import Lab, home  # noqa: E402

ROOMS = ("unit", "property", "lab", "e2e")
LAB_ROOT = home() / "lab-tests"
# beside a demo that was kept
LAB_PORT_OFFSET = int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0")) + 500

for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "X509_USER_PROXY"):
    os.environ.pop(name, None)
# DIRAC takes its root at import, and reads the configuration file it finds there: none before the lab is up
os.environ.update(DIRAC_ROOT_PATH=str(LAB_ROOT), DIRAC_NO_CFG="1")
(LAB_ROOT / "etc/dirac.cfg").unlink(missing_ok=True)


def pytest_collection_modifyitems(items):
    """From fast to real, whatever order the directories come in."""
    here = Path(__file__).parent
    items.sort(key=lambda item: ROOMS.index(item.path.relative_to(here).parts[0]))


@pytest.fixture(scope="session")
def lab():
    """A real DIRAC server; this process is one of its own."""
    server = Lab(LAB_ROOT, port_offset=LAB_PORT_OFFSET)
    server.down()  # what an interrupted run left
    server.up()
    try:
        server.activate()
        yield server
    finally:
        server.down()


@pytest.fixture
def dirac(lab):
    """The same server without jobs, pilots and virtual machines."""
    lab.reset()
    return lab
