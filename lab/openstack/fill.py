"""What the lab's cloud has from the start: accounts of the services, flavors, a network, an image, a federation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.openstack.cloud import (
    FLAVOR,
    GOLDEN_FLAVOR,
    GOLDEN_IMAGE,
    HUGE_FLAVOR,
    IMAGE,
    NETWORK,
    OTHER_PROTOCOL,
    PASSWORD,
    PROTOCOL,
    REGION,
    Cloud,
)
from lab.openstack.configuration import Ports

FAKE_ZONE = "fake"
VOS = ("vo.demo", "vo.other")
_DOMAIN = "default"
_INTERFACES = ("public", "internal", "admin")
_MIB = 1 << 20


def make_services(cloud: Cloud, ports: Ports) -> None:
    """Accounts and endpoints; Keystone alone has to run."""
    identity = cloud.admin.identity
    project = identity.create_project(name="service", domain_id=_DOMAIN)
    roles = {role.name: role for role in identity.roles()}
    for name in {"service", "member", "reader"} - roles.keys():
        roles[name] = identity.create_role(name=name)
    for user, kind, port, path in (
        ("glance", "image", ports.glance, ""),
        ("placement", "placement", ports.placement, ""),
        ("nova", "compute", ports.nova, "/v2.1"),
        ("neutron", "network", ports.neutron, ""),
    ):
        account = identity.create_user(name=user, password=PASSWORD, domain_id=_DOMAIN)
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, account, roles[role])
        service = identity.create_service(name=user, type=kind)
        for interface in _INTERFACES:
            url = f"http://127.0.0.1:{port}{path}"
            identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)


def make_federation(cloud: Cloud) -> None:
    """A project and a group for each VO, and who of the OIDC provider's users belongs to it."""
    identity = cloud.admin.identity
    member, groups = identity.find_role("member"), {}
    for vo in VOS:
        project = identity.create_project(name=vo, domain_id=_DOMAIN)
        groups[vo] = identity.create_group(name=vo, domain_id=_DOMAIN)
        identity.assign_project_role_to_group(project, groups[vo], member)
    for provider, protocol, issuer in (
        ("egi.eu", PROTOCOL, cloud.issuer),
        ("egi.eu-oidc", OTHER_PROTOCOL, f"{cloud.issuer}/oidc"),  # apache's names for both
    ):
        rules = [_rule(issuer, vo, group.id) for vo, group in groups.items()]
        identity.create_mapping(id=provider, rules=rules)
        # with a ttl (minutes), federated users may have application credentials
        identity.create_identity_provider(id=provider, remote_ids=[issuer], is_enabled=True, authorization_ttl=1440)
        identity.create_federation_protocol(provider, id=protocol, mapping_id=provider)


def _rule(issuer: str, vo: str, group: str) -> dict:
    entitlement = rf"^urn:mace:egi\.eu:group:{vo}:role=member#aai\.egi\.eu$"
    return {
        "local": [{"user": {"name": "{0}"}, "group": {"id": group}}],
        "remote": [
            {"type": "HTTP_OIDC_SUB"},
            {"type": "HTTP_OIDC_ISS", "any_one_of": [issuer]},
            {"type": "HTTP_OIDC_EDUPERSON_ENTITLEMENT", "regex": True, "any_one_of": [entitlement]},
        ],
    }


def make_network(cloud: Cloud, subnet: str) -> None:
    """:param subnet: first two numbers of the addresses, such as ``10.77``; this machine would be ``….0.1``"""
    network = cloud.admin.network.create_network(
        name=NETWORK, is_shared=True, provider_network_type="flat", provider_physical_network="physnet1"
    )
    cloud.admin.network.create_subnet(
        name=f"{NETWORK}4",
        network_id=network.id,
        ip_version=4,
        cidr=f"{subnet}.0.0/16",
        gateway_ip=f"{subnet}.0.1",
        is_dhcp_enabled=False,
        allocation_pools=[{"start": f"{subnet}.1.0", "end": f"{subnet}.250.250"}],
    )


def make_flavors(cloud: Cloud) -> None:
    for name, cores, ram_mib, disk_gib in (
        (FLAVOR, 1, 512, 2),
        (GOLDEN_FLAVOR, 1, 2048, 10),
        ("m1.medium", 2, 4096, 20),
        (HUGE_FLAVOR, 5000, 9_000_000, 9),  # no host has room for it
    ):
        cloud.admin.compute.create_flavor(name=name, vcpus=cores, ram=ram_mib, disk=disk_gib)


def make_zones(cloud: Cloud, zones: Mapping[str, Iterable[str]]) -> None:
    """Those that are not there yet.

    :param zones: hosts by zone
    """
    compute = cloud.admin.compute
    there = {aggregate.name for aggregate in compute.aggregates()}
    for name in zones.keys() - there:
        zone = compute.create_aggregate(name=name, availability_zone=name)
        for host in zones[name]:
            compute.add_host_to_aggregate(zone, host)


def make_image(cloud: Cloud) -> None:
    _upload(cloud, IMAGE, "raw", "bare", data=bytes(_MIB))


def make_golden_image(cloud: Cloud, image: Path) -> None:
    """Its kernel and initrd are images of their own, and start it without a boot loader.

    :param image: with ``.vmlinuz``, ``.initrd``, ``.cmdline`` and ``.json`` (properties) beside it
    """
    kernel = _upload(cloud, "golden-kernel", "aki", "aki", filename=image.with_suffix(".vmlinuz"))
    initrd = _upload(cloud, "golden-initrd", "ari", "ari", filename=image.with_suffix(".initrd"))
    properties = {
        **json.loads(image.with_suffix(".json").read_text()),
        "kernel_id": kernel,
        "ramdisk_id": initrd,
        "os_command_line": image.with_suffix(".cmdline").read_text().strip(),
        "hw_rng_model": "virtio",
    }
    _upload(cloud, GOLDEN_IMAGE, "qcow2", "bare", filename=image, **properties)


def _upload(cloud: Cloud, name: str, disk_format: str, container_format: str, **more: Any) -> str:
    formats = {"disk_format": disk_format, "container_format": container_format}
    more = {key: str(value) if isinstance(value, Path) else value for key, value in more.items()}
    return cloud.admin.image.create_image(name=name, visibility="public", **formats, **more).id


def wake(cloud: Cloud) -> None:
    """A service's first request is slow; Neutron's first must not be a list of ports, which would fail."""
    list(cloud.admin.compute.flavors())
    list(cloud.admin.compute.servers())
