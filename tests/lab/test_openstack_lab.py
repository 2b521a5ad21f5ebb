"""The OpenStack lab itself: what the tests of the endpoint and of the credentials stand on."""

import base64
import ipaddress
import json

import pytest
import requests
from openstack.exceptions import SDKException

from lab.openstack.cloud import (
    CLIENT_ID,
    CLIENT_SECRET,
    FLAVOR,
    IMAGE,
    NETWORK,
    ROTATING_CLIENT_ID,
    ROTATING_CLIENT_SECRET,
)


def boot(connection, **more):
    compute = connection.compute
    flavor, image = compute.find_flavor(FLAVOR), connection.image.find_image(IMAGE)
    server = compute.create_server(name="one", flavor_id=flavor.id, image_id=image.id, **more)
    return compute.wait_for_server(server, interval=0.2, wait=120)


def renew(cloud, refresh_token, client_id, client_secret):
    """The OIDC provider's answer to a refresh token."""
    form = {"client_id": client_id, "client_secret": client_secret, "refresh_token": refresh_token}
    url = f"{cloud.issuer}/token"
    return requests.post(url, {**form, "grant_type": "refresh_token"}, verify=str(cloud.ca_file), timeout=30)


def claims(access_token):
    body = access_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=="))


def test_a_server_becomes_active_and_goes(cloud, project):
    connection = cloud.connect(project)
    server = boot(connection, networks="none")
    assert [(one.name, one.status) for one in cloud.servers(project)] == [("one", "ACTIVE")]
    connection.compute.delete_server(server)
    connection.compute.wait_for_delete(server, interval=0.2)
    assert cloud.servers(project) == []


def test_a_server_gets_an_address_of_the_network(cloud, project):
    connection = cloud.connect(project)
    network = connection.network.find_network(NETWORK)
    subnet = connection.network.get_subnet(network.subnet_ids[0])
    server = boot(connection, networks=[{"uuid": network.id}])
    (address,) = server.addresses[NETWORK]
    assert ipaddress.ip_address(address["addr"]) in ipaddress.ip_network(subnet.cidr)


@pytest.mark.parametrize("user, vo", [("alice", "vo.demo"), ("bob", "vo.other"), ("robot", "vo.demo")])
def test_a_member_of_a_vo_gets_into_its_project(cloud, user, vo):
    connection = cloud.connect_by_token(cloud.access_token(user), vo)
    assert connection.current_project.name == vo
    assert list(connection.compute.servers()) == []


@pytest.mark.parametrize("user, vo", [("alice", "vo.other"), ("bob", "vo.demo"), ("carol", "vo.demo")])
def test_nobody_gets_into_the_project_of_a_vo_that_is_not_his(cloud, user, vo):
    with pytest.raises(SDKException, match="401"):
        cloud.connect_by_token(cloud.access_token(user), vo).authorize()


def test_the_service_account_is_a_member_of_its_vo(cloud):
    assert cloud.connect_by_token(cloud.service_access_token(), "vo.demo").current_project.name == "vo.demo"


def test_a_site_may_know_only_the_protocol_oidc(cloud):
    token, url = cloud.access_token("alice"), cloud.other_token_auth_url
    with pytest.raises(SDKException, match="404"):
        cloud.connect_by_token(token, "vo.demo", "openid", url).authorize()
    assert cloud.connect_by_token(token, "vo.demo", "oidc", url).current_project.name == "vo.demo"


def test_headers_of_a_client_are_no_login(cloud):
    forged = {
        "OIDC-iss": cloud.issuer,
        "OIDC-sub": "alice",
        "OIDC-eduperson_entitlement": "urn:mace:egi.eu:group:vo.demo:role=member#aai.egi.eu",
    }
    path = "OS-FEDERATION/identity_providers/egi.eu/protocols/openid/auth"
    assert requests.get(f"{cloud.token_auth_url}/{path}", headers=forged, timeout=30).status_code == 401


def test_a_refresh_token_is_good_for_ever_or_for_one_use_as_the_client_has_it(cloud):
    token = cloud.refresh_token("alice")
    first, second = (renew(cloud, token, CLIENT_ID, CLIENT_SECRET) for _ in range(2))
    assert first.json()["refresh_token"] == second.json()["refresh_token"] == token
    rotating = (ROTATING_CLIENT_ID, ROTATING_CLIENT_SECRET)
    token = cloud.refresh_token("alice", ROTATING_CLIENT_ID)
    first = renew(cloud, token, *rotating)
    second = renew(cloud, first.json()["refresh_token"], *rotating)
    assert len({token, first.json()["refresh_token"], second.json()["refresh_token"]}) == 3
    refused = renew(cloud, token, *rotating)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_how_long_access_tokens_live_can_be_chosen(cloud):
    def lifetime(answer):
        told = claims(answer.json()["access_token"])
        assert answer.json()["expires_in"] == told["exp"] - told["iat"]
        return told["exp"] - told["iat"]

    short = cloud.refresh_token("alice", lifetime=7)
    assert lifetime(renew(cloud, short, CLIENT_ID, CLIENT_SECRET)) == 7
    cloud.set_access_token_lifetime(60)
    try:
        assert lifetime(renew(cloud, cloud.refresh_token("alice"), CLIENT_ID, CLIENT_SECRET)) == 60
        assert lifetime(renew(cloud, short, CLIENT_ID, CLIENT_SECRET)) == 7
    finally:
        cloud.set_access_token_lifetime(3600)
