"""The contract's values from and to the JSON of Nova, Glance and Neutron. No request is made here."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    NAME_PREFIX,
    Flavor,
    Image,
    Leftover,
    Limits,
    Network,
    Server,
    ServerRequest,
    ServerStatus,
)
from JenniferDIRAC.Resources.Cloud.OpenStackErrors import lacks_capacity

Microversion = tuple[int, int]
#: Attached to nothing at all, which no CS says: for measuring a cloud without its network service. From 2.37 on.
NO_NETWORK = Network("none", "none")

DESCRIPTION_SINCE: Microversion = (2, 19)
NETWORK_WORDS_SINCE: Microversion = (2, 37)
EMBEDDED_FLAVOR_SINCE: Microversion = (2, 47)
TAGS_AT_CREATE_SINCE: Microversion = (2, 52)
DOWN_CELLS_SINCE: Microversion = (2, 69)

_MAX_DESCRIPTION = 255
_STATUSES: Mapping[str, ServerStatus] = {
    "BUILD": ServerStatus.BUILDING,
    "REBUILD": ServerStatus.BUILDING,
    # It runs, or will again in a moment.
    **dict.fromkeys(
        ("ACTIVE", "REBOOT", "HARD_REBOOT", "PASSWORD", "RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "MIGRATING"),
        ServerStatus.ACTIVE,
    ),
    # Shelved means that somebody took it off its host; its work is lost.
    **dict.fromkeys(("SHUTOFF", "STOPPED", "SHELVED", "SHELVED_OFFLOADED"), ServerStatus.STOPPED),
    "ERROR": ServerStatus.ERROR,
    "SOFT_DELETED": ServerStatus.DELETING,
    "DELETED": ServerStatus.DELETING,
    # PAUSED, SUSPENDED and RESCUE are left as unknown: the cloud's people did that, and may undo it.
}
_NOVA = "compute:"  # then the zone
_DELETING_TASKS = ("deleting", "soft-deleting")
# What Glance says of every image; the rest are properties.
_IMAGE_WORDS = frozenset(
    "checksum container_format created_at direct_url disk_format file id locations members min_disk min_ram name "
    "os_hash_algo os_hash_value os_hidden owner protected schema self size status stores tags updated_at virtual_size "
    "visibility".split()
)


def server_of(told: Mapping[str, Any], flavors: Mapping[str, Flavor]) -> Server:
    """A server of a list with details; ``flavors`` by id for a Nova that tells no more of them (before 2.47).

    :raises KeyError: without id or name it cannot be told whose it is
    """
    flavor, fault = _mapping(told.get("flavor")), _mapping(told.get("fault"))
    known = flavors.get(str(flavor.get("id")))
    deleting = told.get("OS-EXT-STS:task_state") in _DELETING_TASKS
    status = ServerStatus.DELETING if deleting else _STATUSES.get(str(told.get("status")), ServerStatus.UNKNOWN)
    said = " ".join(str(fault.get("message") or "").split())
    return Server(
        id=str(told["id"]),
        name=str(told["name"]),
        status=status,
        metadata=_texts(_mapping(told.get("metadata"))),
        cores=_number(flavor.get("vcpus")) or (known.cores if known else 0),
        ram_mib=_number(flavor.get("ram")) or (known.ram_mib if known else 0),
        created_at=when(told.get("created")),
        fault=said,
        lacks_room=status is ServerStatus.ERROR and lacks_capacity(said),
    )


def flavor_of(told: Mapping[str, Any]) -> Flavor:
    return Flavor(
        id=str(told["id"]),
        name=str(told.get("name") or ""),
        cores=_number(told.get("vcpus")),
        ram_mib=_number(told.get("ram")),
        disk_gib=_number(told.get("disk")),
    )


def image_of(told: Mapping[str, Any]) -> Image:
    return Image(
        id=str(told["id"]),
        name=str(told.get("name") or ""),
        created_at=when(told.get("created_at")),
        owner=str(told.get("owner") or ""),
        properties=_texts({word: value for word, value in told.items() if word not in _IMAGE_WORDS}),
        min_ram_mib=_number(told.get("min_ram")),
        min_disk_gib=_number(told.get("min_disk")),
    )


def network_of(told: Mapping[str, Any], subnets: Iterable[Mapping[str, Any]]) -> Network:
    """A network; ``subnets`` are all that Neutron shows, of whatever network."""
    return Network(
        id=str(told["id"]),
        name=str(told.get("name") or ""),
        external=bool(told.get("router:external")),
        shared=bool(told.get("shared")),
        subnets=tuple(str(each.get("cidr")) for each in subnets if each.get("network_id") == told["id"]),
    )


def leftover_of(told: Mapping[str, Any], server_ids: Collection[str]) -> Leftover | None:
    """A port that Nova made for one of these servers, or None: others' ports on our networks are shown too."""
    server_id, owner = str(told.get("device_id")), str(told.get("device_owner"))
    return Leftover("port", str(told["id"]), server_id) if server_id in server_ids and owner.startswith(_NOVA) else None


