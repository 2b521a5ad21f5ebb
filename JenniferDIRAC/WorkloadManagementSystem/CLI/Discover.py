"""``discover``: what a credential of clouds.yaml shows, and the CS section that goes with it. Needs no DIRAC server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import OPENSTACK, EndpointConfig
from JenniferDIRAC.ConfigurationSystem.Registration import Registration, section_text
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    EXPIRY_ALARM,
    EXPIRY_WARNING,
    Account,
    Catalogue,
    CloudError,
    Limits,
    Network,
)
from JenniferDIRAC.Resources.Cloud.CloudsEntries import CloudsEntries
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery, discover
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.Resources.Cloud.Suggestion import Suggestion, by_age, suggest
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain, table

DEFAULT_CPU_TIME = "1440"  # minutes; a day is what most batch queues give
_EXAMPLE_SITE = "CLOUD.{}.cc"
_EXAMPLE_VO = "belle"


def cloud_config(name: str) -> EndpointConfig:
    """An endpoint of that entry of clouds.yaml that no CS knows."""
    return EndpointConfig(site="clouds.yaml", ce=name, ce_type=OPENSTACK, cloud=name, vm_types=())


def look_at(cloud: str) -> Discovery:
    """Everything that the credential of an entry of clouds.yaml shows.

    :raises Rejected: there is no such entry, or it lacks what is needed
    """
    return discover(make_endpoint(cloud_config(cloud)))


def suggestion(found: Discovery) -> Suggestion:
    catalogue = found.catalogue if isinstance(found.catalogue, Catalogue) else Catalogue()
    return suggest(catalogue, found.limits if isinstance(found.limits, Limits) else None)


def example(cloud: str, suggested: Suggestion, site: str = "", vos: tuple[str, ...] = ()) -> Registration:
    """What ``register`` would write with all its suggestions; site and VO are examples where they are not given."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", cloud).lstrip("-._") or "cloud"
    ce_options = {
        "CEType": OPENSTACK,
        "Cloud": cloud,
        "VO": ", ".join(vos or (_EXAMPLE_VO,)),
        **({"Networks": suggested.networks.spec} if suggested.networks.spec else {}),
    }
    queue_options = {
        "Image": suggested.image.spec,
        "Flavor": suggested.flavor.spec,
        "maxCPUTime": DEFAULT_CPU_TIME,
    }
    site = site or _EXAMPLE_SITE.format(re.sub(r"[^A-Za-z0-9-]", "", cloud).strip("-").upper() or "Name")
    return Registration(site, name, suggested.vm_type, ce_options, queue_options)


def as_json(cloud: str, found: Discovery, registration: Registration) -> dict[str, Any]:
    """Plain values; a part that the cloud did not tell is ``{"error": …}``."""
    now = datetime.now(UTC)
    value: dict[str, Any] = {"cloud": cloud}
    for name in ("account", "limits", "catalogue"):
        part = getattr(found, name)
        value[name] = {"error": str(part)} if isinstance(part, CloudError) else _json(asdict(part))
    if isinstance(found.account, Account):
        value["account"]["expiries"] = [
            {
                "what": one.what,
                "at": one.at.isoformat() if one.at else None,
                "days_left": (one.at - now).days if one.at else None,
            }
            for one in found.account.expiries
        ]
    usable = all(registration.queue_options.values())
    value["section"] = section_text(registration) if usable else None
    value["options"] = registration.options if usable else None
    return value


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def entries_as_json(files: CloudsEntries) -> dict[str, Any]:
    return {
        "clouds": [asdict(entry) for entry in files.entries],
        "used": str(files.used or ""),
        "looked_at": {str(path): state for path, state in files.looked_at.items()},
    }


def print_entries(files: CloudsEntries, console: Console) -> None:
    """The entries of the clouds.yaml that counts, and all places where one was looked for."""
    if files.entries:
        shown = table("Cloud", "Keystone", "Project", "Region", "Log-in")
        for entry in files.entries:
            shown.add_row(*map(plain, (entry.name, entry.url, entry.project, entry.region, entry.auth_type)))
        console.print(shown)
        console.print("Next: dirac-admin-cloud discover CLOUD")
    else:
        console.print("No cloud is described on this host.", style="yellow")
        console.print(
            "Download an application credential as clouds.yaml from the cloud's web page (Identity, Application "
            "Credentials),\nput it into ~/.config/openstack/clouds.yaml, mode 0600, and try again."
        )
    console.print("\nFiles looked at, in this order (OS_CLIENT_CONFIG_FILE names another first):")
    for path, state in files.looked_at.items():
        console.print(plain(f"  {path}: {state}"))


def print_discovery(
    cloud: str, found: Discovery, suggested: Suggestion, site: str, vos: tuple[str, ...], console: Console
) -> None:
    """Everything, the CS section last; ``site`` and ``vos`` are examples there where they are empty."""
    if isinstance(found.account, Account):
        _print_account(cloud, found.account, console)
    if isinstance(found.limits, Limits):
        _print_limits(found.limits, console)
    if isinstance(found.catalogue, Catalogue):
        _print_catalogue(found.catalogue, console)
    for problem in dict.fromkeys(map(str, found.problems)):
        console.print(plain(f"Not known: {problem}"), style="red")
    if isinstance(found.catalogue, Catalogue):
        _print_section(cloud, suggested, site, vos, console)


