"""What unit tests share: a Configuration System in this process, without any server."""

import os

os.environ.setdefault("DIRAC_NO_CFG", "1")

import pytest
from DIRAC.ConfigurationSystem.Client.ConfigurationData import gConfigurationData
from diraccfg import CFG


def section(tree: dict) -> CFG:
    """A CFG of nested dictionaries; lists are written as DIRAC reads them."""
    cfg = CFG()
    for name, value in tree.items():
        if isinstance(value, dict):
            cfg.createNewSection(name, contents=section(value))
        else:
            cfg.setOption(name, ", ".join(value) if isinstance(value, (list, tuple)) else str(value))
    return cfg


@pytest.fixture
def cs():
    """A function that makes a tree of dictionaries the whole CS; what was there before comes back afterwards."""
    local, remote, version = gConfigurationData.localCFG, gConfigurationData.remoteCFG, [0]

    def fill(tree: dict) -> None:
        # The Operations helper keeps what it merged for as long as the version stays.
        version[0] += 1
        tree = {**tree, "DIRAC": {"Configuration": {"Version": f"{os.getpid()}-{id(version)}-{version[0]}"}}}
        gConfigurationData.localCFG, gConfigurationData.remoteCFG = CFG(), section(tree)
        gConfigurationData.sync()

    yield fill
    gConfigurationData.localCFG, gConfigurationData.remoteCFG = local, remote
    gConfigurationData.sync()
