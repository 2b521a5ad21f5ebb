"""One DIRAC server for all tests that ask for it, and DIRAC's environment before anything imports DIRAC."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, nothing of the code. A run can be repeated; others than its
# examples are tried with --hypothesis-profile=random.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("repeatable")

sys.path.insert(0, str(Path(__file__).parents[1]))

from lab.dirac import FOREIGN_VARIABLES, Lab, home  # noqa: E402
from lab.openstack import Cloud, OpenStackLab  # noqa: E402

ROOMS = ("unit", "property", "lab", "e2e")
# DIRAC reads the configuration below its root when it is imported, whatever it is told: a root of this process's own
# can hold neither an old one nor that of another run.
LAB_ROOT = home() / f"lab-tests-{os.getpid()}"
CLOUD_ROOT = home() / f"openstack-tests-{os.getpid()}"
# beside a demo that was kept
LAB_PORT_OFFSET = int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0")) + 500

for name in FOREIGN_VARIABLES:
    os.environ.pop(name, None)
os.environ.update(DIRAC_ROOT_PATH=str(LAB_ROOT), DIRAC_NO_CFG="1")
(LAB_ROOT / "etc/dirac.cfg").unlink(missing_ok=True)  # of a dead process that had our number


def pytest_collection_modifyitems(items):
    """From fast to real, whatever order the directories come in."""
    here = Path(__file__).parent
    items.sort(key=lambda item: ROOMS.index(item.path.relative_to(here).parts[0]))


def pytest_sessionfinish(session):
    """A test that was skipped has shown nothing."""
    if _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if skipped := _skipped(config):
        terminalreporter.write_line(f"FAILED: {len(skipped)} skipped; every test has to run", red=True)


def _skipped(config) -> list:
    return config.pluginmanager.getplugin("terminalreporter").stats.get("skipped", [])


@pytest.fixture(scope="session")
def turn(request):
    """The labs of tests have ports of their own, so of all runs on one home one at a time has labs."""
    home().mkdir(parents=True, exist_ok=True)
    with open(home() / "lab-tests.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print(f"\nother tests use the labs below {home()}: waiting for their end …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in home().glob("lab-tests-*"):  # by an interrupted run, or for inspection by an earlier one
            Lab(left).down()
            shutil.rmtree(left)
        for left in home().glob("openstack-tests-*"):
            OpenStackLab(left).down()
            shutil.rmtree(left)
        yield


@pytest.fixture(scope="session")
def lab(turn):
    """A real DIRAC server; this process is one of its own."""
    server = Lab(LAB_ROOT, port_offset=LAB_PORT_OFFSET)
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


@pytest.fixture
def cs(dirac):
    """``cs({path: value})`` changes options of the Configuration System; they are put back afterwards."""
    from DIRAC import gConfig
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    before: dict[str, str | None] = {}

    def set_options(options, remember=True):
        api = CSAPI()
        for path, value in options.items():
            if remember and path not in before:
                before[path] = gConfig.getValue(path) or None
            result = api.modifyValue(path, value) if gConfig.getValue(path) else api.setOption(path, value)
            assert value is None or result["OK"], result
            if value is None:
                api.delOption(path)
        assert api.commit()["OK"]
        gConfig.forceRefresh(fromMaster=True)

    yield set_options
    set_options(before, remember=False)


@pytest.fixture(scope="session")
def cloud(request):
    """A real OpenStack with a real OIDC provider.

    ``JENNIFERDIRAC_TEST_CLOUD`` names the root of one that runs, and saves a minute.
    """
    if running := os.environ.get("JENNIFERDIRAC_TEST_CLOUD"):
        yield Cloud.load(Path(running))
        return
    request.getfixturevalue("turn")
    server = OpenStackLab(CLOUD_ROOT, port_offset=LAB_PORT_OFFSET)
    server.up()
    try:
        yield server.cloud
    finally:
        server.down()


@pytest.fixture
def project(cloud):
    """A project of its own in that OpenStack, without limits."""
    made = cloud.make_project()
    yield made
    cloud.remove_project(made)
