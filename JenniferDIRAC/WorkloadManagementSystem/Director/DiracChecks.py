"""Is DIRAC ready for an endpoint's VMs? Its CS, the ResourceStatus system, pilot credentials, pilot servers."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client import PathFinder
from DIRAC.ConfigurationSystem.Client.Helpers import Registry
from DIRAC.ConfigurationSystem.Client.Helpers.Operations import Operations
from DIRAC.Core.Base.Client import Client
from DIRAC.Core.Security import Locations
from DIRAC.Core.Security.Properties import PROXY_MANAGEMENT
from DIRAC.Core.Security.ProxyInfo import getProxyInfo

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import AGENT_NAME, read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import place_of
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig, read_profile
from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import UNDECIDED, RegistrarError, element_of
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem, did_you_mean
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import gateway_access, proxy_lifetime
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import PilotFiles
from JenniferDIRAC.WorkloadManagementSystem.Context.PilotCommand import pilot_file_urls
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import NOBODY, context_of_nobody
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import new_ticket
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import render_user_data
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, GatewayAccess
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import Aspect, Finding, Verdict

# A pilot proxy in PEM: certificate, key and a chain of three have 6 to 8 kB, and do not compress.
_PROXY_BYTES = 9000
_CA_BYTES = 2000
_PROXY_WARNING = timedelta(days=7)
# What the package's profiles have where only the VO knows the value.
TO_BE_FILLED_IN = "CHANGE-ME"


@dataclass(frozen=True)
class Served:
    """A VM type with the VOs that it is to work for."""

    config: EndpointConfig
    vm_type: VMTypeConfig
    vos: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.config}/{self.vm_type.queue}"


def served(config: EndpointConfig, vo: str = "") -> list[Served]:
    """The VM types of an endpoint with their VOs: their own, or all that are registered; or that one only."""
    every = [one for one in Registry.getVOs().get("Value", []) if vo in ("", one)]
    return [
        Served(config, vm_type, tuple(sorted(one for one in every if vm_type.serves(one))))
        for vm_type in config.vm_types
    ]


def check_sections(endpoints: Iterable[EndpointConfig], problems: Iterable[ConfigProblem]) -> list[Finding]:
    """One finding for each endpoint that is valid, and for each problem of one that is not."""
    findings = [
        Finding(
            str(config),
            Aspect.SECTION,
            Verdict.OK,
            f"valid; VM types: {', '.join(vm_type.queue for vm_type in config.vm_types)}",
        )
        for config in endpoints
    ]
    advice = "the director does not use this endpoint until that is mended"
    return findings + [
        Finding(place_of(problem), Aspect.SECTION, Verdict.FAILED, str(problem), advice) for problem in problems
    ]


def check_vos(vm_types: Iterable[Served]) -> list[Finding]:
    """One finding for each VO of a VM type that the Registry does not know, and for a VM type that serves none."""
    known = Registry.getVOs().get("Value", [])
    findings = []
    for one in vm_types:
        for vo in sorted(one.vm_type.vos - set(known)):
            hint = did_you_mean(vo, known)
            text = f"VO = {vo}: no VO of this DIRAC{f' ({hint})' if hint else ''}"
            findings.append(Finding(one.where, Aspect.SECTION, Verdict.FAILED, text, f"known are {', '.join(known)}"))
        if not known:
            text = "no VO is served: the Registry has none"
            findings.append(Finding(one.where, Aspect.SECTION, Verdict.FAILED, text, "add a VO to /Registry/VO"))
    return findings


def check_status(config: EndpointConfig) -> Finding:
    """Whether site and CE may be used, of the ResourceStatus system."""
    where = str(config)
    try:
        elements = [element_of("Site", config.site), element_of("ComputingElement", config.ce)]
    except RegistrarError as error:
        return Finding(where, Aspect.STATUS, Verdict.FAILED, str(error), "is the ResourceStatus service up?")
    words = ", ".join(f"{one.kind} {one.status or 'not known'}" for one in elements)
    if all(one.usable for one in elements):
        return Finding(where, Aspect.STATUS, Verdict.OK, words)
    reasons = "; ".join(one.reason for one in elements if not one.usable and one.reason)
    advice = f"dirac-admin-cloud register {config.site} --ce {config.ce} --yes"
    if any(not one.usable and one.status not in UNDECIDED for one in elements):
        advice = f"somebody or a policy decided that; if the reason is gone: {advice} --allow"
    return Finding(where, Aspect.STATUS, Verdict.FAILED, f"{words}{f' ({reasons})' if reasons else ''}", advice)


def check_director(vos: Iterable[str]) -> Finding:
    """Whether a director serves the VOs."""
    section = PathFinder.getAgentSection(AGENT_NAME)
    serves = gConfig.getValue(f"{section}/VO", [])
    missing = sorted(set(vos) - set(serves))
    if not missing:
        return Finding("DIRAC", Aspect.DIRECTOR, Verdict.OK, f"serves {', '.join(serves)}")
    text = f"does not serve {', '.join(missing)}" if serves else "no CloudDirector is configured"
    return Finding("DIRAC", Aspect.DIRECTOR, Verdict.WARNING, text, f"{section}/VO lists the VOs that it serves")


def check_profile(vo: str, users: Iterable[Served]) -> Finding:
    """Whether the VO's profile is complete: what nobody filled in, and what its VMs will miss."""
    where, path = f"VO {vo}", f"/Operations/{vo}"
    operations = Operations(vo=vo)
    open_ends = [
        f"{section}/{name}"
        for section in ("Pilot", "Cloud")
        for name, value in operations.getOptionsDict(section).get("Value", {}).items()
        if TO_BE_FILLED_IN in value
    ]
    if open_ends:
        text = f"{path}: still {TO_BE_FILLED_IN}: {', '.join(open_ends)}"
        return Finding(where, Aspect.PROFILE, Verdict.FAILED, text, "only the VO and its DIRAC know these")
    try:
        profile = read_profile(vo)
    except ConfigError as error:
        return Finding(where, Aspect.PROFILE, Verdict.FAILED, str(error), f"mend it in {path}/Cloud")
    release = operations.getValue("Pilot/Version", "") or "no release in Pilot/Version"
    if not profile.cvmfs_repositories:
        text = f"{release}; no CVMFSRepositories: VMs have what their image mounts"
        return Finding(where, Aspect.PROFILE, Verdict.OK, text)
    text = f"{release}; CVMFS of {', '.join(profile.cvmfs_repositories)}"
    if alone := sorted({str(one.config) for one in users if not _has_squid(profile, one.config)}):
        advice = f"CVMFSProxy at the CE, or in {path}/Cloud; or CVMFSShoal"
        return Finding(where, Aspect.PROFILE, Verdict.WARNING, f"{text}; no squid at {', '.join(alone)}", advice)
    return Finding(where, Aspect.PROFILE, Verdict.OK, text)


