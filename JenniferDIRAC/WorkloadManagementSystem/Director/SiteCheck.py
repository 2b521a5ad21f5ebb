"""Is an endpoint ready for its first VM? What its cloud told, held against its section of the CS: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import OPENSTACK, EndpointConfig, VMTypeConfig
from JenniferDIRAC.Resources.Cloud.Choice import Choice, choose, choose_flavor, choose_image, choose_networks
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    EXPIRY_ALARM,
    EXPIRY_WARNING,
    Account,
    AuthenticationFailed,
    Catalogue,
    CloudError,
    Flavor,
    Limits,
    Rejected,
    Server,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery

# VMs of trials have an installation of their own, whose UUID begins so: no director has it, and people can tell them.
TRIAL_PREFIX = "0" * 8
# Longer than any trial lasts.
_TRIAL_LEFT_BEHIND = timedelta(hours=2)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    NOT_TRIED = "not tried"


class Aspect(StrEnum):
    """What is checked."""

    SECTION = "CS section"
    DIRECTOR = "director"
    GATEWAY = "gateway"
    STATUS = "resource status"
    PROFILE = "profile"
    PILOT_CREDENTIAL = "pilot credential"
    PILOT_SERVER = "pilot server"
    CREDENTIAL = "credential"
    PROJECT = "project"
    SERVERS = "servers"
    IMAGE = "image"
    FLAVOR = "flavor"
    NETWORK = "network"
    ZONE = "zone"
    KEY_PAIR = "key pair"
    SECURITY_GROUPS = "security groups"
    QUOTA = "quota"
    TEMPLATE = "template"
    USER_DATA = "user-data"
    BOOT = "boot"


@dataclass(frozen=True)
class Finding:
    """One check. ``where`` is a site, ``site/ce``, ``site/ce/queue`` or a VO; ``advice`` says what to do."""

    where: str
    aspect: Aspect
    verdict: Verdict
    detail: str = ""
    advice: str = ""


def check_cloud(config: EndpointConfig, told: Discovery, now: datetime) -> list[Finding]:
    """Credential, project, servers, and everything that the VM types choose from; what needs more than the cloud told
    is not tried."""
    where = str(config)
    if isinstance(told.account, CloudError):
        return [_refused(config, told.account)] + [
            Finding(where, aspect, Verdict.NOT_TRIED) for aspect in (Aspect.PROJECT, Aspect.SERVERS, Aspect.QUOTA)
        ]
    findings = [_credential(config, told.account, now)]
    if config.ce_type == OPENSTACK:
        findings.append(_project(where, told.account))
    findings.append(_servers(config, told.servers, now))
    for vm_type in config.vm_types:
        findings += check_vm_type(config, vm_type, told.catalogue, told.limits)
    return findings


def check_vm_type(
    config: EndpointConfig, vm_type: VMTypeConfig, catalogue: Catalogue | CloudError, limits: Limits | CloudError
) -> list[Finding]:
    """What the words of a VM type mean at the cloud, and whether there is room for one of it."""
    where = f"{config}/{vm_type.queue}"
    choices = (Aspect.IMAGE, Aspect.FLAVOR, Aspect.NETWORK)
    if isinstance(catalogue, CloudError):
        return [Finding(where, choices[0], Verdict.FAILED, str(catalogue))] + [
            Finding(where, aspect, Verdict.NOT_TRIED) for aspect in (*choices[1:], Aspect.QUOTA)
        ]
    findings = [
        _chosen(where, Aspect.IMAGE, lambda: _image_words(vm_type, catalogue)),
        _chosen(where, Aspect.FLAVOR, lambda: _flavor_words(vm_type, catalogue)),
        _chosen(where, Aspect.NETWORK, lambda: _network_words(vm_type, catalogue)),
        *_named(where, Aspect.ZONE, vm_type.zones, catalogue.zones),
        *_named(where, Aspect.KEY_PAIR, (vm_type.key_pair,) if vm_type.key_pair else (), catalogue.key_pairs),
        *_named(where, Aspect.SECURITY_GROUPS, vm_type.security_groups, catalogue.security_groups),
    ]
    try:
        choice = choose(vm_type, catalogue)
    except Rejected as error:
        if not any(finding.verdict is Verdict.FAILED for finding in findings):
            # Each can be had, and they do not go together.
            findings[1] = Finding(where, Aspect.FLAVOR, Verdict.FAILED, str(error), _change_in_cs("Flavor"))
        return [*findings, Finding(where, Aspect.QUOTA, Verdict.NOT_TRIED)]
    return [*findings, check_quota(config, vm_type, choice.flavor, limits)]


def check_quota(config: EndpointConfig, vm_type: VMTypeConfig, flavor: Flavor, limits: Limits | CloudError) -> Finding:
    """Whether one more VM fits into the project's quota and the CS's own limits."""
    where = f"{config}/{vm_type.queue}"
    if isinstance(limits, CloudError):
        return Finding(where, Aspect.QUOTA, Verdict.FAILED, str(limits))
    full = []
    for what, wanted, used, most in (
        ("servers", 1, limits.used_instances, limits.max_instances),
        ("cores", flavor.cores, limits.used_cores, limits.max_cores),
        ("MiB of RAM", flavor.ram_mib, limits.used_ram_mib, limits.max_ram_mib),
    ):
        if most is not None and wanted > most:
            text = f"the quota is {most} {what}, one VM needs {wanted}"
            return Finding(where, Aspect.QUOTA, Verdict.FAILED, text, "ask the cloud for a larger quota")
        if most is not None and used + wanted > most:
            full.append(f"{used} of {most} {what} are in use, one VM needs {wanted}")
    for name, most in (("MaxVMs", config.max_vms), ("MaxVMs", vm_type.max_vms)):
        if most == 0:
            full.append(f"{name} = 0 in the CS: nothing is started")
    for most in (config.max_cores, vm_type.max_cores):
        if most is not None and most < flavor.cores:
            full.append(f"MaxCores = {most} in the CS, one VM has {flavor.cores}")
    if full:
        return Finding(where, Aspect.QUOTA, Verdict.WARNING, "; ".join(full), "no VM is started until there is room")
    return Finding(where, Aspect.QUOTA, Verdict.OK, f"room for {_room(flavor, limits)}")


def choice_of(vm_type: VMTypeConfig, told: Discovery) -> Choice | None:
    """What the VM type means there, if it means something."""
    if isinstance(told.catalogue, CloudError):
        return None
    try:
        return choose(vm_type, told.catalogue)
    except Rejected:
        return None


def _refused(config: EndpointConfig, error: CloudError) -> Finding:
    entry = config.cloud or config.ce
    match error:
        case AuthenticationFailed():
            advice = f"renew the credential in clouds.yaml; this tries it: openstack --os-cloud {entry} token issue"
        case Rejected():
            advice = "dirac-admin-cloud discover lists the entries of clouds.yaml on this host"
        case Unreachable():
            advice = "is auth_url right, the network up, and a firewall open from this host?"
        case _:
            advice = ""
    return Finding(str(config), Aspect.CREDENTIAL, Verdict.FAILED, str(error), advice)


def _credential(config: EndpointConfig, account: Account, now: datetime) -> Finding:
    far = datetime.max.replace(tzinfo=now.tzinfo)
    words = [expiry.words(now) for expiry in sorted(account.expiries, key=lambda one: one.at or far)]
    detail = "; ".join(filter(None, [f"logged in as {account.user}" if account.user else "", *words])) or "accepted"
    near = [expiry for expiry in account.expiries if expiry.is_near(now, EXPIRY_WARNING)]
    if not near:
        return Finding(str(config), Aspect.CREDENTIAL, Verdict.OK, detail)
    alarm = any(expiry.is_near(now, EXPIRY_ALARM) for expiry in near)
    advice = f"{'ALARM: replace it now' if alarm else 'replace it in time'}, here and on the director's host"
    return Finding(str(config), Aspect.CREDENTIAL, Verdict.WARNING, detail, advice)


def _project(where: str, account: Account) -> Finding:
    if not account.project_id:
        advice = "add project_id or project_name to the entry of clouds.yaml"
        return Finding(where, Aspect.PROJECT, Verdict.FAILED, "the log-in is for no project", advice)
    region = f", region {account.region}" if account.region else ""
    return Finding(where, Aspect.PROJECT, Verdict.OK, f"{account.project} ({account.project_id}){region}")


def _servers(config: EndpointConfig, servers: tuple[Server, ...] | CloudError, now: datetime) -> Finding:
    where = str(config)
    if isinstance(servers, CloudError):
        return Finding(where, Aspect.SERVERS, Verdict.FAILED, str(servers), "the director starts nothing without it")
    ours = [server for server in servers if server.identity]
    left = [
        server.name
        for server in ours
        if server.name.split("-")[1] == TRIAL_PREFIX
        and (server.created_at is None or now - server.created_at > _TRIAL_LEFT_BEHIND)
    ]
    detail = f"the list can be had; {len(ours)} of JenniferDIRAC"
    if left:
        advice = delete_by_hand(config, left)
        return Finding(where, Aspect.SERVERS, Verdict.WARNING, f"{detail}; trials left behind: {len(left)}", advice)
    return Finding(where, Aspect.SERVERS, Verdict.OK, detail)


def delete_by_hand(config: EndpointConfig, names: Iterable[str]) -> str:
    """What to type to be rid of servers."""
    if config.ce_type == OPENSTACK:
        return f"openstack --os-cloud {config.cloud or config.ce} server delete {' '.join(names)}"
    return f"delete at {config}: {' '.join(names)}"


def _chosen(where: str, aspect: Aspect, words: Callable[[], str]) -> Finding:
    try:
        return Finding(where, aspect, Verdict.OK, words())
    except Rejected as error:
        option = {Aspect.IMAGE: "Image", Aspect.FLAVOR: "Flavor"}.get(aspect, "Networks")
        return Finding(where, aspect, Verdict.FAILED, str(error), _change_in_cs(option))


def _change_in_cs(option: str) -> str:
    return f"change {option}: dirac-admin-cloud register SITE, or in the CS"


def _image_words(vm_type: VMTypeConfig, catalogue: Catalogue) -> str:
    image = choose_image(vm_type.image, catalogue)
    made = f", of {image.created_at:%Y-%m-%d}" if image.created_at else ""
    return f"{vm_type.image} is {image.name} ({image.id}){made}"


def _flavor_words(vm_type: VMTypeConfig, catalogue: Catalogue) -> str:
    flavor = choose_flavor(vm_type.flavor, catalogue)
    size = f"{flavor.cores} cores, {flavor.ram_mib} MiB, {flavor.disk_gib} GiB disk"
    return f"{vm_type.flavor} is {flavor.name} ({flavor.id}): {size}"


def _network_words(vm_type: VMTypeConfig, catalogue: Catalogue) -> str:
    networks = choose_networks(vm_type.networks, catalogue)
    names = ", ".join(f"{network.name} ({network.id})" for network in networks)
    wanted = ", ".join(vm_type.networks) or "what fits"
    return f"{wanted} is {names}" if names else "the cloud chooses"


def _named(where: str, aspect: Aspect, names: tuple[str, ...], offered: tuple[str, ...]) -> list[Finding]:
    """One line when any is wanted; a cloud that shows none of that kind is left to find out."""
    missing = [name for name in names if offered and name not in offered]
    if missing:
        text = f"{', '.join(missing)}: not there; the cloud offers {', '.join(offered)}"
        return [Finding(where, aspect, Verdict.FAILED, text, "dirac-admin-cloud register SITE, or change it in the CS")]
    return [Finding(where, aspect, Verdict.OK, ", ".join(names))] if names else []


def _room(flavor: Flavor, limits: Limits) -> str:
    """How many VMs of the flavor the quota still takes."""
    rooms = [
        (most - used) // each
        for most, used, each in (
            (limits.max_instances, limits.used_instances, 1),
            (limits.max_cores, limits.used_cores, flavor.cores),
            (limits.max_ram_mib, limits.used_ram_mib, flavor.ram_mib),
        )
        if most is not None and each
    ]
    return f"{min(rooms)} more" if rooms else "any number: the cloud sets no limit"
