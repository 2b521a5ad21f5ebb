"""What the words of the CS mean at an endpoint: image, flavor, networks, zones, key pair, security groups.

A specification is an id, ``name:…``, or, for images and flavors, requirements joined by commas, such as
``os_distro=almalinux, os_version>=9`` and ``cores>=4, ram>=8`` (RAM and disk in GiB). Beside its properties an image
has ``name`` and ``owner`` (the id of the project it belongs to), so that nobody else's image of a well-known name is
taken: ``name=AlmaLinux-9, owner=4f0c…``. What is ambiguous is an error that lists the candidates.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import SharedOptions
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Catalogue,
    Flavor,
    Identity,
    Image,
    Network,
    Rejected,
    ServerRequest,
)

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_REQUIREMENT = re.compile(r"\s*([\w.:-]+)\s*(>=|<=|!=|>|<|=)\s*([^\s<>=!][^<>=!]*?)\s*")
_VERSION = re.compile(r"\d+(\.\d+)*")
_LISTED_AT_MOST = 20
_NO_DATE = datetime.min.replace(tzinfo=UTC)

Item = TypeVar("Item", Flavor, Image, Network)


@dataclass(frozen=True)
class _Requirement:
    key: str
    sign: str
    value: str


@dataclass(frozen=True)
class Choice:
    """What a VM type is made of at an endpoint today."""

    image: Image
    flavor: Flavor
    networks: tuple[Network, ...] = ()
    security_groups: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    key_pair: str = ""
    boot_volume_per_core: int = 0

    def zone_of(self, vm: str) -> str:
        """Zones are taken in turn, by the VM's id."""
        return self.zones[int(vm, 16) % len(self.zones)] if self.zones else ""

    def request(self, identity: Identity, user_data: bytes, description: str = "") -> ServerRequest:
        """The create request of one VM."""
        return ServerRequest(
            identity=identity,
            image=self.image,
            flavor=self.flavor,
            user_data=user_data,
            networks=self.networks,
            security_groups=self.security_groups,
            key_pair=self.key_pair,
            zone=self.zone_of(identity.vm),
            boot_volume_gib=self.boot_volume_per_core * self.flavor.cores,
            description=description,
        )


def choose(wanted: SharedOptions, catalogue: Catalogue) -> Choice:
    """What the options of a VM type mean.

    :raises Rejected: the first of them that means nothing here, or more than one thing
    """
    image = choose_image(wanted.image, catalogue)
    flavor = choose_flavor(wanted.flavor, catalogue, lambda one: misfit(image, one, wanted.boot_volume_per_core))
    return Choice(
        image,
        flavor,
        choose_networks(wanted.networks, catalogue),
        _known("SecurityGroups", wanted.security_groups, catalogue.security_groups),
        _known("Zones", wanted.zones, catalogue.zones),
        "".join(_known("KeyPair", (wanted.key_pair,) if wanted.key_pair else (), catalogue.key_pairs)),
        wanted.boot_volume_per_core,
    )


def choose_networks(specs: Iterable[str], catalogue: Catalogue) -> tuple[Network, ...]:
    """The networks that ``specs`` mean; without any, the one that fits: a pilot needs only the way out.

    That is the only network with addresses inside the cloud, or, where there is none, the only one to the outside that
    everybody may use. A cloud that shows no networks at all chooses for itself.

    :raises Rejected: one does not exist, or none or several fit
    """
    named = tuple(_named_network(spec, catalogue.networks) for spec in specs)
    if named or not catalogue.networks:
        return named
    usable = [network for network in catalogue.networks if network.subnets]
    inside = [network for network in usable if not network.external]
    fitting = inside or [network for network in usable if network.shared]
    if len(fitting) == 1:
        return (fitting[0],)
    found = f"{len(fitting)} fit: {_listed(tuple(fitting))}" if fitting else _candidates(catalogue.networks)
    raise Rejected(f"Networks is not set, and no single network fits; give name:NAME or an id; {found}")


def choose_image(spec: str, catalogue: Catalogue) -> Image:
    """The image that ``spec`` means; of several that meet requirements, the newest.

    :raises Rejected: none fits, several have that name, or the specification makes no sense
    """
    named = _by_id_or_name("Image", spec, catalogue.images)
    if named is not None:
        return named
    requirements = _parse("Image", spec, catalogue.images)
    fitting = [image for image in catalogue.images if all(_image_meets(image, need) for need in requirements)]
    if not fitting:
        raise Rejected(f"Image = {spec}: no image has these properties; {_candidates(catalogue.images)}")
    # An image without a date counts as the oldest; the id makes the choice the same each time.
    return max(fitting, key=lambda image: (image.created_at or _NO_DATE, image.id))