def key_pairs_of(told: Mapping[str, Any]) -> tuple[str, ...]:
    pairs = (_mapping(each.get("keypair")) for each in mappings(told.get("keypairs")))
    return tuple(str(pair["name"]) for pair in pairs if "name" in pair)


def zones_of(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Those in which something can be started now."""
    zones = mappings(told.get("availabilityZoneInfo"))
    return tuple(str(zone.get("zoneName")) for zone in zones if _mapping(zone.get("zoneState")).get("available"))


def limits_of(absolute: Mapping[str, Any]) -> Limits:
    def most(word: str) -> int | None:
        number = _number(absolute.get(word), -1)
        return None if number < 0 else number

    return Limits(
        max_instances=most("maxTotalInstances"),
        max_cores=most("maxTotalCores"),
        max_ram_mib=most("maxTotalRAMSize"),
        used_instances=_number(absolute.get("totalInstancesUsed")),
        used_cores=_number(absolute.get("totalCoresUsed")),
        used_ram_mib=_number(absolute.get("totalRAMUsed")),
    )


def create_body(request: ServerRequest, microversion: Microversion) -> dict[str, Any]:
    """What Nova wants for a server, as far as this microversion can say it."""
    identity = request.identity
    server: dict[str, Any] = {
        "name": identity.name,
        "flavorRef": request.flavor.id,
        "metadata": identity.metadata,
        "user_data": base64.b64encode(request.user_data).decode(),
        "config_drive": True,
    }
    if request.boot_volume_gib:
        server["block_device_mapping_v2"] = [
            {
                "boot_index": 0,
                "uuid": request.image.id,
                "source_type": "image",
                "destination_type": "volume",
                "volume_size": request.boot_volume_gib,
                "delete_on_termination": True,
            }
        ]
    else:
        server["imageRef"] = request.image.id
    if request.networks == (NO_NETWORK,):
        server["networks"] = "none"
    elif request.networks:
        server["networks"] = [{"uuid": network.id} for network in request.networks]
    elif microversion >= NETWORK_WORDS_SINCE:
        server["networks"] = "auto"
    if request.security_groups:
        server["security_groups"] = [{"name": group} for group in request.security_groups]
    if request.key_pair:
        server["key_name"] = request.key_pair
    if request.zone:
        server["availability_zone"] = request.zone
    if microversion >= TAGS_AT_CREATE_SINCE:
        server["tags"] = [NAME_PREFIX, identity.installation]
    if microversion >= DESCRIPTION_SINCE and request.description:
        server["description"] = request.description[:_MAX_DESCRIPTION]
    return {"server": server}


def when(told: Any) -> datetime | None:
    """A time as OpenStack writes it: ISO 8601, of UTC also where it does not say so."""
    try:
        time = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return time.replace(tzinfo=time.tzinfo or UTC)


def mappings(told: Any) -> list[Mapping[str, Any]]:
    """The JSON objects of a list; nothing of what is no list."""
    return [each for each in told if isinstance(each, Mapping)] if isinstance(told, list) else []


def _mapping(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _texts(told: Mapping[str, Any]) -> dict[str, str]:
    return {str(word): str(value) for word, value in told.items() if value is not None}


def _number(told: Any, otherwise: int = 0) -> int:
    try:
        return int(told)
    except (TypeError, ValueError, OverflowError):
        return otherwise
