"""The plug-ins against a real OIDC provider and a real Keystone behind apache, also in a tool that is not ours."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from JenniferDIRAC.Resources.Cloud.CheckinAuth import OIDCRefreshToken, OIDCServiceAccount
from JenniferDIRAC.Resources.Cloud.OIDCIssuer import GrantRefused
from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from lab.openstack.cloud import CLIENT_ID, CLIENT_SECRET, IDENTITY_PROVIDER, REGION

OPENSTACK = str(Path(sys.executable).with_name("openstack"))
ROTATING = {"client_id": "dirac-rotating", "client_secret": "rotating-secret"}
SERVICE = {"client_id": "robot-service", "client_secret": "robot-secret"}
LOGIN, GRANT, PROJECT = "login", "grant", "project"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Nothing of the account that runs the tests."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def options(cloud):
    """A function that gives what stands in ``auth`` for the VO's project, but for the token."""

    def make(**other):
        common = {"auth_url": cloud.token_auth_url, "identity_provider": IDENTITY_PROVIDER, "issuer": cloud.issuer}
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return {**common, **client, "project_name": "vo.demo", "project_domain_name": "Default", **other}

    return make


@pytest.fixture
def token_file(home):
    def write(token):
        file = home / "refresh-token"
        file.write_text(token)
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def tool(cloud, home):
    """``openstack`` with that ``auth`` in clouds.yaml, and that in secure.yaml; what it prints, as JSON."""

    def run(*command, auth_type, auth, secure=None, fails=False):
        entry = {"auth_type": auth_type, "region_name": REGION, "cacert": str(cloud.ca_file), "auth": auth}
        for name, content in {"clouds": entry, "secure": {"auth": secure or {}}}.items():
            (home / f"{name}.yaml").write_text(yaml.safe_dump({"clouds": {"ours": content}}))
        files = {"OS_CLIENT_CONFIG_FILE": str(home / "clouds.yaml"), "OS_CLIENT_SECURE_FILE": str(home / "secure.yaml")}
        done = subprocess.run(
            [OPENSTACK, "--os-cloud", "ours", *command, *([] if fails else ["-f", "json"])],
            env={**os.environ, **files},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if fails:
            assert done.returncode != 0, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


class Traffic:
    """A session of keystoneauth, and a count of the requests that went through it."""

    def __init__(self, cloud, auth):
        self._cloud, self._seen = cloud, []
        http = requests.Session()
        http.hooks["response"].append(lambda answer, *args, **kwargs: self._seen.append(answer))
        self.session = Session(auth=auth, session=http, verify=str(cloud.ca_file))

    def ask_nova(self):
        return self.session.get("/servers", endpoint_filter={"service_type": "compute", "region_name": REGION})

    def ask_keystone(self):
        return self.session.get(f"{self._cloud.token_auth_url}/auth/projects")

    @property
    def count(self):
        return Counter(kind for kind in map(self._kind, self._seen) if kind)

    def _kind(self, answer):
        path = urlsplit(answer.url).path
        if "/OS-FEDERATION/" in path:
            return LOGIN
        if path.endswith("/auth/tokens") and answer.request.method == "POST":
            return PROJECT
        return GRANT if path.endswith("/token") else None


@pytest.fixture
def traffic(cloud):
    return lambda auth: Traffic(cloud, auth)


# --- any OpenStack tool


def test_the_openstack_client_works_with_a_refresh_token_in_a_file(tool, cloud, options, token_file):
    auth = options(refresh_token_file=str(token_file(cloud.refresh_token("alice"))))
    assert tool("server", "list", auth_type="v3oidcrefreshtoken", auth=auth) is not None
    issued = tool("token", "issue", auth_type="v3oidcrefreshtoken", auth=auth)
    assert issued["project_id"] == cloud.admin.identity.find_project("vo.demo", ignore_missing=False).id


def test_the_openstack_client_works_with_a_refresh_token_in_secure_yaml(tool, cloud, options):
    secure = {"refresh_token": cloud.refresh_token("alice"), "client_secret": CLIENT_SECRET}
    auth = options()
    del auth["client_secret"]
    assert tool("server", "list", auth_type="v3oidcrefreshtoken", auth=auth, secure=secure) is not None


def test_the_openstack_client_works_with_a_service_account(tool, options):
    auth = options(**SERVICE)
    assert tool("server", "list", auth_type="v3oidcserviceaccount", auth=auth) is not None


def test_the_openstack_client_says_what_to_do_when_the_token_has_ended(tool, options, token_file):
    file = token_file("not-a-token-of-this-issuer")
    auth = options(refresh_token_file=str(file))
    said = tool("server", "list", auth_type="v3oidcrefreshtoken", auth=auth, fails=True)
    assert f"Get a new refresh token from the issuer's token portal and write it into {file}" in said
    assert "not-a-token" not in said and "Traceback" not in said


# --- how often


def test_fifty_calls_cost_one_login(traffic, cloud, options):
    traffic = traffic(OIDCRefreshToken(**options(refresh_token=cloud.refresh_token("alice"))))
    for _ in range(50):
        assert traffic.ask_nova().status_code == 200
    assert traffic.count == {GRANT: 1, LOGIN: 1, PROJECT: 1}


def test_a_token_of_keystone_that_ends_between_two_calls_is_renewed_once(traffic, cloud, options):
    traffic = traffic(OIDCRefreshToken(**options(refresh_token=cloud.refresh_token("alice"))))
    traffic.ask_keystone()
    token = traffic.session.get_token()
    requests.delete(
        f"{cloud.auth_url}/auth/tokens", headers={"X-Auth-Token": token, "X-Subject-Token": token}, timeout=60
    )
    for _ in range(3):
        assert traffic.ask_keystone().status_code == 200
    assert traffic.session.get_token() != token
    assert traffic.count == {GRANT: 1, LOGIN: 2, PROJECT: 2}


def test_an_access_token_that_apache_refuses_is_renewed_once(traffic, cloud, options):
    plugin = OIDCRefreshToken(**options(refresh_token=cloud.refresh_token("alice")))
    traffic = traffic(plugin)
    traffic.ask_keystone()
    plugin._tokens = replace(plugin._tokens, access_token=Secret("of another time"))
    plugin.invalidate()
    assert traffic.ask_keystone().status_code == 200
    assert traffic.count == {GRANT: 2, LOGIN: 3, PROJECT: 2}


def test_at_a_site_that_calls_the_protocol_oidc_it_is_tried_second_and_then_first(traffic, cloud, options):
    auth = options(auth_url=cloud.other_token_auth_url, refresh_token=cloud.refresh_token("alice"))
    plugin = OIDCRefreshToken(**auth)
    traffic = traffic(plugin)
    for _ in range(2):
        assert traffic.ask_nova().status_code == 200
        plugin.invalidate()
    assert plugin.protocol == "oidc"
    assert traffic.count == {GRANT: 1, LOGIN: 3, PROJECT: 2}


def test_a_service_account_logs_in(traffic, options):
    traffic = traffic(OIDCServiceAccount(**options(**SERVICE)))
    assert traffic.ask_nova().status_code == 200
    assert traffic.count == {GRANT: 1, LOGIN: 1, PROJECT: 1}


# --- rotation


def grants(file, options, cloud, times):
    """A program that asks for tokens again and again."""
    return (
        "from keystoneauth1.session import Session\n"
        "from JenniferDIRAC.Resources.Cloud.CheckinAuth import OIDCRefreshToken\n"
        f"plugin = OIDCRefreshToken(**{options(**ROTATING, refresh_token_file=str(file))!r})\n"
        f"session = Session(verify={str(cloud.ca_file)!r})\n"
        f"for _ in range({times}):\n"
        "    plugin.new_tokens(session)\n"
    )


def test_each_login_leaves_the_next_refresh_token_in_the_file(traffic, cloud, options, token_file):
    first = cloud.refresh_token("alice", ROTATING["client_id"])
    file = token_file(first)
    plugin = OIDCRefreshToken(**options(**ROTATING, refresh_token_file=str(file)))
    traffic = traffic(plugin)
    assert traffic.ask_nova().status_code == 200
    second = file.read_text().strip()
    assert second != first
    plugin.new_tokens(traffic.session)
    assert file.read_text().strip() not in (first, second)


def test_a_used_refresh_token_is_refused_with_what_to_do(traffic, cloud, options, token_file):
    """The provider then ends the whole family, as RFC 9700 asks: what two users of one token do to each other."""
    first = cloud.refresh_token("alice", ROTATING["client_id"])
    session = traffic(None).session
    OIDCRefreshToken(**options(**ROTATING, refresh_token_file=str(token_file(first)))).new_tokens(session)
    with pytest.raises(GrantRefused, match="used elsewhere") as refused:
        OIDCRefreshToken(**options(**ROTATING, refresh_token_file=str(token_file(first)))).new_tokens(session)
    assert refused.value.code == "invalid_grant" and first not in str(refused.value)


def test_processes_that_share_a_rotating_token_do_not_lock_each_other_out(traffic, cloud, options, token_file):
    file = token_file(cloud.refresh_token("alice", ROTATING["client_id"]))
    program = [sys.executable, "-c", grants(file, options, cloud, times=15)]
    running = [subprocess.Popen(program, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate(timeout=600)[1], process.returncode) for process in running] == [("", 0)] * 3
    plugin = OIDCRefreshToken(**options(**ROTATING, refresh_token_file=str(file)))
    assert plugin.new_tokens(traffic(None).session).access_token


def test_an_inline_refresh_token_survives_its_rotation_in_the_next_processes(tool, cloud, options, home):
    secure = {"refresh_token": cloud.refresh_token("alice", ROTATING["client_id"])}
    for _ in range(3):
        assert tool("token", "issue", auth_type="v3oidcrefreshtoken", auth=options(**ROTATING), secure=secure)
    (kept,) = [file for file in home.glob("state/jenniferdirac/tokens/*") if not file.name.startswith(".")]
    assert kept.stat().st_mode & 0o777 == 0o600


# --- refusals


def login(traffic, options, cloud, subject="alice", **other):
    return traffic(OIDCRefreshToken(**options(refresh_token=cloud.refresh_token(subject), **other))).session.get_token()


def test_somebody_without_a_vo_learns_what_a_login_takes(traffic, cloud, options):
    with pytest.raises(exceptions.Unauthorized, match="is its owner a member of a VO that this cloud serves"):
        login(traffic, options, cloud, "carol")


def test_a_member_of_another_vo_learns_that_the_project_is_what_is_wrong(traffic, cloud, options):
    with pytest.raises(exceptions.Unauthorized, match="accepts the login and refuses the project.*project_name"):
        login(traffic, options, cloud, "bob")


@pytest.mark.parametrize("project", [{"project_name": "nowhere"}, {"project_name": None, "project_id": "0" * 32}])
def test_a_project_that_does_not_exist_is_what_is_wrong_too(traffic, cloud, options, project):
    with pytest.raises(exceptions.Unauthorized, match="refuses the project"):
        login(traffic, options, cloud, **project)


def test_an_identity_provider_that_the_cloud_does_not_know_is_named(traffic, cloud, options):
    with pytest.raises(exceptions.Unauthorized, match="'identity_provider: nobody.eu'"):
        login(traffic, options, cloud, identity_provider="nobody.eu")


def test_a_wrong_secret_is_told_apart_from_a_wrong_token(traffic, cloud, options):
    with pytest.raises(GrantRefused, match=f"refuses the client {CLIENT_ID} .invalid_client"):
        login(traffic, options, cloud, client_secret="wrong")


def test_keystone_in_place_of_the_issuer_is_no_issuer(traffic, cloud, options):
    with pytest.raises(LoginImpossible, match="issuer: .* in clouds.yaml right"):
        login(traffic, options, cloud, issuer=f"{cloud.issuer}/elsewhere")
