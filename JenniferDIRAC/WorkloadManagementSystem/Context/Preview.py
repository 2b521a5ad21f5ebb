"""Shows what a VM would get, without a proxy and without a VM."""

from __future__ import annotations

import base64
import gzip
import socket
from dataclasses import replace
from typing import Any

import yaml

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import read_director_config
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig, read_profile
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, did_you_mean
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import build_context, gateway_access
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import described_program, is_packed
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import HEADER, render_user_data, sealed_content
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import (
    ContextError,
    GatewayAccess,
    PilotProxy,
    VMContext,
    context_errors,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

NOBODY = "0" * 32  # the UUID of no VM and no installation


def render_preview(endpoint: str, vm_type: str, vo: str) -> str:
    """The cloud-config that a VM of this type would get for this VO, with its files in clear and ``<secret>`` in
    place of every secret: nothing secret is read to make it.

    :param endpoint: a CE's name, or ``site/ce``
    :param vm_type: a queue of it
    :raises ContextError: no such endpoint, VM type, or use of it by this VO; or the context cannot be made
    :raises ConfigError: the VO's profile, or the endpoint, is not usable
    """
    context, remarks = _nobody(endpoint, vm_type, vo)
    user_data = render_user_data(context)
    parts = f" with {', '.join(map(str, context.template_parts))}" if context.template_parts else ""
    named = [context.template, *(part.name for part in context.template_parts), str(read_profile(vo).trust_anchors)]
    host_files = [path for path in named if path.startswith("/")]
    heading = [
        f"# {context.site}/{context.ce}/{vm_type} for {vo}, template {context.template}{parts}",
        f"# {len(user_data)} bytes as sent" + ("" if context.gateway else ", to which the credential adds its own"),
        *remarks,
        "# Files are shown decoded; every secret is <secret>, the VM's ids are zeros",
        *(f"# Read on {socket.gethostname()}, which need not be the director's host: {path}" for path in host_files),
    ]
    with context_errors(f"files of template {context.template}"):
        return "\n".join([HEADER, *heading, _readable(user_data), *_from_the_gateway(context, user_data)])


def user_data_of_nobody(endpoint: str, vm_type: str, vo: str) -> bytes:
    """What ``render_preview`` shows, as a VM would get it: it boots, says its first word, and ends for want of a
    credential, because no secret is in it.

    :raises ContextError, ConfigError: as ``render_preview``
    """
    return render_user_data(_nobody(endpoint, vm_type, vo)[0])


def _nobody(endpoint: str, vm_type: str, vo: str) -> tuple[VMContext, list[str]]:
    """What a VM would be told with the CS as it is; and remarks on it, for people."""
    endpoint_config = _find_endpoint(endpoint)
    vm_type_config = _find_vm_type(endpoint_config, vm_type)
    if not vm_type_config.serves(vo):
        served = ", ".join(sorted(vm_type_config.vos))
        raise ContextError(f"{endpoint_config}/{vm_type}: expected a VO that it serves ({served}), found {vo}")
    reference = f"<pilot reference of VM {NOBODY}>"
    masked = Secret("<secret>\n")
    gateway, remarks = None, []
    try:
        gateway = gateway_access(endpoint_config, read_director_config(), masked)
    except ConfigError as error:
        remarks.append(f"# As without a gateway, for the director's own section is wrong: {error}")
    profile = read_profile(vo)
    return context_of_nobody(endpoint_config, vm_type_config, profile, vo, reference, masked, gateway=gateway), remarks


def context_of_nobody(
    endpoint: EndpointConfig,
    vm_type: VMTypeConfig,
    profile: ProfileConfig,
    vo: str,
    pilot_reference: str,
    proxy: Secret,
    processors: int = 1,
    gateway: GatewayAccess | None = None,
) -> VMContext:
    """What a VM would be told whose ids are zeros, for the same arguments as ``build_context``.

    :raises ContextError: it cannot be made
    """
    return build_context(
        endpoint,
        vm_type,
        profile,
        vo,
        vm_id=NOBODY,
        name=Identity(NOBODY, NOBODY, vo, 0).name,
        pilot_reference=pilot_reference,
        pilot_stamp=NOBODY,
        proxy=proxy,
        policy=Policy(),
        gateway=gateway,
        processors=processors,
    )


def _from_the_gateway(context: VMContext, user_data: bytes) -> list[str]:
    """What the VM gets for its ticket, as a document of its own."""
    if context.gateway is None:
        return []
    given = sealed_content(replace(context, credential=PilotProxy(Secret("<secret>"))), user_data)
    if program := given.pop("program", ""):
        given["program"] = _Block(described_program(base64.b64decode(program)))
    text = yaml.dump(given, Dumper=_Dumper, sort_keys=False, width=10**6)
    return [f"---\n# What {context.gateway.url} has for the bearer of the ticket", text]


def _find_endpoint(name: str) -> EndpointConfig:
    sites = read_cloud_sites()
    for endpoint in sites.endpoints:
        if name in (endpoint.ce, str(endpoint)):
            return endpoint
    ce = name.rsplit("/", 1)[-1]
    if problems := [str(problem) for problem in sites.problems if f"/CEs/{ce}" in problem.path]:
        raise ContextError(f"endpoint {name} is disabled: {'; '.join(problems)}")
    known = [str(endpoint) for endpoint in sites.endpoints]
    hint = did_you_mean(name, [*known, *(endpoint.ce for endpoint in sites.endpoints)])
    raise ContextError(
        f"endpoint {name}: expected one of {', '.join(known) or 'none registered'} ({hint or 'as CE or site/CE'})"
    )


def _find_vm_type(endpoint: EndpointConfig, queue: str) -> VMTypeConfig:
    for vm_type in endpoint.vm_types:
        if vm_type.queue == queue:
            return vm_type
    known = ", ".join(vm_type.queue for vm_type in endpoint.vm_types)
    raise ContextError(f"VM type {queue} of {endpoint}: expected one of {known}")


def _readable(user_data: bytes) -> str:
    """The same cloud-config with its files' contents as text."""
    config = yaml.safe_load(user_data)
    for file in config.get("write_files", []):
        encoding = str(file.pop("encoding", ""))
        content = file["content"]
        if "b64" in encoding or "base64" in encoding:
            content = base64.b64decode(content)
            content = gzip.decompress(content) if "gz" in encoding else content
            content = described_program(content) if is_packed(content) else content.decode()
        file["content"] = _Block(content)
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=10**6)


class _Block(str):
    """A text to be shown as lines."""


class _Dumper(yaml.SafeDumper):
    pass


def _as_lines(dumper: _Dumper, text: Any) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(_Block, _as_lines)
