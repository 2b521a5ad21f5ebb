"""The lab's ports, and the configuration files of its services."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab.openstack.cloud import PASSWORD

TEMPLATES = Path(__file__).parent / "templates"
#: template → file below the root
_FILES = {
    "keystone.conf": "etc/keystone/keystone.conf",
    "glance-api.conf": "etc/glance/glance-api.conf",
    "placement.conf": "etc/placement/placement.conf",
    "nova.conf": "etc/nova/nova.conf",
    "neutron.conf": "etc/neutron/neutron.conf",
    "ml2_conf.ini": "etc/neutron/ml2_conf.ini",
    "rabbitmq.conf": "rabbit/rabbitmq.conf",
    "apache.conf": "etc/apache.conf",
}


@dataclass(frozen=True)
class Ports:
    """The lab's TCP ports; ``Ports.moved`` moves them all, so that two labs can stand side by side."""

    database: int = 3310
    rabbit: int = 5682
    epmd: int = 4370
    erlang: int = 25682
    keystone: int = 5000
    token: int = 5100  # Keystone behind apache: protocol openid
    other_token: int = 5101  # the same, as a site that calls the protocol oidc
    glance: int = 9292
    placement: int = 8778
    nova: int = 8774
    neutron: int = 9597  # its usual 9696 is where the DIRAC lab of the tests listens
    oidc: int = 9900
    consoles: int = 26000  # of a real host's guests, from here on

    @classmethod
    def moved(cls, offset: int) -> Ports:
        return cls(**{field.name: field.default + offset for field in fields(cls)})

    def all(self) -> list[int]:
        return list(asdict(self).values())


def write_configuration(root: Path, venv: Path, ports: Ports) -> None:
    """Every configuration file, and the keys of Keystone's tokens and credentials unless they are there."""
    values = {"root": root, "venv": venv, "ports": ports, "password": PASSWORD}
    for template, file in _FILES.items():
        write(root / file, template, values)
    (root / "rabbit/enabled_plugins").write_text("[].\n")
    for name in ("fernet", "credential"):
        _make_keys(root / name)


def write(file: Path, template: str, values: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(template, values))


def render(template: str, values: Mapping[str, Any]) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(values)


def _make_keys(directory: Path) -> None:
    """As ``keystone-manage fernet_setup`` does, in none of its 3 s: a staged key and a primary one."""
    if directory.exists():
        return
    directory.mkdir(mode=0o700)
    for number in ("0", "1"):
        (directory / number).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
