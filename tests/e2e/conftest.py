"""A directory for the demo's labs."""

import pytest
from demo_world import PORT_OFFSET, openstack_of

from lab.dirac import Lab, home


@pytest.fixture
def root(turn):
    """A lab's directory of these tests' own, beside every other lab; whatever a failure leaves is ended."""
    lab = Lab(home() / "lab-e2e", port_offset=PORT_OFFSET)
    for one in (lab, openstack_of(lab.root)):
        one.down()  # what an interrupted run left
    yield lab.root
    for one in (lab, openstack_of(lab.root)):
        one.down()
