"""An endpoint on the real OpenStack with faulty proxies before Keystone, Nova and Glance."""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
import yaml
from faulty_proxy import FaultyProxy

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Flavor, Identity, Image, ServerRequest
from JenniferDIRAC.Resources.Cloud.OpenStackConnection import Timeouts
from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import NO_NETWORK, create_body
from lab.openstack.cloud import Project

PATIENCE = 180  # seconds: far more than anything here takes
_TOKENS = {}  # by project


def until(condition):
    """The first true value of a condition that is asked again and again."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
    return value


def address_in_catalogue(connection, service):
    return connection.session.get_endpoint(service_type=service, interface="public", region_name="RegionOne")


class Site:
    """What a site admin has: a project, and clouds.yaml with one entry for it, ``ours``."""

    name = "CLOUD.Lab.org/ours"

    def __init__(self, project, entry, directory, proxies, menu):
        self.project, self.entry, self._directory, self._menu = project, entry, directory, menu
        self.keystone, self.nova, self.glance = proxies
        self.installation = uuid.uuid4().hex
        self.pauses = []

    def write(self):
        file = self._directory / "clouds.yaml"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump({"clouds": {"ours": self.entry}}))

    def endpoint(self, connect=PATIENCE, read=PATIENCE, create=PATIENCE, **options):
        """A new one, as after a start of the director; pauses before another try are noted and not made."""
        self.write()
        return OpenStackEndpoint(
            self.name, "ours", timeouts=Timeouts(connect, read, create), sleep=self.pauses.append, **options
        )

    def logged_in(self, **options):
        """One that has a token already: a login costs Keystone more than all the rest of most tests."""
        endpoint = self.endpoint(**options)
        auth = endpoint._connection.session.auth
        if self.project.id in _TOKENS:
            auth.set_auth_state(_TOKENS[self.project.id])
        else:
            endpoint.limits()
            _TOKENS[self.project.id] = auth.get_auth_state()
        return endpoint

    def request(self, flavor="m1.nano", **changes):
        """A request for a server without a network, which is five times faster made."""
        return replace(_request(self._menu, self.installation, flavor), **changes)


def _request(menu, installation, flavor="m1.nano"):
    identity = Identity(installation, uuid.uuid4().hex, "belle", 1)
    return ServerRequest(identity, menu["tiny"], menu[flavor], b"#!/bin/sh\n", networks=(NO_NETWORK,))


@pytest.fixture(scope="session")
def tenancy(cloud):
    """A project that many tests share; each knows its own servers in it."""
    made = cloud.make_project()
    yield made
    remove(cloud, made)


def remove(cloud, project):
    """All servers at once, not one after the other."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(cloud.admin.compute.delete_server, cloud.servers(project)))
    cloud.remove_project(project)


@pytest.fixture(scope="session")
def menu(cloud):
    """The lab's image and flavors by name."""
    compute, image = cloud.admin.compute, next(cloud.admin.image.images(name="tiny", visibility="public"))
    flavors = {each.name: Flavor(each.id, each.name, each.vcpus, each.ram, each.disk) for each in compute.flavors()}
    return {image.name: Image(image.id, image.name), **flavors}


@dataclass(frozen=True)
class Crowd:
    """A project with the ids of our servers in it, which run, and beside them one that is not ours."""

    project: Project
    servers: tuple[str, ...]
    foreign: str


@pytest.fixture(scope="session")
def crowd(cloud, menu):
    """For lists, which must not grow with the tests before."""
    project = cloud.make_project()
    compute = cloud.connect(project).compute

    def create(**changes):
        body = create_body(_request(menu, uuid.uuid4().hex), (2, 69))
        body["server"] |= changes
        return compute.post("/servers", json=body, microversion="2.69").json()["server"]["id"]

    made = Crowd(project, tuple(create() for _ in range(3)), create(name="not-jennifer"))
    for server in (*made.servers, made.foreign):
        until(lambda server=server: compute.get_server(server).status == "ACTIVE")
    yield made
    remove(cloud, project)


@pytest.fixture(scope="session")
def addresses(cloud):
    """Where the services listen, without the versions in the paths."""
    return {service: _origin(address_in_catalogue(cloud.admin, service)) for service in ("image", "compute")}


def _origin(url):
    return "/".join(url.split("/")[:3])


@pytest.fixture
def make_site(cloud, addresses, menu, tmp_path, monkeypatch):
    """A function from a project to its site."""
    (tmp_path / "secure.yaml").write_text("clouds: {}\n")  # not that of who runs the tests
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", os.fspath(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", os.fspath(tmp_path / "secure.yaml"))
    with ExitStack() as stack:

        def make(project):
            origins = (_origin(cloud.auth_url), addresses["compute"], addresses["image"])
            proxies = [stack.enter_context(FaultyProxy(origin)) for origin in origins]
            keystone, nova, glance = proxies
            entry = cloud.password_entry(project)
            entry["auth"]["auth_url"] = f"{keystone.url}/v3"
            entry |= {"compute_endpoint_override": f"{nova.url}/v2.1", "image_endpoint_override": glance.url}
            return Site(project, entry, tmp_path, proxies, menu)

        yield make


@pytest.fixture
def site(make_site, tenancy):
    return make_site(tenancy)


@pytest.fixture
def crowded(make_site, crowd):
    return make_site(crowd.project)
