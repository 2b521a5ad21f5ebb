"""Ports that deleted servers left behind, as Neutron's API shows them."""

import os
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from scripted_server import Reply, ScriptedServer

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Leftover, Rejected, Unreachable
from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint

PORTS = "/v2.0/ports"
TOKEN = {
    "token": {
        "methods": ["password"],
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "user": {"id": "u", "name": "us", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "p", "name": "ours", "domain": {"id": "default", "name": "Default"}},
        "catalog": [],
        "roles": [],
    }
}


def port(id, server, owner="compute:nova"):
    return {"id": id, "device_id": server, "device_owner": owner}


@pytest.fixture
def neutron(tmp_path, monkeypatch):
    server = ScriptedServer()
    server.routes["/v3/auth/tokens"] = Reply(201, TOKEN, {"X-Subject-Token": "t"})
    auth = {"auth_url": f"{server.url}/v3", "username": "us", "password": "x", "project_name": "ours"}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    entry = {"auth": auth, "region_name": "R", "network_endpoint_override": server.url}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"ours": entry}}))
    (tmp_path / "clouds.yaml").chmod(0o600)
    (tmp_path / "secure.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", os.fspath(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", os.fspath(tmp_path / "secure.yaml"))
    yield server
    server.stop()


@pytest.fixture
def cloud(neutron):
    return OpenStackEndpoint("CLOUD.A.fr/ours", "ours", sleep=lambda seconds: None)


def test_the_ports_of_our_gone_servers_are_found_over_all_pages_in_one_list(cloud, neutron):
    def ports(seen):
        query = parse_qs(urlsplit(seen.path).query)
        assert query["fields"] == ["id", "device_id", "device_owner"]
        if "marker" in query:
            return Reply(200, {"ports": [port("p3", "s1")]})
        first = [port("p1", "s1"), port("p2", "somebody's"), port("p4", "s1", "network:dhcp")]
        return Reply(200, {"ports": first, "ports_links": [{"rel": "next", "href": "http://elsewhere"}]})

    neutron.routes[PORTS] = ports
    assert cloud.leftovers(("s1", "s2")) == (Leftover("port", "p1", "s1"), Leftover("port", "p3", "s1"))
    assert len(neutron.asked(PORTS)) == 2


@pytest.mark.parametrize("status", [403, 404])
def test_where_neutron_shows_no_ports_there_are_none(cloud, neutron, status):
    neutron.routes[PORTS] = Reply(status, {"NeutronError": {"message": "no"}})
    assert cloud.leftovers(("s1",)) == ()


def test_a_neutron_that_is_away_is_an_error(cloud, neutron):
    neutron.routes[PORTS] = Reply(503, {"NeutronError": {"message": "later"}})
    with pytest.raises(Unreachable):
        cloud.leftovers(("s1",))


@pytest.mark.parametrize("status", [204, 404])
def test_a_port_is_deleted_and_one_that_is_gone_is_too(cloud, neutron, status):
    neutron.routes[f"{PORTS}/p1"] = Reply(status)
    cloud.delete_leftover(Leftover("port", "p1", "s1"))
    assert [seen.method for seen in neutron.asked(f"{PORTS}/p1")] == ["DELETE"]


@pytest.mark.parametrize(("status", "words"), [(409, "Port p1 is in use"), (403, "disallowed by policy")])
def test_a_port_that_the_cloud_does_not_let_go_is_refused_and_no_fault_of_the_credential(cloud, neutron, status, words):
    neutron.routes[f"{PORTS}/p1"] = Reply(status, {"NeutronError": {"message": words}})
    with pytest.raises(Rejected, match=f"delete port p1 of server s1: {status}.*{words}"):
        cloud.delete_leftover(Leftover("port", "p1", "s1"))
