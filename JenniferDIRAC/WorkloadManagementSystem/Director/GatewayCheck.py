"""Is the gateway there that an endpoint's VMs get their credential from?"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from DIRAC.ConfigurationSystem.Client import PathFinder

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import AGENT_NAME, DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import gateway_access
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, GatewayAccess
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import Aspect, Finding, Verdict

_TIMEOUT = 10  # seconds


def check_gateways(director: DirectorConfig, configs: Iterable[EndpointConfig]) -> list[Finding]:
    """One finding for each gateway that these endpoints' VMs are to talk to, and for an endpoint that has none."""
    findings: dict[str, Finding] = {}
    for config in configs:
        try:
            access = gateway_access(config, director, Secret("none"))
        except ContextError as error:
            text, advice = str(error), "run this on the director's host, or mend the option"
            findings[text] = Finding("DIRAC", Aspect.GATEWAY, Verdict.NOT_TRIED, text, advice)
            continue
        if access is None:
            text = "there is none: a VM's proxy stands in its user-data, for its payloads to find where the cloud's "
            text += "metadata service shows it"
            advice = f"run dirac-cloud-gateway, and name it in {PathFinder.getAgentSection(AGENT_NAME)}/Gateway"
            findings[""] = Finding("DIRAC", Aspect.GATEWAY, Verdict.WARNING, text, advice)
        elif access.url not in findings:
            findings[access.url] = _ask(access)
    return list(findings.values())


def _ask(access: GatewayAccess) -> Finding:
    """Trusting what a VM trusts, as far as this host knows it: its own CAs stand for the image's."""
    trust = ssl.create_default_context()
    try:
        if access.ca:
            trust.load_verify_locations(cadata=access.ca)
        # As a VM: by no proxy of this host's.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trust))
        with opener.open(f"{access.url}/health", timeout=_TIMEOUT) as answer:
            version = str(json.load(answer)["version"])[:40]
    except (OSError, ValueError, LookupError, TypeError) as error:
        text = f"{access.url} does not answer as a gateway: {error}"
        option = f"{PathFinder.getAgentSection(AGENT_NAME)}/GatewayCA"
        advice = f"is dirac-cloud-gateway up there, and its certificate of the CAs in {option}?"
        return Finding("DIRAC", Aspect.GATEWAY, Verdict.FAILED, text, advice)
    return Finding(
        "DIRAC", Aspect.GATEWAY, Verdict.OK, f"{access.url} works, version {version}, as seen from this host"
    )