def _has_squid(profile: ProfileConfig, config: EndpointConfig) -> bool:
    return bool(config.cvmfs_proxies or config.cvmfs_shoal or profile.cvmfs_proxies or profile.cvmfs_shoal)


def check_template(one: Served, max_user_data_bytes: int, processors: int) -> list[Finding]:
    """The user-data of one VM for each VO, with something of a proxy's size in it."""
    template, sizes, failures = "", {}, {}
    for vo in one.vos:
        try:
            profile = read_profile(vo)
            parts = [part.name for part in profile.template_parts + one.vm_type.template_parts]
            template = " + ".join([one.vm_type.template or profile.template, *dict.fromkeys(parts)])
            sizes[vo] = len(_user_data(one, profile, vo, processors))
        except (ConfigError, ContextError) as error:
            failures[vo] = str(error)
    findings = [
        Finding(one.where, Aspect.TEMPLATE, Verdict.FAILED, f"for {vo}: {text}", "see dirac-admin-cloud render --help")
        for vo, text in failures.items()
    ]
    if not sizes:
        return [*findings, Finding(one.where, Aspect.USER_DATA, Verdict.NOT_TRIED)]
    findings.append(Finding(one.where, Aspect.TEMPLATE, Verdict.OK, f"{template} renders for {', '.join(sizes)}"))
    largest = max(sizes.values())
    text = f"{largest} bytes at most, with a ticket or a proxy of {_PROXY_BYTES}; the cloud takes {max_user_data_bytes}"
    fits = largest <= max_user_data_bytes
    advice = "" if fits else "a Gateway and the template minimal; or name fewer certificates in TrustAnchors"
    findings.append(Finding(one.where, Aspect.USER_DATA, Verdict.OK if fits else Verdict.FAILED, text, advice))
    return findings


def _user_data(one: Served, profile: ProfileConfig, vo: str, processors: int) -> bytes:
    """:raises ContextError: it cannot be made"""
    reference = f"cloud://{one.config.ce}/{NOBODY}"
    proxy = Secret(_filler(_PROXY_BYTES))
    context = context_of_nobody(
        one.config, one.vm_type, profile, vo, reference, proxy, processors, _gateway(one.config)
    )
    return render_user_data(context, max_bytes=10**9)


def _gateway(config: EndpointConfig) -> GatewayAccess | None:
    """With the length of a CA in place of the one that lies on the director's host."""
    try:
        director = read_director_config()
    except ConfigError:  # the director tells it, and has no cycle
        return None
    access = gateway_access(config, director.model_copy(update={"gateway_ca": None}), new_ticket())
    return replace(access, ca=_filler(_CA_BYTES)) if access and director.gateway_ca else access