def choose_flavor(spec: str, catalogue: Catalogue, problem: Callable[[Flavor], str] = lambda flavor: "") -> Flavor:
    """The flavor that ``spec`` means; of several that meet requirements, the one that wastes least.

    :param problem: why a flavor cannot be used, or ""
    :raises Rejected: none fits, several have that name, or the specification makes no sense
    """
    named = _by_id_or_name("Flavor", spec, catalogue.flavors)
    if named is not None:
        if found := problem(named):
            raise Rejected(f"Flavor = {spec}: {found}")
        return named
    requirements = _parse("Flavor", spec, catalogue.flavors)
    fitting = [flavor for flavor in catalogue.flavors if all(_flavor_meets(flavor, need) for need in requirements)]
    if not fitting:
        raise Rejected(f"Flavor = {spec}: no flavor meets this; {_candidates(catalogue.flavors)}")
    usable = [flavor for flavor in fitting if not problem(flavor)]
    if not usable:
        raise Rejected(f"Flavor = {spec}: none that meets this can be used: {problem(fitting[0])}")
    return min(usable, key=lambda flavor: (flavor.cores, flavor.ram_mib, flavor.disk_gib, flavor.name, flavor.id))


def _named_network(spec: str, networks: tuple[Network, ...]) -> Network:
    found = _by_id_or_name("Networks", spec, networks)
    if found is None:
        raise Rejected(f"Networks = {spec}: expected an id or name:NAME; {_candidates(networks)}")
    return found


def _known(option: str, names: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each of which the cloud offers; one that does not show what it has is left to find out."""
    for name in names:
        if offered and name not in offered:
            raise Rejected(f"{option} = {name}: there is none of that name; the endpoint offers: {', '.join(offered)}")
        if offered.count(name) > 1:
            raise Rejected(f"{option} = {name}: {offered.count(name)} have that name; rename one at the cloud")
    return names


def misfit(image: Image, flavor: Flavor, boot_volume_per_core: int = 0) -> str:
    """Why the image cannot be booted with the flavor, or ""."""
    disk_gib = boot_volume_per_core * flavor.cores or flavor.disk_gib
    if flavor.ram_mib < image.min_ram_mib:
        return f"flavor {flavor.name} has {flavor.ram_mib} MiB, image {image.name} needs {image.min_ram_mib}"
    if 0 < disk_gib < image.min_disk_gib:
        return f"flavor {flavor.name} has {disk_gib} GiB of disk, image {image.name} needs {image.min_disk_gib}"
    return ""


def _by_id_or_name(option: str, spec: str, items: tuple[Item, ...]) -> Item | None:
    spec = spec.strip()
    if not spec.startswith("name:"):
        return next((item for item in items if item.id == spec), None)
    name = spec.removeprefix("name:").strip()
    same = [item for item in items if item.name == name]
    if len(same) > 1:
        ids = ", ".join(sorted(item.id for item in same))
        raise Rejected(f"{option} = {spec}: {len(same)} have that name; give the id of one: {ids}")
    if not same:
        raise Rejected(f"{option} = {spec}: none has that name; {_candidates(items)}")
    return same[0]


def _parse(option: str, spec: str, items: tuple[Item, ...]) -> list[_Requirement]:
    requirements = []
    for part in spec.split(","):
        match = _REQUIREMENT.fullmatch(part)
        if match is None:
            raise Rejected(
                f"{option} = {spec}: expected an id, name:NAME, or requirements such as key>=value joined by commas; "
                f"{part.strip()!r} is none of these; {_candidates(items)}"
            )
        requirements.append(_Requirement(*match.groups()))
    return requirements


def _image_meets(image: Image, need: _Requirement) -> bool:
    """A property that the image lacks meets nothing, not even ``!=``: what is unknown is not chosen."""
    found = {**image.properties, "name": image.name, "owner": image.owner}.get(need.key)
    if found is None:
        return False
    if _VERSION.fullmatch(found) and _VERSION.fullmatch(need.value):
        return _COMPARE[need.sign](_version(found), _version(need.value))
    return need.sign in ("=", "!=") and _COMPARE[need.sign](found.casefold(), need.value.casefold())


def _version(text: str) -> tuple[int, ...]:
    """``9.10`` is newer than ``9.9``, and ``9`` is ``9.0``."""
    return tuple(int(part) for part in re.sub(r"(\.0+)+$", "", text).split("."))


def _flavor_meets(flavor: Flavor, need: _Requirement) -> bool:
    has = {"cores": Decimal(flavor.cores), "ram": Decimal(flavor.ram_mib) / 1024, "disk": Decimal(flavor.disk_gib)}
    try:
        found, wanted = has[need.key], Decimal(need.value)
    except KeyError:
        raise Rejected(f"Flavor requirement {need.key}: expected one of {', '.join(has)}") from None
    except InvalidOperation:
        raise Rejected(f"Flavor requirement {need.key}{need.sign}{need.value}: expected a number") from None
    return _COMPARE[need.sign](found, wanted)


def _candidates(items: tuple[Item, ...]) -> str:
    return f"the endpoint offers: {_listed(items)}" if items else "the endpoint offers none at all"


def _listed(items: tuple[Item, ...]) -> str:
    shown = ", ".join(sorted(f"{item.name} ({item.id})" for item in items)[:_LISTED_AT_MOST])
    more = len(items) - _LISTED_AT_MOST
    return shown + (f" and {more} more" if more > 0 else "")
