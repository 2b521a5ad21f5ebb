"""Which image and which flavor the words of the CS mean at an endpoint.

A specification is an id, ``name:…``, or requirements joined by commas, such as ``os_distro=almalinux, os_version>=9``
for an image and ``cores>=4, ram>=8`` for a flavor (RAM and disk in GiB).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, Flavor, Image, Rejected

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

Item = TypeVar("Item", Flavor, Image)


@dataclass(frozen=True)
class _Requirement:
    key: str
    sign: str
    value: str


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


def choose_flavor(spec: str, catalogue: Catalogue) -> Flavor:
    """The flavor that ``spec`` means; of several that meet requirements, the one that wastes least.

    :raises Rejected: none fits, several have that name, or the specification makes no sense
    """
    named = _by_id_or_name("Flavor", spec, catalogue.flavors)
    if named is not None:
        return named
    requirements = _parse("Flavor", spec, catalogue.flavors)
    fitting = [flavor for flavor in catalogue.flavors if all(_flavor_meets(flavor, need) for need in requirements)]
    if not fitting:
        raise Rejected(f"Flavor = {spec}: no flavor meets this; {_candidates(catalogue.flavors)}")
    return min(fitting, key=lambda flavor: (flavor.cores, flavor.ram_mib, flavor.disk_gib, flavor.name, flavor.id))


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
    found = image.properties.get(need.key)
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


def _candidates(items: tuple[Flavor, ...] | tuple[Image, ...]) -> str:
    if not items:
        return "the endpoint offers none at all"
    shown = ", ".join(sorted(f"{item.name} ({item.id})" for item in items)[:_LISTED_AT_MOST])
    more = len(items) - _LISTED_AT_MOST
    return f"the endpoint offers: {shown}" + (f" and {more} more" if more > 0 else "")
