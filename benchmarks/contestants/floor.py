"""The floor: bare requests on kept connections with one token, and nothing else."""

from __future__ import annotations

import base64
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from benchmarks.contestants.lane import NO_NETWORK_MICROVERSION, Contestant, serve

_TIMEOUT = 120  # seconds


class Floor(Contestant):
    def __init__(self, **settings: Any):
        super().__init__(**settings)
        task = self.task
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(task.connections)
        self._ids: list[str] = []

    def prepare(self) -> None:
        domain = {"name": "Default"}
        user = {"name": self.task.user, "password": self.task.password, "domain": domain}
        login: dict[str, Any] = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self.task.project, "domain": domain}},
        }
        answer = requests.post(f"{self.task.auth_url}/auth/tokens", json={"auth": login}, timeout=_TIMEOUT)
        answer.raise_for_status()
        self._token = answer.headers["X-Subject-Token"]
        self._nova = next(
            endpoint["url"]
            for service in answer.json()["token"]["catalog"]
            if service["type"] == "compute"
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        )
        list(self._pool.map(lambda _: self._call("GET", "/flavors"), range(self.task.connections)))

    def create(self) -> None:
        list(self._pool.map(lambda _: self._call("POST", "/servers", self.server()), range(self.task.servers)))

    def look(self) -> int:
        self._ids = [server["id"] for server in self._call("GET", "/servers/detail").json()["servers"]]
        return len(self._ids)

    def delete(self) -> None:
        list(self._pool.map(lambda one: self._call("DELETE", f"/servers/{one}"), self._ids))

    def server(self, **more: Any) -> dict[str, Any]:
        """The body of a create: as much as a VM of ours cannot do without."""
        name = uuid.uuid4().hex
        server = {
            "name": f"floor-{name}",
            "imageRef": self.task.image_id,
            "flavorRef": self.task.flavor_id,
            "networks": "none",
            "config_drive": True,
            "user_data": base64.b64encode(self.task.user_data).decode(),
            "metadata": {"installation": uuid.uuid4().hex, "vm": name, "vo": "belle", "cores": "1"},
        }
        return {"server": {**server, **more}}

    def _call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """On this thread's own connection."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
            self._local.session.headers.update(
                {"X-Auth-Token": self._token, "OpenStack-API-Version": f"compute {NO_NETWORK_MICROVERSION}"}
            )
        answer = self._local.session.request(method, self._nova + path, json=body, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer


class MultiCreate(Floor):
    """All servers by one POST: they share user data, metadata and the stem of their names."""

    def create(self) -> None:
        self._call("POST", "/servers", self.server(min_count=self.task.servers, max_count=self.task.servers))


if __name__ == "__main__":
    serve(Floor)
