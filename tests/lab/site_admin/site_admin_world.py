"""The site that tests register, and what DIRAC says of it."""

import sys
from functools import partial
from pathlib import Path

from lab.dirac.answers import ask

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
SITE = "CLOUD.Test.fr"
SECTION = f"/Resources/Sites/CLOUD/{SITE}"
CE = f"{SECTION}/CEs/test-cloud"
FLAVOR = "m1.small"
ZONE = "fake"
ACTIVE = {"Site": "Active", "ComputingElement": "Active"}
REGISTER = ("register", SITE, "--cloud", "test-cloud", "--vo", "belle", "--vo", "t2k.org", "--yes")


def forget_status():
    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient

    for table, name in (("Site", SITE), ("Resource", "test-cloud"), ("Resource", "second")):
        ask(partial(ResourceStatusClient().deleteStatusElement, table, "Status", name=name))


def status() -> dict[str, str]:
    """Of site and CE, as the ResourceStatus service knows it."""
    from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import element_of

    return {kind: element_of(kind, name).status for kind, name in (("Site", SITE), ("ComputingElement", "test-cloud"))}


def served(path: str) -> str | None:
    """An option as the configuration service has it now."""
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    from JenniferDIRAC.ConfigurationSystem.Registration import value_of

    return value_of(ask(CSAPI().getCurrentCFG), path)


def version() -> str:
    return served("/DIRAC/Configuration/Version")
