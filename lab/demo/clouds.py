"""Where the demo's virtual machines run: on the embedded QEMU cloud, or on a real OpenStack."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from diraccfg import CFG

from lab.dirac import Lab
from lab.image import golden_image
from lab.openstack import OpenStackLab, Project
from lab.openstack.cloud import GOLDEN_IMAGE, REAL_ZONE
from lab.vos import VOS

Note = Callable[[str], None]


class DemoCloud(ABC):
    """A cloud, and the sites of the Configuration that use it."""

    #: a CE of these sites
    ce: str
    #: whether the sites are the DIRAC lab's own
    qemu_sites = False

    def __init__(self, lab: Lab, server: OpenStackLab | None = None):
        """:param server: what has to be taken down besides the DIRAC lab"""
        self._lab = lab
        self._server = server

    @property
    def claimed(self) -> bool:
        return self._server is not None and self._server.claimed

    def require_down(self) -> None:
        """:raises LabError: it is up already"""
        if self._server:
            self._server.require_down()

    def down(self) -> None:
        """:raises LabError: something could not be ended"""
        if self._server:
            self._server.down()

    @abstractmethod
    def steps(self) -> Sequence[tuple[str, Callable[[Note], None]]]:
        """What has to be done before the DIRAC server comes up."""

    def sites(self, directory: Path) -> list[Path]:
        """CS files with its sites, written into this directory."""
        return []

    def director_environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def consoles(self) -> Iterable[Path]:
        """The files that the consoles of its servers are written to."""

    @abstractmethod
    def remains(self) -> list[str]:
        """What should be gone when all virtual machines have ended."""


class EmbeddedCloud(DemoCloud):
    """QEMU on this host, which the DIRAC lab takes down itself."""

    ce = "grif-qemu"
    qemu_sites = True

    def steps(self) -> Sequence[tuple[str, Callable[[Note], None]]]:
        return [("golden image", self._image)]

    def _image(self, note: Note) -> None:
        note(str(golden_image(self._lab.images, note)))

    def consoles(self) -> Iterable[Path]:
        return (self._lab.root / "qemu").glob("*/*/console.log")

    def remains(self) -> list[str]:
        disks = [f"disk {path}" for path in (self._lab.root / "qemu").glob("*/*") if path.is_dir()]
        return [*disks, *self._lab.virtual_machines()]


class OpenStack(DemoCloud):
    """The OpenStack lab with its real host, one project of it, and an application credential in clouds.yaml."""

    ce = "ires"
    _SITE = "CLOUD.IN2P3-IRES.fr"

    def __init__(self, lab: Lab):
        name = lab.root.name
        name = name.replace("lab", "openstack", 1) if name.startswith("lab") else f"{name}-openstack"
        self._openstack = OpenStackLab(lab.root.with_name(name))
        super().__init__(lab, self._openstack)
        self._project: Project | None = None

    def steps(self) -> Sequence[tuple[str, Callable[[Note], None]]]:
        return [("OpenStack", self._up)]

    def _up(self, note: Note) -> None:
        self._openstack.up(note, real=True)
        self._project = self._openstack.cloud.make_project("vo.demo-robot")
        clouds = {"clouds": {self.ce: self._openstack.cloud.application_credential_entry(self._project)}}
        with open(os.open(self._clouds_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            yaml.safe_dump(clouds, file)

    @property
    def _clouds_file(self) -> Path:
        return self._openstack.root / "clouds.yaml"

    def director_environment(self) -> Mapping[str, str]:
        return {"OS_CLIENT_CONFIG_FILE": str(self._clouds_file)}

    def sites(self, directory: Path) -> list[Path]:
        vm_type = {
            "Image": f"name:{GOLDEN_IMAGE}",
            "Flavor": "cores>=1, ram>=1, disk>=4",
            "Zones": REAL_ZONE,
            "Template": "cloud-init",
            "NumberOfProcessors": "1",
            "MaxRAM": "1024",
            "maxCPUTime": "1440",
            "SI00": "2500",
        }
        vos = ", ".join(VOS)
        # two guests without hardware virtualisation are enough for two cores
        ce = {"CEType": "JenniferOpenStack", "Cloud": self.ce, "VO": vos, "MaxVMs": "2"}
        site = {"CE": self.ce, "VO": vos, "CEs": {self.ce: {**ce, "Queues": {"el-1core": vm_type}}}}
        path = directory / "openstack.cfg"
        CFG().loadFromDict({"Resources": {"Sites": {"CLOUD": {self._SITE: site}}}}).writeToFile(str(path))
        return [path]

    def consoles(self) -> Iterable[Path]:
        return self._openstack.consoles()

    def remains(self) -> list[str]:
        servers = self._openstack.cloud.servers(self._project) if self._project else []
        return [*(f"server {server.name}" for server in servers), *self._openstack.virtual_machines()]


#: by the demo's option
CLOUDS: Mapping[str, Callable[[Lab], DemoCloud]] = {"qemu": EmbeddedCloud, "openstack": OpenStack}
