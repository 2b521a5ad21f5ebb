"""What a site admin would most likely choose at a cloud, in the CS's words, so that no name has to be guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from JenniferDIRAC.Resources.Cloud.Choice import choose_networks, misfit
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, Flavor, Image, Limits, Network, Rejected

WANTED_RAM_MIB = 2048
WANTED_DISK_GIB = 10  # for the sandbox, the data and the software of one job at a time

_EL = ("almalinux", "alma", "rocky", "rockylinux", "centos", "centos-stream", "rhel", "el", "ol", "scientific")
_NAMED = re.compile(
    r"(?i)\b(?P<distro>alma(?:linux)?|rocky(?:linux)?|centos|rhel|el|debian|ubuntu)[^0-9]{0,10}(?P<version>\d+(?:\.\d+)?)"
)
# Systems without cloud-init or without Python, and disks that are part of another image.
_UNFIT = re.compile(r"(?i)cirros|coreos|flatcar|windows|rancher|\bkernel\b|initr(?:d|amfs)|vmlinuz|ramdisk")
_PLAIN = re.compile(r"[\w.+@:/()-]+(?: [\w.+@:/()-]+)*")
_NO_DATE = datetime.min.replace(tzinfo=UTC)

Item = TypeVar("Item", Flavor, Image, Network)


@dataclass(frozen=True)
class Suggested:
    """A value for the CS, "" when nothing suits or nothing is needed, and why."""

    spec: str
    why: str


@dataclass(frozen=True)
class Suggestion:
    """Image, flavor and networks that go together, and a name for such a VM type."""

    image: Suggested
    flavor: Suggested
    networks: Suggested
    vm_type: str


def suggest(catalogue: Catalogue, limits: Limits | None = None, image: Image | None = None) -> Suggestion:
    """A VM type of one core.

    :param image: one that was chosen already
    """
    chosen = image or _best_image(catalogue.images)
    flavor, flavor_why = _best_flavor(catalogue.flavors, chosen, limits or Limits())
    return Suggestion(
        Suggested(spec_of(chosen, catalogue.images), _image_why(chosen)) if chosen else Suggested("", "no image"),
        Suggested(spec_of(flavor, catalogue.flavors) if flavor else "", flavor_why),
        _networks(catalogue),
        vm_type_name(chosen, flavor),
    )


def spec_of(item: Item, items: Iterable[Item]) -> str:
    """``name:NAME`` when that means this one item and survives the CS, else its id."""
    alone = sum(other.name == item.name for other in items) == 1
    return f"name:{item.name}" if alone and _PLAIN.fullmatch(item.name) else item.id


def vm_type_name(image: Image | None, flavor: Flavor | None) -> str:
    """Such as ``el9-1core``."""
    distro, version = _system(image) if image else ("", ())
    family = "el" if distro in _EL else re.sub(r"[^a-z0-9]+", "-", distro).strip("-") or "vm"
    return f"{family}{version[0] if version else ''}-{flavor.cores if flavor else 1}core"


def by_age(images: Iterable[Image]) -> list[Image]:
    """Newest first."""
    return sorted(images, key=lambda image: (image.created_at or _NO_DATE, image.name), reverse=True)


def _best_image(images: Iterable[Image]) -> Image | None:
    """The newest of the best rank; sorting is stable."""
    return min(by_age(images), key=_rank, default=None)


def _rank(image: Image) -> int:
    distro, version = _system(image)
    major = version[0] if version else 0
    if _UNFIT.search(image.name) or image.properties.get("image_type") == "snapshot":
        return 9
    if "dirac_version" in image.properties:
        return 0
    if distro in _EL:
        return {9: 1, 10: 2, 8: 4}.get(major, 6)
    if (distro == "debian" and major >= 12) or (distro == "ubuntu" and major >= 22):
        return 3
    return 6 if distro else 7


def _system(image: Image) -> tuple[str, tuple[int, ...]]:
    """Distribution and version, of the properties or, where the cloud's owner set none, of the name."""
    distro = image.properties.get("os_distro", "").lower()
    version = image.properties.get("os_version", "")
    named = _NAMED.search(image.name.replace("_", "-"))
    if named:
        distro, version = distro or named["distro"].lower(), version or named["version"]
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return distro, tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


def _image_why(image: Image) -> str:
    made = f"of {image.created_at:%Y-%m-%d}, " if image.created_at else ""
    match _rank(image):
        case 0:
            return f"{made}holds DIRAC already"
        case 1 | 2 | 3 | 4:
            return f"{made}the newest of a system that has cloud-init and suits pilots"
    return f"{made}but no image of a well-known system was found: this one needs cloud-init and Python 3"


def _best_flavor(flavors: Iterable[Flavor], image: Image | None, limits: Limits) -> tuple[Flavor | None, str]:
    within = [
        flavor
        for flavor in flavors
        if (limits.max_cores is None or flavor.cores <= limits.max_cores)
        and (limits.max_ram_mib is None or flavor.ram_mib <= limits.max_ram_mib)
        and (image is None or not misfit(image, flavor))
    ]
    enough = [flavor for flavor in within if flavor.ram_mib >= WANTED_RAM_MIB]
    if enough:
        best = min(enough, key=lambda one: (_cramped(one), one.cores, one.disk_gib == 0, one.ram_mib, one.disk_gib))
        if _cramped(best):
            return best, f"the smallest with {WANTED_RAM_MIB} MiB; {best.disk_gib} GiB of disk are little for a job"
        disk = f" and {WANTED_DISK_GIB} GiB of disk" if any(map(_cramped, enough)) else ""
        return best, f"the smallest with {WANTED_RAM_MIB} MiB{disk}"
    if within:
        best = max(within, key=lambda one: (one.ram_mib, -one.cores))
        return best, f"the quota allows no flavor with {WANTED_RAM_MIB} MiB: this has most, {best.ram_mib}"
    return None, "no flavor carries the image within the quota"


def _cramped(flavor: Flavor) -> bool:
    return 0 < flavor.disk_gib < WANTED_DISK_GIB


def _networks(catalogue: Catalogue) -> Suggested:
    try:
        chosen = choose_networks((), catalogue)
    except Rejected as error:
        own = [one for one in catalogue.networks if one.subnets and not one.shared and not one.external]
        if len(own) != 1:
            return Suggested("", str(error))
        return Suggested(spec_of(own[0], catalogue.networks), "the project's only network of its own")
    if not chosen:
        return Suggested("", "the cloud chooses")
    return Suggested(", ".join(spec_of(one, catalogue.networks) for one in chosen), "the only one that fits")