def _filler(size: int) -> str:
    return base64.encodebytes(os.urandom(size * 3 // 4)).decode()


def check_pilot_credential(vo: str, users: Iterable[Served]) -> Finding:
    """Whether the VO's generic pilot is configured, and the ProxyManager has its proxy for long enough."""
    where, path = f"VO {vo}", f"/Operations/{vo}/Pilot"
    operations = Operations(vo=vo)
    group = operations.getValue("Pilot/GenericPilotGroup", "")
    user = operations.getValue("Pilot/GenericPilotUser", "")
    dn = operations.getValue("Pilot/GenericPilotDN", "")
    if not group or not (user or dn):
        missing = " and ".join(
            name for name, value in (("GenericPilotGroup", group), ("GenericPilotUser", user or dn)) if not value
        )
        text = f"{path}: expected {missing}, found nothing"
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.FAILED, text, f"set it in {path} of the CS")
    dns = [dn] if dn else Registry.getDNForUsername(user).get("Value", [])
    if not dns:
        text = f"{path}/GenericPilotUser = {user}: expected a user of the Registry"
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.FAILED, text, "register the user, or name another")
    try:
        needed = max(proxy_lifetime(read_profile(vo), one.vm_type) for one in users)
    except ConfigError as error:
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.NOT_TRIED, str(error))
    return _stored_proxy(where, f"{user or dns[0]}@{group}", dns[0], needed)


def _stored_proxy(where: str, who: str, dn: str, needed: timedelta) -> Finding:
    upload = f"that user uploads one: dirac-proxy-init -g {who.rpartition('@')[2]} (or renews the certificate)"
    result = Client(url="Framework/ProxyManager", timeout=30).getRegisteredUsers(0)
    if not result["OK"]:
        text = f"the ProxyManager does not tell: {result['Message']}"
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.FAILED, text, "is the ProxyManager service up?")
    ends = [record["expirationtime"].replace(tzinfo=UTC) for record in result["Value"] if record["DN"] == dn]
    if not ends:
        if PROXY_MANAGEMENT not in getProxyInfo().get("Value", {}).get("groupProperties", (PROXY_MANAGEMENT,)):
            text = f"{who}; whether the ProxyManager has its proxy is not for your group to know"
            advice = f"ask with a proxy of a group that has the property {PROXY_MANAGEMENT}"
            return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.WARNING, text, advice)
        return Finding(
            where, Aspect.PILOT_CREDENTIAL, Verdict.FAILED, f"the ProxyManager has no proxy of {who}", upload
        )
    left = max(ends) - datetime.now(UTC)
    text = f"{who}, in the ProxyManager for {left / timedelta(days=1):.1f} days"
    if left < needed:
        text += f"; a VM needs {needed / timedelta(hours=1):.0f} hours"
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.FAILED, text, upload)
    if left < needed + _PROXY_WARNING:
        return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.WARNING, text, upload)
    return Finding(where, Aspect.PILOT_CREDENTIAL, Verdict.OK, text)


def check_pilot_server(vo: str) -> Finding:
    """Whether the VO's pilot files are served, with a certificate that its VMs will trust."""
    where = f"VO {vo}"
    try:
        urls, context = pilot_file_urls(vo), _trust(read_profile(vo))
    except (ContextError, ConfigError) as error:
        return Finding(where, Aspect.PILOT_SERVER, Verdict.FAILED, str(error), "the VMs fetch the pilot from there")
    except (OSError, ssl.SSLError) as error:
        text = f"TrustAnchors of {vo} cannot be read here: {error}"
        return Finding(where, Aspect.PILOT_SERVER, Verdict.NOT_TRIED, text, "run this on the director's host")
    problems = []
    for url in urls:
        if url.startswith("file:"):
            return Finding(where, Aspect.PILOT_SERVER, Verdict.NOT_TRIED, f"{url} is a file of the image")
        try:
            sums = PilotFiles.fetch(url, PilotFiles.CHECKSUMS, context).decode("ascii")
        except (OSError, ValueError) as error:
            problems.append(f"{url}: {error}")
            continue
        listed = {line.split("  ", 1)[-1].strip() for line in sums.splitlines()}
        if missing := set(PilotFiles.PILOT_FILES) - listed:
            problems.append(f"{url}: {PilotFiles.CHECKSUMS} does not list {', '.join(sorted(missing))}")
            continue
        return Finding(where, Aspect.PILOT_SERVER, Verdict.OK, f"{url}, as seen from this host")
    advice = f"see /Operations/{vo}/Pilot/pilotFileServer, and TrustAnchors in /Operations/{vo}/Cloud"
    return Finding(where, Aspect.PILOT_SERVER, Verdict.FAILED, "; ".join(problems), advice)


def _trust(profile: ProfileConfig) -> ssl.SSLContext:
    """What a VM trusts, as far as this host knows it: its own CA directory stands for the image's."""
    context = PilotFiles.tls_context(Locations.getCAsLocation() or "")
    if profile.trust_anchors:
        context.load_verify_locations(cafile=Path(profile.trust_anchors))
    return context