def _print_account(cloud: str, account: Account, console: Console) -> None:
    facts = {
        "cloud": cloud,
        "Keystone": account.url,
        "region": account.region,
        "user": account.user,
        "project": f"{account.project} ({account.project_id})" if account.project else account.project_id,
    }
    others = [f"{name} ({id_})" for id_, name in account.projects if id_ != account.project_id]
    if others:
        facts["other projects"] = ", ".join(others)
    for name, value in facts.items():
        if value:
            console.print(Text(f"{name:>14}  ", style="bold") + plain(value))
    for text, style in expiry_words(account):
        console.print(Text(f"{'credential':>14}  ", style="bold") + Text(plain(text).plain, style=style))


def expiry_words(account: Account) -> list[tuple[str, str]]:
    """A text and its style for everything that ends, the soonest first."""
    now = datetime.now(UTC)
    far = datetime.max.replace(tzinfo=UTC)
    words = []
    for one in sorted(account.expiries, key=lambda expiry: expiry.at or far):
        style = "red bold" if one.is_near(now, EXPIRY_ALARM) else "yellow" if one.is_near(now, EXPIRY_WARNING) else ""
        words.append((one.words(now) + (": replace it in time" if style else ""), style))
    return words


def alarms(found: Discovery) -> list[str]:
    """What ends so soon that it is to be the last word."""
    if not isinstance(found.account, Account):
        return []
    now = datetime.now(UTC)
    return [f"{one.words(now)}: replace it now" for one in found.account.expiries if one.is_near(now, EXPIRY_ALARM)]


def _print_limits(limits: Limits, console: Console) -> None:
    shown = table("Quota", "Used", "Limit", "Left")
    for name, used, limit in (
        ("servers", limits.used_instances, limits.max_instances),
        ("cores", limits.used_cores, limits.max_cores),
        ("RAM (MiB)", limits.used_ram_mib, limits.max_ram_mib),
    ):
        left = "no limit" if limit is None else str(max(limit - used, 0))
        shown.add_row(name, str(used), "none" if limit is None else str(limit), left)
    console.print(shown)


def _print_catalogue(catalogue: Catalogue, console: Console) -> None:
    flavors = table("Flavor", "Cores", "RAM (MiB)", "Disk (GiB)", "Id")
    for flavor in sorted(catalogue.flavors, key=lambda one: (one.cores, one.ram_mib, one.disk_gib, one.name)):
        numbers = (flavor.cores, flavor.ram_mib, flavor.disk_gib)
        flavors.add_row(plain(flavor.name), *map(str, numbers), plain(flavor.id))
    images = table("Image, newest first", "System", "Made", "Needs", "Id")
    for image in by_age(catalogue.images):
        system = " ".join(image.properties.get(name, "") for name in ("os_distro", "os_version")).strip()
        needs = ", ".join(
            f"{number} {unit}"
            for number, unit in ((image.min_ram_mib, "MiB RAM"), (image.min_disk_gib, "GiB disk"))
            if number
        )
        made = f"{image.created_at:%Y-%m-%d}" if image.created_at else ""
        images.add_row(*map(plain, (image.name, system, made, needs, image.id)))
    networks = table("Network", "Kind", "Subnets", "Id")
    for network in catalogue.networks:
        networks.add_row(*map(plain, (network.name, _kind(network), ", ".join(network.subnets), network.id)))
    for shown in (flavors, images, networks):
        if shown.row_count:
            console.print(shown)
    for name, values in (
        ("Zones", catalogue.zones),
        ("Key pairs", catalogue.key_pairs),
        ("Security groups", catalogue.security_groups),
    ):
        console.print(Text(f"{name}: ", style="bold") + plain(", ".join(values) or "none"))


def _kind(network: Network) -> str:
    return f"{'external' if network.external else 'internal'}, {'shared' if network.shared else 'own'}"


def _print_section(cloud: str, suggested: Suggestion, site: str, vos: tuple[str, ...], console: Console) -> None:
    missing = [part.why for part in (suggested.image, suggested.flavor) if not part.spec]
    if missing:
        console.print(plain(f"No section of the CS can be suggested: {'; '.join(missing)}"), style="red")
        return
    registration = example(cloud, suggested, site, vos)
    console.print("\nThe section of the CS that 'register' would write (another image, flavor … by its options):\n")
    console.print(plain(section_text(registration)), soft_wrap=True)
    for name, part in (("Image", suggested.image), ("Flavor", suggested.flavor), ("Networks", suggested.networks)):
        shown = f"{name} = {part.spec}" if part.spec else f"{name} is left out"
        console.print(plain(f"  {shown}: {part.why}"), soft_wrap=True)
    for option, given, name, value in (
        ("--site", site, "site", registration.site),
        ("--vo", vos, "VO", registration.ce_options["VO"]),
    ):
        if not given:
            console.print(plain(f"  The {name} {value} is an example: {option} takes yours"), soft_wrap=True)
    chosen = "".join(f" --vo {vo}" for vo in vos)
    console.print(plain(f"\nNext: dirac-admin-cloud register {site or 'SITE'} --cloud {cloud}{chosen}"), soft_wrap=True)
