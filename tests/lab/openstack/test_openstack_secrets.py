"""With every logger at debug level nothing that is said of a real OpenStack holds a secret."""

import json
import logging
import traceback
from urllib.parse import parse_qs

import pytest
from needles import Needles

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError
from lab.openstack.cloud import IDENTITY_PROVIDER, REGION, ROTATING_CLIENT_ID, ROTATING_CLIENT_SECRET

#: Of the libraries that send what is secret, or that are told it; some set a level of their own.
LOUD = ("keystoneauth", "openstack", "urllib3", "requests", "stevedore", "JenniferDIRAC")
USER_DATA = "#!/bin/sh\necho 'the ticket of this VM: 7Zr5mQ2xTn8wL4kB'\n"


@pytest.fixture
def said(caplog):
    """All that was logged since the login was ready (openstacksdk logs how the lab makes it), with the tracebacks."""
    caplog.set_level(logging.DEBUG)
    for name in (name for name in logging.root.manager.loggerDict if name.partition(".")[0] in LOUD):
        caplog.set_level(logging.DEBUG, name)
    return lambda: caplog.text.encode()


@pytest.fixture
def login(request, caplog):
    """A function from the name of a fixture with a login to its site."""

    def ready(name):
        site = request.getfixturevalue(name)
        caplog.clear()
        return site

    return ready


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def needles():
    found = Needles()
    found.add("user-data", USER_DATA)
    return found


@pytest.fixture
def with_password(site, needles):
    needles.add("the password", site.project.password)
    return site


@pytest.fixture
def with_application_credential(site, cloud, needles):
    site.entry = cloud.application_credential_entry(site.project)
    needles.add("the application credential's secret", site.entry["auth"]["application_credential_secret"])
    return site


@pytest.fixture
def with_refresh_token(site, cloud, needles):
    token = cloud.refresh_token("alice", ROTATING_CLIENT_ID)
    auth = {
        "auth_url": cloud.token_auth_url,
        "identity_provider": IDENTITY_PROVIDER,
        "issuer": cloud.issuer,
        "client_id": ROTATING_CLIENT_ID,
        "client_secret": ROTATING_CLIENT_SECRET,
        "refresh_token": token,
        "project_name": "vo.demo",
        "project_domain_name": "Default",
    }
    site.entry = {
        "region_name": REGION,
        "auth_type": "v3oidcrefreshtoken",
        "cacert": str(cloud.ca_file),
        "auth": auth,
    }
    needles.add("the refresh token", token)
    needles.add("the client's secret", ROTATING_CLIENT_SECRET)
    return site


def watched(endpoint, needles):
    """The endpoint; every token that crosses the network from now on is a needle."""

    def note(answer, **_):
        sent = answer.request
        for what, text in (
            ("Keystone's token", sent.headers.get("X-Auth-Token")),
            ("Keystone's token", answer.headers.get("X-Subject-Token")),
            ("a header", sent.headers.get("Authorization", "").partition(" ")[2]),
        ):
            if text:
                needles.add(what, text)
        if sent.method == "POST" and sent.url.endswith("/token"):
            told = json.loads(answer.content)
            for name in ("access_token", "refresh_token"):
                if told.get(name):
                    needles.add(f"the issuer's {name}", told[name])
            needles.add("what was granted for", *parse_qs(sent.body).get("refresh_token", []))

    endpoint._connection.session.session.hooks["response"].append(note)
    return endpoint


#: The needles of a server's life, by login: without all of them nothing was shown.
TOKENS = {
    "with_password": {"the password", "Keystone's token"},
    "with_application_credential": {"the application credential's secret", "Keystone's token"},
    "with_refresh_token": {
        "the refresh token",
        "the client's secret",
        "Keystone's token",
        "a header",
        "the issuer's access_token",
        "the issuer's refresh_token",
        "what was granted for",
    },
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_servers_life_is_logged_without_a_secret(login, kind, needles, said, caplog):
    site = login(kind)
    endpoint = watched(site.endpoint(), needles)
    server = endpoint.create_server(site.request(user_data=USER_DATA.encode()))
    try:
        assert server.id in {each.id for each in endpoint.list_servers()}
        endpoint.limits()
        endpoint.catalogue()
    finally:
        endpoint.delete_server(server.id)
    assert needles.secrets.keys() == TOKENS[kind] | {"user-data"}
    heard = {record.name.partition(".")[0] for record in caplog.records}
    assert {"urllib3", "keystoneauth"} <= heard
    assert needles.in_data(said()) == set()


def test_what_holds_an_endpoint_does_not_show_its_secrets(with_refresh_token, needles):
    endpoint = watched(with_refresh_token.endpoint(), needles)
    endpoint.limits()
    connection = endpoint._connection
    held = [endpoint, connection, connection.errors, connection.session.auth, connection.session.auth.issuer]
    shown = "\n".join(f"{one} {one!r} {vars(one)}" for one in held)
    assert "<secret>" in shown
    assert needles.in_data(shown.encode()) == set()


def changed(entry, **auth):
    return {**entry, "auth": {**entry["auth"], **auth}}


@pytest.mark.parametrize(
    ("kind", "auth"),
    [
        ("with_password", {"password": "wrong-7Zr5mQ2xTn8wL4kB"}),
        ("with_password", {"auth_url": "http://127.0.0.1:9/v3"}),
        ("with_application_credential", {"application_credential_secret": "wrong-7Zr5mQ2xTn8wL4kB"}),
        ("with_application_credential", {"application_credential_id": "0" * 32}),
        ("with_refresh_token", {"refresh_token": "wrong-7Zr5mQ2xTn8wL4kB"}),
        ("with_refresh_token", {"client_secret": "wrong-7Zr5mQ2xTn8wL4kB"}),
        ("with_refresh_token", {"project_name": "nowhere"}),
        ("with_refresh_token", {"identity_provider": "nobody.eu"}),
        ("with_refresh_token", {"auth_url": "http://127.0.0.1:9/v3"}),
        ("with_refresh_token", {"issuer": "https://127.0.0.1:9"}),
    ],
)
def test_a_login_that_fails_is_told_without_a_secret(login, kind, auth, needles, said):
    site = login(kind)
    site.entry = changed(site.entry, **auth)
    for value in auth.values():
        if value.startswith("wrong-"):
            needles.add("what was sent", value)
    endpoint = watched(site.endpoint(), needles)
    with pytest.raises(CloudError) as caught:
        endpoint.list_servers()
    told = "".join(traceback.format_exception(caught.value)).encode()
    assert needles.in_data(told + said()) == set()


def test_a_create_that_nova_refuses_is_told_without_a_secret(with_application_credential, needles, said):
    site = with_application_credential
    endpoint = watched(site.endpoint(), needles)
    with pytest.raises(CloudError) as caught:
        endpoint.create_server(site.request(user_data=USER_DATA.encode() * 2000))
    told = "".join(traceback.format_exception(caught.value)).encode()
    assert needles.in_data(told + said()) == set()


def test_the_search_would_find_each_of_them(with_refresh_token, needles, said):
    endpoint = watched(with_refresh_token.endpoint(), needles)
    endpoint.limits()
    for what, secrets in needles.secrets.items():
        for secret in secrets:
            logging.getLogger("keystoneauth.session").debug("it is %s", secret)
        assert what in needles.in_data(said())
