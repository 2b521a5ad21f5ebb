"""The package's profiles as a CS, and contexts of VMs of theirs."""

from datetime import timedelta
from functools import cache

from diraccfg import CFG

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import context_of_nobody
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import TEMPLATES
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import GatewayAccess

PROFILES = {path.stem: path for path in sorted((TEMPLATES / "profiles").glob("*.cfg"))}
GATEWAY = GatewayAccess("https://gateway.here.org:9164", Secret("t" * 43), timedelta(minutes=27))
QUEUE = {"Image": "el9", "Flavor": "small", "maxCPUTime": 1440, "NumberOfProcessors": 2}
SITE = {"CEs": {"ours": {"CEType": "JenniferFake", "Queues": {"q": QUEUE}}}}


@cache
def profile(vo):
    """What the file says, as a dictionary."""
    loaded = CFG()
    loaded.loadFromFile(str(PROFILES[vo]))
    return loaded.getAsDict()


def fill(cs, vo, **filled_in):
    """Make the profile the CS, with one endpoint, and values for what it leaves to be filled in."""
    pilot = profile(vo)["Operations"][vo]["Pilot"] | {"pilotFileServer": "dirac.here.org"} | filled_in
    cs(
        {
            "Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": SITE}}},
            "Operations": {vo: profile(vo)["Operations"][vo] | {"Pilot": pilot}},
        }
    )


def context_of(cs, vo, gateway=True):
    """What a VM of that VO would be told."""
    fill(cs, vo)
    (endpoint,) = read_cloud_sites().endpoints
    access = GATEWAY if gateway else None
    proxy = Secret("-----BEGIN CERTIFICATE-----\nhunter2\n")
    return context_of_nobody(endpoint, endpoint.vm_types[0], read_profile(vo), vo, "r", proxy, gateway=access)
