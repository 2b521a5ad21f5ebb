"""DIRAC's own CloudComputingElement, called as the SiteDirector calls it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from DIRAC.Core.Utilities.ReturnValues import returnValueOrRaise
from DIRAC.Resources.Computing.CloudComputingElement import CloudComputingElement
from libcloud.compute.drivers.openstack import OpenStack_2_NodeDriver

from benchmarks.contestants.lane import NO_NETWORK_MICROVERSION, Contestant, serve


class NoNetworkDriver(OpenStack_2_NodeDriver):
    """libcloud's driver, which has no word for servers without a network."""

    def _create_args_to_params(self, *args, **kwargs):
        return {**super()._create_args_to_params(*args, **kwargs), "networks": "none"}


class CloudCE(Contestant):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        task = self.task
        self._directory = tempfile.TemporaryDirectory()
        self._pilot = Path(self._directory.name, "pilot.sh")
        self._pilot.write_bytes(task.user_data)
        secrets = Path(self._directory.name, "cloud.auth")
        secrets.touch(0o600)
        secrets.write_text(f"[DEFAULT]\nkey = {task.user}\nsecret = {task.password}\n")
        self._ce = CloudComputingElement("cloud-ce")
        self._ce.setParameters(
            {
                "CloudType": f"benchmarks.contestants.cloud_ce.{NoNetworkDriver.__name__}",
                "CloudAuth": str(secrets),
                "Driver_ex_force_auth_url": task.auth_url.removesuffix("/v3"),
                "Driver_ex_force_auth_version": "3.x_password",
                "Driver_ex_tenant_name": task.project,
                "Driver_ex_domain_name": "Default",
                "Driver_ex_force_service_region": task.region,
                "Driver_ex_force_microversion": NO_NETWORK_MICROVERSION,
                "Instance_Image": f"name:{task.image}",
                "Instance_Flavor": f"name:{task.flavor}",
            }
        )
        self._references: list[str] = []

    def prepare(self) -> None:
        returnValueOrRaise(self._ce.getCEStatus())

    def create(self) -> None:
        self._references = returnValueOrRaise(self._ce.submitJob(str(self._pilot), None, self.task.servers))

    def look(self) -> int:
        states = returnValueOrRaise(self._ce.getJobStatus(self._references))
        return sum(state == "Running" for state in states.values())

    def delete(self) -> None:
        returnValueOrRaise(self._ce.killJob(self._references))


if __name__ == "__main__":
    serve(CloudCE)
