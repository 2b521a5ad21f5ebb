"""A CS with one endpoint and one VO's pilot, for all that makes contexts."""

import pytest

CE = {
    "CEType": "JenniferFake",
    "CVMFSProxy": "http://squid.here.org:3128",
    "Queues": {"q": {"Image": "el9", "Flavor": "small", "maxCPUTime": 1440, "NumberOfProcessors": 2}},
}


@pytest.fixture
def world(cs):
    """A function that fills the CS; ``pilot``, ``cloud`` and ``queue`` are options to add at these places."""

    def fill(pilot=(), cloud=(), queue=(), **ce):
        queues = {"q": CE["Queues"]["q"] | dict(queue)}
        ces = {"ours": CE | {"Queues": queues} | ce}
        cs(
            {
                "Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": {"VO": "belle", "CEs": ces}}}},
                "Systems": {"WorkloadManagement": {"Agents": {"CloudDirector": {"VO": "belle"}}}},
                "Operations": {
                    "Defaults": {"Pilot": {"pilotFileServer": "dirac.here.org:8443"}},
                    "belle": {"Pilot": dict(pilot), "Cloud": dict(cloud)},
                },
            }
        )

    fill()
    return fill
