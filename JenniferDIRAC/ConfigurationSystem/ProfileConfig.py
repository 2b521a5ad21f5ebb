"""A VO's profile, ``/Operations/<vo>/Cloud``: what its VMs get whatever the endpoint."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, Self

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client.Helpers.Operations import Operations
from pydantic import BeforeValidator, Field, model_validator

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import Seconds
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import LimitOptions
from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets
from JenniferDIRAC.ConfigurationSystem.StrictModel import (
    ConfigError,
    ConfigProblem,
    Count,
    Names,
    OptionalPath,
    Squids,
    Text,
    did_you_mean,
)
from JenniferDIRAC.ConfigurationSystem.TemplateParts import OPTION, Layer, Parts, parts_of

_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def _parse_user(value: Any) -> str:
    name = str(value).strip()
    if not _USER_NAME.fullmatch(name) or name == "root":
        raise ValueError("the name of an unprivileged user")
    return name


def _parse_hosts(value: Any) -> tuple[str, ...]:
    lines = [line.strip() for line in (value.split(",") if isinstance(value, str) else value) if line.strip()]
    for line in lines:
        address, *names = line.split()
        try:
            ipaddress.ip_address(address)
        except ValueError:
            names = []
        if not names or not all(_HOST_NAME.fullmatch(name) for name in names):
            raise ValueError("lines of /etc/hosts separated by commas: an IP address and at least one name each")
    return tuple(lines)


class ProfileConfig(LimitOptions):
    """Options of ``/Operations/<vo>/Cloud``; those of ``/Operations/Defaults/Cloud`` stand for all VOs.

    Its limits are those of the VO over all endpoints.
    """

    pilot_options: Names = Field(
        (), alias="PilotOptions", description="more options for the pilot; later ones win over our defaults"
    )
    pilot_user: Annotated[str, BeforeValidator(_parse_user)] = Field(
        "dirac", alias="PilotUser", description="user of the VM who runs the pilot, made when missing; never root"
    )
    template: Text = Field("cloud-init", alias="Template", description="template of the VM types that name none")
    template_parts: Parts = Field(
        (),
        alias=OPTION,
        description="templates to merge into it: names of the package's or files. All VOs' and the VO's add up",
    )
    trust_anchors: OptionalPath = Field(
        None,
        alias="TrustAnchors",
        description="PEM file of the director's host with CA certificates to install in the VM. Default: the image's",
    )
    x509_cert_dir: OptionalPath = Field(
        None,
        alias="X509CertDir",
        description="directory of the VM with the CA certificates. Default: /etc/grid-security/certificates",
    )
    extra_hosts: Annotated[tuple[str, ...], BeforeValidator(_parse_hosts)] = Field(
        (), alias="ExtraHosts", description="lines for the VM's /etc/hosts, for servers that DNS does not know there"
    )
    cvmfs_proxies: Squids = Field((), alias="CVMFSProxy", description="squids of endpoints that name none")
    cvmfs_shoal: Text = Field(
        "", alias="CVMFSShoal", description="address of a Shoal server's /nearest, for endpoints that name none"
    )
    cvmfs_repositories: Names = Field(
        (),
        alias="CVMFSRepositories",
        description="CVMFS repositories, which must answer before the pilot starts. Default: the image's own "
        "configuration",
    )
    min_disk: Count = Field(
        512, alias="MinDisk", description="free disk in MiB that a VM must have before its pilot starts"
    )
    proxy_lifetime: Seconds = Field(
        timedelta(hours=24),
        alias="ProxyLifetime",
        description="life of the proxy in the VM, in seconds, at least: a VM type gets its maxCPUTime and an hour "
        "if that is more, because the proxy has to outlast its jobs. A stolen one is good for nothing afterwards",
    )

    @model_validator(mode="after")
    def _anchors_can_be_installed(self) -> Self:
        if self.trust_anchors and self.x509_cert_dir and self.x509_cert_dir.is_relative_to("/cvmfs"):
            wanted = "a directory that TrustAnchors can be written to"
            raise ConfigError([ConfigProblem("X509CertDir", wanted, f"{self.x509_cert_dir}, which is read-only")])
        return self


def read_profile(vo: str) -> ProfileConfig:
    """The profile of a VO, as DIRAC merges it with the defaults; a VO without a section has the defaults.

    :raises ConfigError: an option is unknown or wrong, or looks like a secret
    """
    secrets = [problem for section in ("Defaults", vo) for problem in _find_secrets(f"/Operations/{section}/Cloud")]
    if secrets:
        raise ConfigError(secrets)
    operations = Operations(vo=vo)
    path = f"/Operations/{vo}/Cloud"
    if unknown := operations.getSections("Cloud").get("Value", []):
        raise ConfigError(
            ConfigProblem(f"{path}/{name}", "no section", name, did_you_mean(name, ProfileConfig.options()))
            for name in unknown
        )
    options = operations.getOptionsDict("Cloud").get("Value", {})
    if OPTION in options:
        sections = {Layer.ALL_VOS: "Defaults", Layer.VO: vo}
        named = {layer: gConfig.getValue(f"/Operations/{name}/Cloud/{OPTION}", []) for layer, name in sections.items()}
        options[OPTION] = parts_of(named)
    return ProfileConfig.read(path, options)


def _find_secrets(path: str) -> list[ConfigProblem]:
    problems = list(find_secrets(path, gConfig.getOptionsDict(path).get("Value", {})))
    for section in gConfig.getSections(path).get("Value", []):
        problems += _find_secrets(f"{path}/{section}")
    return problems
