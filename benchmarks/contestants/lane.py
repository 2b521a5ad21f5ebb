"""A child's half of a benchmark: takes orders on standard input, does them, and tells what each took.

Only the standard library: it runs in the environments of others too.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# None of the contestants has a port made for its servers: with one each, Neutron's time would hide theirs. This is the
# first microversion of Nova that can say so.
NO_NETWORK_MICROVERSION = "2.37"

_ID = re.compile(r"(?<=/)(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)")


@dataclass(frozen=True)
class Task:
    """What every contestant is told: whose servers, how many, and of what."""

    auth_url: str
    region: str
    project: str
    user: str
    password: str = field(repr=False)
    image: str
    image_id: str
    flavor: str
    flavor_id: str
    servers: int
    connections: int
    user_data_bytes: int

    @property
    def auth(self) -> dict[str, str]:
        """The log-in, in the words of clouds.yaml."""
        return {
            "auth_url": self.auth_url,
            "username": self.user,
            "password": self.password,
            "project_name": self.project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    @property
    def user_data(self) -> bytes:
        """As large as a VM's, and no more compressible than its ticket would make it."""
        script = b"#!/bin/sh\nexit 0\n#"
        return script + base64.b64encode(os.urandom(self.user_data_bytes))[: self.user_data_bytes - len(script)]


class Contestant(ABC):
    """The three things that a director does to servers, each for all of them; any failure is raised."""

    def __init__(self, **task: Any):
        self.task = Task(**task)

    def prepare(self) -> None:  # noqa: B027
        """Whatever it does once in its life before the first create. Not timed, but its requests are counted."""

    @abstractmethod
    def create(self) -> None:
        """Ask for ``task.servers`` servers, and come back when the cloud has taken every request."""

    @abstractmethod
    def look(self) -> int:
        """Learn the state of every server; how many there are."""

    def cycle(self) -> None:
        """All that it asks of the cloud in a cycle in which nothing happens."""
        self.look()

    @abstractmethod
    def delete(self) -> None:
        """Ask for the end of every server."""


def serve(make: Callable[..., Any]) -> None:
    """Make one object of the settings on the first line of standard input; then call its method that each line names,
    and answer with a line of JSON: seconds, value, requests."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    _count_http_client()
    child = make(**json.loads(sys.stdin.readline()))
    for order in sys.stdin:
        requests.clear()
        start = time.perf_counter()
        value = getattr(child, order.strip())()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "value": value, "requests": requests}), file=answers)


#: Requests since the last order, by method and path: ``GET /servers/{id}``.
requests: Counter[str] = Counter()


def count(method: str, url: str) -> None:
    path = _ID.sub("{id}", urlsplit(url).path.rstrip("/"))
    requests[f"{method} {re.sub(r'^(/[a-z]+)?/v[0-9.]+(/{id}(?=/servers))?', '', path) or '/'}"] += 1


def _count_http_client() -> None:
    """Whatever goes through the standard library, as requests, keystoneauth and libcloud do: repetitions too."""
    put = http.client.HTTPConnection.putrequest

    def counted(self, method, url, *args, **kwargs):
        count(method, url)
        return put(self, method, url, *args, **kwargs)

    http.client.HTTPConnection.putrequest = counted  # type: ignore[method-assign]
