"""Writes a site to the CS of a running DIRAC, and makes it known to the ResourceStatus system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client import PathFinder
from DIRAC.ConfigurationSystem.Client.ConfigurationData import gConfigurationData
from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI
from DIRAC.ConfigurationSystem.Client.Helpers.Registry import getVOs
from DIRAC.Core.Security.Properties import CS_ADMINISTRATOR, SITE_MANAGER
from DIRAC.Core.Security.ProxyInfo import getProxyInfo
from DIRAC.Core.Utilities import DErrno
from DIRAC.Core.Utilities.DErrno import cmpError
from DIRAC.Core.Utilities.TimeUtilities import DiracTime
from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient
from diraccfg import CFG

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import AGENT_NAME
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import OPENSTACK, EndpointConfig
from JenniferDIRAC.ConfigurationSystem.Registration import Change, Registration
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem

ACTIVE = "Active"
USABLE = (ACTIVE, "Degraded")
# What an element has that nobody has decided about; everything else was somebody's or some policy's decision.
UNDECIDED = ("Unknown", "")
# As long as DIRAC's own dirac-admin-allow-site: afterwards the policies of the ResourceStatus system decide again.
_TOKEN_LIFETIME = timedelta(days=1)
_REASON = "registered by dirac-admin-cloud"


class RegistrarError(Exception):
    """DIRAC refuses, or does not answer; the text says what to do."""


@dataclass(frozen=True)
class Element:
    """A site or a CE as the ResourceStatus system knows it; ``status`` "" means that it does not."""

    kind: str
    name: str
    status: str = ""
    reason: str = ""

    @property
    def usable(self) -> bool:
        return self.status in USABLE


class SiteRegistrar:
    """The CS as it was when this was made, and the way to change it.

    :raises RegistrarError: the CS cannot be read
    """

    def __init__(self) -> None:
        self._api = CSAPI()
        result = self._api.getCurrentCFG()
        if not result["OK"]:
            raise RegistrarError(f"The CS cannot be read for a change: {result['Message']}")
        # A copy, because the API's own is changed as options are set.
        self.current: CFG = result["Value"].clone()

    def refusal(self) -> str:
        """Why the caller may not change the CS and the resource status, or ""."""
        result = getProxyInfo()
        if not result["OK"]:
            return ""  # a host's own certificate: the service decides
        properties, group = result["Value"].get("groupProperties", ()), result["Value"].get("group", "none")
        missing = [one for one in (CS_ADMINISTRATOR, SITE_MANAGER) if one not in properties]
        if not missing:
            return ""
        return (
            f"your proxy's group {group} lacks {' and '.join(missing)}: take a proxy of a group that has both "
            f"{CS_ADMINISTRATOR} and {SITE_MANAGER} (dirac-proxy-init -g …), or give the output of --dry-run to "
            "somebody who does"
        )

    def vos(self) -> tuple[str, ...]:
        """The VOs that DIRAC knows."""
        return tuple(getVOs().get("Value", ()))

    def problems(self, change: Change, registration: Registration) -> tuple[tuple[ConfigProblem, ...], CloudSites]:
        """What the director would find wrong in the changed CS and does not in the present one, or at this CE; and the
        sites as it would read them."""
        with _as_configuration(change.before):
            before = read_cloud_sites()
        with _as_configuration(change.after):
            after = read_cloud_sites()
        found = tuple(
            problem
            for problem in after.problems
            if problem not in before.problems or f"{problem.path}/".startswith(f"{registration.path}/")
        )
        return found, after

    def endpoint(self, site: str, ce: str) -> EndpointConfig:
        """One that is registered.

        :raises RegistrarError: it is not, or its section is not valid
        """
        sites = read_cloud_sites()
        for endpoint in sites.endpoints:
            if (endpoint.site, endpoint.ce) == (site, ce):
                return endpoint
        problems = [str(problem) for problem in sites.problems if f"/{site}/CEs/{ce}" in problem.path]
        raise RegistrarError(f"{site}/{ce}: {'; '.join(problems) or 'there is no such endpoint'}")

    def notes(self, endpoint: EndpointConfig, sites: CloudSites) -> tuple[str, ...]:
        """What will keep VMs from being started there though the section is right, or make them fewer."""
        notes = []
        section = PathFinder.getAgentSection(AGENT_NAME)
        served = gConfig.getValue(f"{section}/VO", [])
        if not served:
            notes.append("no CloudDirector is configured in this DIRAC: nobody will start VMs")
        elif unserved := sorted(endpoint.vos - set(served)):
            notes.append(f"the CloudDirector does not serve {', '.join(unserved)}: add it to {section}/VO")
        others = [other for other in sites.endpoints if other != endpoint and other.ce_type == OPENSTACK]
        twins = [str(other) for other in others if _entry(other) == _entry(endpoint)]
        if twins and endpoint.ce_type == OPENSTACK:
            notes.append(f"{', '.join(twins)} has the same entry of clouds.yaml: they share one project and its quota")
        return tuple(notes)

    def commit(self, change: Change) -> None:
        """Write the change.

        :raises RegistrarError: nothing was written, or the text says that this is not known
        """
        for path, value in change.options.items():
            result = self._api.setOption(path, value) if value else self._api.delOption(path)
            if not result["OK"]:
                raise RegistrarError(f"{path}: {result['Message']}")
        result = self._api.commit()
        if result["OK"]:
            return
        if "versions differ" in result["Message"] or "AutoMerge" in result["Message"]:
            raise RegistrarError(
                "somebody else changed the CS meanwhile, so nothing was written. Run this again: it begins from the "
                f"CS as it is then ({result['Message']})"
            )
        if cmpError(result, DErrno.ENOAUTH):
            raise RegistrarError(f"{self.refusal() or 'you may not change the CS'} ({result['Message']})")
        # The API reads the CS again after writing it, and does not tell which of the two failed.
        raise RegistrarError(
            f"whether the CS was changed is not known: {result['Message']}. Run this again: it begins from the CS as "
            "it is then, and changes nothing twice"
        )

    def elements(self, registration: Registration) -> tuple[Element, Element]:
        """Site and CE as they stand.

        :raises RegistrarError: the ResourceStatus service does not answer
        """
        return element_of("Site", registration.site), element_of("ComputingElement", registration.ce)

    def activate(self, element: Element) -> None:
        """:raises RegistrarError: refused, or no answer"""
        now = DiracTime.utcnow().replace(microsecond=0)
        result = ResourceStatusClient().addOrModifyStatusElement(
            _table(element.kind),
            "Status",
            name=element.name,
            statusType="all",
            status=ACTIVE,
            elementType=element.kind,
            reason=_REASON,
            dateEffective=now,
            lastCheckTime=now,
            tokenOwner=_user(),
            tokenExpiration=now + _TOKEN_LIFETIME,
            vO="all",
        )
        if not result["OK"]:
            hint = " (your group needs the property SiteManager)" if cmpError(result, DErrno.ENOAUTH) else ""
            raise RegistrarError(f"{element.kind} {element.name} could not be made {ACTIVE}: {result['Message']}{hint}")


@contextmanager
def _as_configuration(cfg: CFG) -> Iterator[None]:
    """This process takes ``cfg`` for the served CS: so it is read by the very code that the director reads it with."""
    served = gConfigurationData.getRemoteCFG()
    gConfigurationData.setRemoteCFG(cfg)
    try:
        yield
    finally:
        gConfigurationData.setRemoteCFG(served)


def element_of(kind: str, name: str) -> Element:
    """A ``Site`` or a ``ComputingElement`` as it stands now, without DIRAC's caches.

    :raises RegistrarError: the ResourceStatus service does not answer
    """
    result = ResourceStatusClient().selectStatusElement(
        _table(kind), "Status", name=name, statusType="all", elementType=kind, meta={"columns": ["Status", "Reason"]}
    )
    if not result["OK"]:
        raise RegistrarError(f"the ResourceStatus service does not tell about {name}: {result['Message']}")
    rows = result["Value"]
    return Element(kind, name, *map(str, rows[0])) if rows else Element(kind, name)


def _entry(endpoint: EndpointConfig) -> str:
    return endpoint.cloud or endpoint.ce


def _table(kind: str) -> str:
    return "Site" if kind == "Site" else "Resource"


def _user() -> str:
    result: Mapping = getProxyInfo()
    return result["Value"].get("username", "") if result["OK"] else gConfig.getValue("/DIRAC/Hostname", "host")
