"""JenniferDIRAC's ``OpenStackEndpoint``, called as the director calls it."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.contestants.lane import Contestant, Task, serve
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Flavor, Identity, Image, ServerRequest
from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import NO_NETWORK
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Awaited, observe
from JenniferDIRAC.WorkloadManagementSystem.Director.SideBySide import side_by_side


class Ours(Contestant):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        task = self.task
        self._directory = tempfile.TemporaryDirectory()
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(_clouds_yaml(task, Path(self._directory.name)))
        self._endpoint = OpenStackEndpoint("the benchmark", "lab")
        self._image = Image(task.image_id, task.image)
        self._flavor = Flavor(task.flavor_id, task.flavor, cores=1, ram_mib=512)
        self._installation = uuid.uuid4().hex
        self._ids: list[str] = []

    def prepare(self) -> None:
        self.cycle()

    def create(self) -> None:
        self._each(self._endpoint.create_server, [self._request() for _ in range(self.task.servers)])

    def look(self) -> int:
        ours = [server for server in self._endpoint.list_servers() if server.identity]
        self._ids = [server.id for server in ours]
        return len(ours)

    def cycle(self) -> None:
        observe(self._endpoint, (), Awaited())

    def delete(self) -> None:
        self._each(self._endpoint.delete_server, self._ids)

    def _request(self) -> ServerRequest:
        return ServerRequest(
            identity=Identity(self._installation, uuid.uuid4().hex, "belle", 1),
            image=self._image,
            flavor=self._flavor,
            user_data=self.task.user_data,
            networks=(NO_NETWORK,),
            description="JenniferDIRAC: belle at CLOUD.Lab.org/lab/el9-4core",
        )

    def _each(self, act: Callable, items: Iterable) -> None:
        errors: list[Exception] = []

        def attempt(item) -> None:
            try:
                act(item)
            except Exception as error:
                errors.append(error)

        side_by_side(self._endpoint.parallel_requests, attempt, items)
        if errors:
            raise errors[0]


def _clouds_yaml(task: Task, directory: Path) -> Path:
    path = directory / "clouds.yaml"
    path.touch(0o600)
    path.write_text(json.dumps({"clouds": {"lab": {"region_name": task.region, "auth": task.auth}}}))
    return path


if __name__ == "__main__":
    serve(Ours)
