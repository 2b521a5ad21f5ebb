"""What the tests of clouds' modules share: servers on this machine that answer as a test tells them."""

import pytest
from scripted_server import ScriptedServer, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(CA, server's key and certificate)."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def scripted(certificate):
    """A function that starts a server, over https unless told otherwise."""
    servers = []

    def start(https=True):
        servers.append(ScriptedServer(certificate[1] if https else None))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
