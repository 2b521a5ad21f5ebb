"""A gateway for tests."""

import pytest

pytest.register_assert_rewrite("gateway_world")
from gateway_world import World, certificates_in  # noqa: E402


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return certificates_in(tmp_path_factory.mktemp("security"))


@pytest.fixture
def start(tmp_path, certificates):
    """A function that starts a gateway; all of one test share database and logs."""
    started = []

    def make(**options):
        world = World(tmp_path, certificates, **options)
        started.append(world)
        return world.__enter__()

    yield make
    for world in started:
        world.__exit__()


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    """A gateway with wide bounds; its VMs have nothing to do with each other."""
    with World(tmp_path_factory.mktemp("gateway"), certificates) as made:
        yield made
