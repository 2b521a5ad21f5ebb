"""Puts together what one VM is told, from the CS and the host: for the director and for the preview alike."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from M2Crypto import BIO, X509

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.PilotCommand import (
    pilot_arguments,
    pilot_environment,
    pilot_file_urls,
    pilot_logger,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import (
    CVMFS,
    ContextError,
    GatewayAccess,
    PilotProxy,
    VMContext,
    context_errors,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

# What the VM leaves of the director's lifetime, which counts from creation: it must have booted, and have ended its
# pilot and its machine in good order, before the director deletes it.
LIFETIME_MARGIN = timedelta(minutes=30)
# For the boot, and for the end of a job that a pilot took just before its maxCPUTime was over.
PROXY_MARGIN = timedelta(hours=1)

# So many heartbeats may be lost on the way.
HEARTBEATS_IN_TIMEOUT = 3

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def build_context(
    endpoint: EndpointConfig,
    vm_type: VMTypeConfig,
    profile: ProfileConfig,
    vo: str,
    *,
    vm_id: str,
    name: str,
    pilot_reference: str,
    pilot_stamp: str,
    proxy: Secret,
    policy: Policy,
    gateway: GatewayAccess | None = None,
    processors: int = 1,
) -> VMContext:
    """What the VM ``vm_id`` is told.

    :param name: of the server (``Identity.name``)
    :param proxy: the pilot proxy as PEM
    :param policy: with ``max_lifetime``, after which the director deletes the VM, counted from its creation; the VM is
        told less by LIFETIME_MARGIN, but at least half of it, so that it ends itself first
    :param gateway: None where there is none
    :param processors: of the flavor, for a VM type that does not say its own
    :raises ContextError: the CS or a file of this host lacks something, or has a value that is none
    """
    with context_errors(f"context of {name} at {endpoint}/{vm_type.queue}"):
        environment = pilot_environment(vo, profile, pilot_reference, pilot_stamp)
        return VMContext(
            vm_id=vm_id,
            name=name,
            site=endpoint.site,
            ce=endpoint.ce,
            queue=vm_type.queue,
            vo=vo,
            pilot_reference=pilot_reference,
            pilot_stamp=pilot_stamp,
            pilot_argv=pilot_arguments(vo, vm_type, profile, processors, pilot_stamp),
            pilot_env=environment,
            pilot_file_urls=pilot_file_urls(vo),
            credential=PilotProxy(proxy),
            max_lifetime=max(policy.max_lifetime - LIFETIME_MARGIN, policy.max_lifetime / 2),
            pilot_user=profile.pilot_user,
            cert_dir=environment["X509_CERT_DIR"],
            trust_anchors=load_trust_anchors(profile.trust_anchors) if profile.trust_anchors else {},
            extra_hosts=profile.extra_hosts,
            cvmfs=CVMFS(
                profile.cvmfs_repositories,
                endpoint.cvmfs_proxies or profile.cvmfs_proxies,
                endpoint.cvmfs_shoal or profile.cvmfs_shoal,
            ),
            min_disk_mib=profile.min_disk,
            lease=policy.lease,
            heartbeat=policy.heartbeat_timeout / HEARTBEATS_IN_TIMEOUT,
            pilot_logger=pilot_logger(vo, vm_type.ce),
            gateway=gateway,
            template=vm_type.template or profile.template,
            template_parts=profile.template_parts + vm_type.template_parts,
        )


def gateway_access(endpoint: EndpointConfig, director: DirectorConfig, ticket: Secret) -> GatewayAccess | None:
    """How the VMs of an endpoint come by their envelope; None where there is no gateway.

    :raises ContextError: the file with the CAs of its certificate cannot be used
    """
    if not (url := endpoint.gateway or director.gateway):
        return None
    policy = director.policy
    patience = policy.settle_timeout + policy.launch_timeout + policy.registration_timeout
    return GatewayAccess(url, ticket, patience, load_gateway_ca(director.gateway_ca) if director.gateway_ca else "")


def proxy_lifetime(profile: ProfileConfig, vm_type: VMTypeConfig) -> timedelta:
    """For how long the proxy of a VM has to be valid: ``ProxyLifetime``, or more if ``maxCPUTime`` needs it."""
    return max(profile.proxy_lifetime, vm_type.wall_time + PROXY_MARGIN)


def load_trust_anchors(path: Path) -> dict[str, str]:
    """The certificates of a PEM file by the names under which OpenSSL looks for them in a directory (``hash.n``).

    :raises ContextError: the file cannot be read, or holds no certificate
    """
    blocks, certificates = _certificates("TrustAnchors", path)
    anchors: dict[str, str] = {}
    # M2Crypto's name points into its certificate, which has to outlive it: hence a list of certificates.
    for certificate, block in zip(certificates, blocks, strict=True):
        subject = f"{certificate.get_subject().as_hash():08x}"
        number = sum(name.startswith(f"{subject}.") for name in anchors)
        anchors[f"{subject}.{number}"] = f"{block}\n"
    return anchors


def load_gateway_ca(path: Path) -> str:
    """The certificates of the file that ``GatewayCA`` names, and nothing else that it may hold.

    :raises ContextError: the file cannot be read, or holds no certificate
    """
    return "\n".join(_certificates("GatewayCA", path)[0]) + "\n"


def _certificates(option: str, path: Path) -> tuple[list[str], list[X509.X509]]:
    try:
        blocks = _CERTIFICATE.findall(path.read_text())
        certificates = [X509.load_cert_string(block) for block in blocks]
    except (OSError, ValueError, X509.X509Error, BIO.BIOError) as error:
        raise ContextError(f"{option} = {path}: expected a readable PEM file of certificates ({error})") from None
    if not blocks:
        raise ContextError(f"{option} = {path}: expected certificates in PEM, found none")
    return blocks, certificates
