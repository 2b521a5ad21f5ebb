"""The endpoints and VM types that an operator means by a name."""

from __future__ import annotations

from dataclasses import dataclass

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import broken_endpoints, key_of
from JenniferDIRAC.ConfigurationSystem.StrictModel import did_you_mean
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

EVERYWHERE = "all"


class NoSuchTarget(Exception):
    """Nothing is registered under that name; the text says what is."""


@dataclass(frozen=True)
class Target:
    """A site, an endpoint or a VM type, with the endpoints that it comprises; all empty: everywhere."""

    site: str = ""
    ce: str = ""
    queue: str = ""
    endpoints: tuple[EndpointKey, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.site, self.ce, self.queue) if part) or EVERYWHERE


def find_target(sites: CloudSites, name: str) -> Target:
    """What is meant by ``all``, SITE, SITE/CE, SITE/CE/QUEUE, or a CE's name, which no two sites share.

    An endpoint whose configuration is broken is there too; nothing is known of its VM types, so any name is taken.

    :raises NoSuchTarget: there is none
    """
    queues = {key_of(one): [vm_type.queue for vm_type in one.vm_types] for one in sites.endpoints}
    keys = sorted({*queues, *broken_endpoints(sites)})
    if name == EVERYWHERE:
        return Target(endpoints=tuple(keys))
    parts = name.strip("/").split("/")
    if len(parts) > 3:
        raise NoSuchTarget(f"{name}: expected all, SITE, SITE/CE or SITE/CE/QUEUE")
    if len(parts) == 1 and (named := [key for key in keys if key.ce == name]):
        return Target(named[0].site, name, "", tuple(named))
    site, ce, queue = (*parts, "", "")[:3]
    _require("site", site, {key.site for key in keys}, "'dirac-admin-cloud register SITE' makes one")
    here = [key for key in keys if key.site == site]
    if ce:
        _require(f"endpoint of {site}", ce, {key.ce for key in here})
        here = [key for key in here if key.ce == ce]
    if queue and here[0] in queues:
        _require(f"VM type of {site}/{ce}", queue, set(queues[here[0]]))
    return Target(site, ce, queue, tuple(here))


def _require(what: str, name: str, known: set[str], advice: str = "") -> None:
    if name in known:
        return
    hint = did_you_mean(name, known)
    told = [f"there is no {what} '{name}'", hint or f"there is {', '.join(sorted(known)) or 'none'}", advice]
    raise NoSuchTarget("; ".join(text for text in told if text))
