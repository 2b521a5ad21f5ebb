"""Servers and a VM's directory, for all of the in-VM program."""

import shutil
import tempfile
from pathlib import Path

import pytest
from gateway_server import FakeClock, GatewayServer
from guest_directory import NORMAL_END, VM_ID, GuestDirectory
from pilot_server import CA, PilotServer

from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import load_trust_anchors


@pytest.fixture(scope="session")
def ca():
    return CA("CA of the pilot server")


@pytest.fixture
def server(ca, tmp_path):
    server = PilotServer(ca, tmp_path)
    server.publish(NORMAL_END)
    yield server
    server.close()


@pytest.fixture
def vm(ca, server, tmp_path):
    # Not below tmp_path, into which no other user may look.
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    (tmp_path / "ca.pem").write_text(ca.pem)
    yield GuestDirectory(root, server, load_trust_anchors(tmp_path / "ca.pem"))
    shutil.rmtree(root)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def gateway_server(ca, tmp_path, clock):
    server = GatewayServer(ca, tmp_path, VM_ID, clock)
    yield server
    server.close()


@pytest.fixture
def gateway(gateway_server, ca, clock):
    """The program's client of it, with a session that it knows."""
    from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Gateway import Gateway

    gateway = Gateway({"url": gateway_server.url, "ca": ca.pem}, VM_ID, clock)
    gateway.redeem(gateway_server.ticket)
    return gateway


class HeardConsole:
    """A console whose words are kept."""

    def __init__(self):
        self.notes = []
        self.lines = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def console():
    return HeardConsole()
