"""What an issuer or a Keystone may do to us, told by servers that answer as a test says; the lab has real ones."""

import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1.session import Session
from scripted_server import Reply

from JenniferDIRAC.Resources.Cloud.CheckinAuth import OIDCRefreshToken, OIDCServiceAccount
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Expiry
from JenniferDIRAC.Resources.Cloud.OIDCIssuer import DISCOVERY, GrantRefused
from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible, LoginRefused

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
FEDERATION = "/v3/OS-FEDERATION/identity_providers/egi.eu/protocols"
OPENID, OIDC, SCOPED = f"{FEDERATION}/openid/auth", f"{FEDERATION}/oidc/auth", "/v3/auth/tokens"
REFRESH, ACCESS, SECRET, KEYSTONE = "refresh-s3cr3t", "access-s3cr3t", "client-s3cr3t", "keystone-s3cr3t"


def jwt(**claims):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "signature"])


def keystone_token(project=None):
    """Good for a day from the day of the test: keystoneauth has the clock of the machine."""
    token = {
        "methods": ["openid"],
        "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "user": {"id": "u"},
    }
    return Reply(201, {"token": token | ({"project": project} if project else {})}, {"X-Subject-Token": KEYSTONE})


class World:
    """An issuer and a Keystone that let everybody in, and a clock."""

    def __init__(self, scripted, ca_file, directory):
        self.issuer, self.keystone = scripted(), scripted(https=False)
        self.issuer.routes[DISCOVERY] = Reply(
            body={"issuer": self.issuer.url, "token_endpoint": f"{self.issuer.url}/token"}
        )
        self.grant(access_token=ACCESS, expires_in=3600)
        self.keystone.routes |= {OPENID: keystone_token(), SCOPED: keystone_token({"id": "p1"})}
        self.session = Session(verify=str(ca_file))
        self.now = START
        self.file = directory / "token"
        self.file.write_text(REFRESH)
        self.file.chmod(0o600)

    def grant(self, **answer):
        self.issuer.routes["/token"] = Reply(body=answer)

    def options(self, **options):
        common = {"auth_url": f"{self.keystone.url}/v3", "identity_provider": "egi.eu", "client_id": "dirac"}
        return {**common, "client_secret": SECRET, "issuer": self.issuer.url, "clock": lambda: self.now, **options}

    def plugin(self, **options):
        token = {} if "refresh_token" in options else {"refresh_token_file": str(self.file)}
        return OIDCRefreshToken(**self.options(**token, **options))

    def log_in(self, plugin=None):
        return (plugin or self.plugin()).get_token(self.session)

    @property
    def grants(self):
        return [seen.form for seen in self.issuer.asked("/token")]


@pytest.fixture
def world(scripted, certificate, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return World(scripted, certificate[0], tmp_path)


def again(plugin):
    """What a session does when the cloud refuses Keystone's token."""
    assert plugin.invalidate()


# --- the way in


def test_a_refresh_token_becomes_keystones_token_for_the_project(world):
    assert world.log_in(world.plugin(project_id="p1")) == KEYSTONE
    assert world.grants == [
        {"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "dirac", "client_secret": SECRET}
    ]
    assert world.keystone.asked(OPENID)[0].headers["Authorization"] == f"Bearer {ACCESS}"
    assert json.loads(world.keystone.asked(SCOPED)[0].body)["auth"]["scope"] == {"project": {"id": "p1"}}


def test_a_service_account_needs_its_secret_only(world):
    assert world.log_in(OIDCServiceAccount(**world.options(scope="openid entitlements"))) == KEYSTONE
    assert world.grants == [
        {
            "grant_type": "client_credentials",
            "scope": "openid entitlements",
            "client_id": "dirac",
            "client_secret": SECRET,
        }
    ]


def test_a_public_client_sends_no_secret(world):
    world.log_in(world.plugin(client_secret=None))
    assert world.grants == [{"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "dirac"}]


def test_a_client_that_is_registered_for_the_header_gets_in_and_is_remembered(world):
    def only_by_header(seen):
        known = seen.headers.get("Authorization") == "Basic " + base64.b64encode(b"dirac:a%2Bb+c").decode()
        return Reply(body={"access_token": ACCESS}) if known else Reply(401, {"error": "invalid_client"})

    world.issuer.routes["/token"] = only_by_header
    plugin = world.plugin(client_secret="a+b c")
    world.log_in(plugin)
    again(plugin)
    world.log_in(plugin)
    assert ["client_secret" in grant for grant in world.grants] == [True, False, False]


@pytest.mark.parametrize("status", [401, 404])
def test_the_other_protocol_is_tried_where_openid_is_not_known_and_then_remembered(world, status):
    world.keystone.routes |= {OPENID: Reply(status, {"error": {"message": "unknown"}}), OIDC: keystone_token()}
    plugin = world.plugin()
    for _ in range(3):
        assert world.log_in(plugin) == KEYSTONE
        again(plugin)
    assert (len(world.keystone.asked(OPENID)), len(world.keystone.asked(OIDC))) == (1, 3)


def test_the_other_protocol_is_tried_where_openid_is_for_browsers_only(world):
    world.keystone.routes[f"{FEDERATION}/oidc/auth"] = world.keystone.routes[OPENID]
    world.keystone.routes[OPENID] = Reply(302, "", {"Location": "https://issuer.example/login"})
    assert world.log_in() == KEYSTONE


def test_a_protocol_of_ones_own_is_the_only_one(world):
    world.keystone.routes[f"{FEDERATION}/iam/auth"] = keystone_token()
    world.log_in(world.plugin(protocol="iam"))
    assert len(world.keystone.seen) == 1


@pytest.mark.parametrize("option", ["discovery_endpoint", "issuer"])
def test_the_address_of_the_discovery_document_does_too(world, option):
    world.log_in(world.plugin(**{"issuer": None, option: world.issuer.url + DISCOVERY}))
    assert len(world.issuer.asked(DISCOVERY)) == 1


# --- how often


def test_an_access_token_serves_until_shortly_before_its_end(world):
    plugin = world.plugin()
    for minutes, grants in [(0, 1), (58, 1), (60, 2), (61, 2)]:
        world.now = START + timedelta(minutes=minutes)
        world.log_in(plugin)
        again(plugin)
        assert len(world.grants) == grants, minutes
    assert len(world.issuer.asked(DISCOVERY)) == 1


def test_an_access_token_that_does_not_say_how_long_it_lives_is_used_once(world):
    world.grant(access_token=ACCESS)
    plugin = world.plugin()
    world.log_in(plugin)
    again(plugin)
    world.log_in(plugin)
    assert len(world.grants) == 2


def test_an_access_token_that_is_refused_later_is_renewed_once(world):
    plugin = world.plugin()
    world.log_in(plugin)
    world.grant(access_token="another", expires_in=3600)
    world.keystone.routes[OPENID] = lambda seen: (
        keystone_token() if seen.headers["Authorization"] == "Bearer another" else Reply(401)
    )
    again(plugin)
    assert world.log_in(plugin) == KEYSTONE
    assert len(world.grants) == 2


def test_a_new_access_token_that_is_refused_is_no_reason_for_another(world):
    world.keystone.routes |= {OPENID: Reply(401), OIDC: Reply(403)}
    with pytest.raises(exceptions.Unauthorized) as refused:
        world.log_in()
    assert len(world.grants) == 1
    assert "openid: 401" in str(refused.value) and "oidc: 403" in str(refused.value)
    assert "member of a VO" in str(refused.value)


# --- rotation


def test_a_rotated_token_is_in_the_file_before_the_access_token_is_used(world):
    on_disk = []
    world.grant(access_token=ACCESS, refresh_token="second", expires_in=10)
    world.keystone.routes[OPENID] = lambda seen: (on_disk.append(world.file.read_text()), keystone_token())[1]
    plugin = world.plugin()
    world.log_in(plugin)
    assert on_disk == ["second\n"]
    again(plugin)
    world.log_in(plugin)
    assert [grant["refresh_token"] for grant in world.grants] == [REFRESH, "second"]


def test_an_inline_tokens_successor_is_kept_told_once_and_preferred_by_the_next_process(world, caplog):
    world.grant(access_token=ACCESS, refresh_token="second")
    world.log_in(world.plugin(refresh_token=REFRESH))
    world.log_in(world.plugin(refresh_token=REFRESH))
    assert [grant["refresh_token"] for grant in world.grants] == [REFRESH, "second"]
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "jenniferdirac/tokens/" in told.getMessage()


def test_an_inline_token_that_the_operator_replaced_counts_again(world):
    world.grant(access_token=ACCESS, refresh_token="second")
    world.log_in(world.plugin(refresh_token=REFRESH))
    world.log_in(world.plugin(refresh_token="fresh-from-the-portal"))
    assert [grant["refresh_token"] for grant in world.grants] == [REFRESH, "fresh-from-the-portal"]


def test_an_inline_token_of_an_issuer_that_does_not_rotate_is_written_nowhere(world, tmp_path):
    world.log_in(world.plugin(refresh_token=REFRESH))
    assert [file for file in tmp_path.rglob("state/**/*") if file.is_file() and file.stat().st_size] == []


# --- refusals


def test_a_refresh_token_that_has_ended_says_what_to_do(world):
    world.issuer.routes["/token"] = Reply(400, {"error": "invalid_grant", "error_description": f"{REFRESH} not active"})
    with pytest.raises(GrantRefused) as refused:
        world.log_in()
    assert "invalid_grant: <secret> not active" in str(refused.value)
    assert f"Get a new refresh token from the issuer's token portal and write it into {world.file}" in str(
        refused.value
    )
    assert len(world.grants) == 1 and not world.keystone.seen


def test_a_wrong_secret_names_the_client(world):
    world.issuer.routes["/token"] = Reply(401, {"error": "invalid_client", "error_description": "bad credentials"})
    with pytest.raises(GrantRefused, match=r"refuses the client dirac \(invalid_client: bad credentials\)"):
        world.log_in()


@pytest.mark.parametrize("path", ["/token", DISCOVERY])
def test_an_issuer_that_wants_a_pause_says_for_how_long(world, path):
    world.issuer.routes[path] = Reply(429, {"error": "slow_down"}, {"Retry-After": "90"})
    with pytest.raises(exceptions.TooManyRequests, match="asks for fewer requests") as failed:
        world.log_in()
    assert failed.value.retry_after == 90


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(200, "<html>maintenance</html>"), "answers text/html in place of a JSON object"),
        (Reply(200, {"token_type": "Bearer"}), "answers without an access_token"),
        (Reply(200, ["a list"]), "in place of a JSON object"),
        (Reply(503, "<html>later</html>"), "answers 503"),
        (Reply(404, "<html></html>"), "answers 404"),
        (Reply(200, "x" * (5 << 20)), "longer than"),
    ],
)
def test_an_issuer_that_makes_no_sense_is_an_error_that_names_it(world, reply, says):
    world.issuer.routes["/token"] = reply
    with pytest.raises(LoginImpossible, match=says) as failed:
        world.log_in()
    assert world.issuer.url in str(failed.value)
    assert world.file.read_text() == REFRESH


def test_an_issuer_that_is_not_there_is_an_error_that_names_it(world):
    world.issuer.stop()
    with pytest.raises(LoginImpossible, match=f"issuer {world.issuer.url} does not answer: Connection refused"):
        world.log_in()


def test_an_issuer_of_an_unknown_ca_gets_nothing(world):
    world.session.verify = True
    with pytest.raises(LoginImpossible, match="certificate verify failed.*its CA is named by 'cacert'"):
        world.log_in()
    assert not world.issuer.seen


def test_verification_cannot_be_switched_off(world):
    world.session.verify = False
    with pytest.raises(exceptions.OptionError, match="expected the file of its CA in 'cacert'"):
        world.log_in()
    assert not world.issuer.seen


def test_keystone_without_a_token_in_its_answer_is_an_error(world):
    world.keystone.routes[OPENID] = Reply(200, "<html>log in here</html>")
    with pytest.raises(LoginImpossible, match="without Keystone's token"):
        world.log_in()


@pytest.mark.parametrize(("status", "kind"), [(500, exceptions.HttpServerError), (429, exceptions.TooManyRequests)])
def test_keystones_own_trouble_is_not_a_refusal_and_tries_no_other_protocol(world, status, kind):
    world.keystone.routes[OPENID] = Reply(status, {"error": {"message": "trouble"}}, {"Retry-After": "7"})
    with pytest.raises(kind, match="trouble") as failed:
        world.log_in()
    assert failed.value.retry_after == 7 and failed.value.response is None
    assert not world.keystone.asked(OIDC)


def test_a_project_that_is_not_ours_is_told_apart_from_a_refused_login(world):
    world.keystone.routes[SCOPED] = Reply(401, {"error": {"message": "no role"}})
    with pytest.raises(
        exceptions.Unauthorized, match="accepts the login and refuses the project .no role.: is the project_id"
    ):
        world.log_in(world.plugin(project_id="p2"))


# --- pins


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://user:pw@host", "https://", "ftp://host", "https://a b", "x"]
)
def test_an_issuer_is_a_https_address(world, url):
    with pytest.raises(exceptions.OptionError, match="issuer: expected"):
        world.plugin(issuer=url)


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@host", "http://user:hun@ter2@host", "https://user:hunter/2@host"]
)
@pytest.mark.parametrize("option", ["issuer", "access_token_endpoint", "auth_url"])
def test_a_password_in_an_address_is_not_repeated(world, option, url):
    with pytest.raises(exceptions.OptionError, match=f"{option}: .*//<secret>@host") as refused:
        world.plugin(**{option: url})
    assert "hun" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://keystone.example.org:5000/v3", "http://10.0.0.1/v3", "http://127.0.0.1.example.org"]
)
def test_an_access_token_crosses_no_network_in_the_clear(world, url):
    with pytest.raises(exceptions.OptionError, match="auth_url: expected https"):
        world.plugin(auth_url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000/v3", "http://localhost/v3", "http://[::1]:5000", "https://10.0.0.1/v3"]
)
def test_http_is_for_this_machine_only(world, url):
    assert world.plugin(auth_url=url).auth_url == url


def test_a_document_of_another_issuer_is_refused(world):
    world.issuer.routes[DISCOVERY] = Reply(body={"issuer": "https://evil.example", "token_endpoint": world.issuer.url})
    with pytest.raises(LoginImpossible, match="belongs to the issuer 'https://evil.example'"):
        world.log_in()


@pytest.mark.parametrize("kind", ["another host", "another port", "http"])
def test_a_token_endpoint_elsewhere_gets_nothing(world, scripted, kind):
    other = scripted(https=kind != "http")
    url = (
        "https://localhost" + world.issuer.url.removeprefix("https://127.0.0.1")
        if kind == "another host"
        else other.url
    )
    world.issuer.routes[DISCOVERY] = Reply(body={"issuer": world.issuer.url, "token_endpoint": f"{url}/token"})
    with pytest.raises(LoginImpossible, match="expected https" if kind == "http" else "on another host"):
        world.log_in()
    assert not other.seen and not world.grants


def test_an_endpoint_that_the_operator_chose_may_be_anywhere_and_nothing_is_asked_for(world, scripted):
    other = scripted()
    other.routes["/oauth"] = Reply(body={"access_token": ACCESS})
    assert world.log_in(world.plugin(access_token_endpoint=f"{other.url}/oauth")) == KEYSTONE
    assert not world.issuer.seen


@pytest.mark.parametrize("where", ["discovery", "token", "keystone", "project"])
def test_no_redirect_is_followed(world, scripted, where):
    server, path = {
        "discovery": (world.issuer, DISCOVERY),
        "token": (world.issuer, "/token"),
        "keystone": (world.keystone, OPENID),
        "project": (world.keystone, SCOPED),
    }[where]
    other = scripted()
    server.routes[path] = Reply(307, "", {"Location": f"{other.url}/token"})
    kinds = (LoginImpossible, exceptions.Unauthorized)
    with pytest.raises(kinds, match=f"redirects to {other.url}/token, which is not followed"):
        world.log_in(world.plugin(project_id="p1"))
    assert not other.seen


def test_a_password_in_netrc_does_not_take_the_tokens_place(world, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert requests.utils.get_netrc_auth(world.keystone.url) == ("somebody", "else")
    world.log_in()
    assert world.keystone.asked(OPENID)[0].headers["Authorization"] == f"Bearer {ACCESS}"
    assert "Authorization" not in world.issuer.asked("/token")[0].headers


# --- secrets


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("", None),
        ("/token", Reply(400, {"error": "invalid_grant", "error_description": f"{REFRESH} {SECRET}"})),
        ("/token", Reply(500, REFRESH)),
        (OPENID, Reply(401, {"error": {"message": f"{ACCESS} is bad"}})),
        (OPENID, Reply(500, {"error": {"message": f"{ACCESS} is bad"}})),
        (SCOPED, Reply(401, {"error": {"message": "no"}})),
    ],
)
def test_no_log_message_exception_or_repr_shows_a_secret(world, caplog, path, reply):
    caplog.set_level(logging.DEBUG)
    for server in (world.issuer, world.keystone):
        if path in server.routes:
            server.routes[path] = reply
    plugin = world.plugin(project_id="p1")
    shown = [repr(plugin)]
    try:
        world.log_in(plugin)
    except exceptions.ClientException as error:
        shown += [str(error), repr(error), repr(vars(error))]
        assert error.__cause__ is None
    shown += [record.getMessage() for record in caplog.records]
    assert caplog.records
    for secret in (REFRESH, SECRET, ACCESS, KEYSTONE):
        assert not [text for text in shown if secret in text]


# --- how long still


def test_what_the_issuer_says_of_the_refresh_tokens_end_counts(world):
    world.grant(access_token=ACCESS, refresh_expires_in=86400)
    plugin = world.plugin()
    world.log_in(plugin)
    assert plugin.expiries() == (Expiry(f"refresh token of {world.issuer.url}", START + timedelta(days=1)),)


def test_an_offline_token_has_no_end(world):
    world.grant(access_token=ACCESS, refresh_expires_in=0)
    plugin = world.plugin()
    world.log_in(plugin)
    assert plugin.expiries() == ()


def test_a_refresh_token_that_is_a_jwt_tells_its_end_before_any_login(world):
    world.file.write_text(jwt(exp=(START + timedelta(days=7)).timestamp()))
    assert world.plugin().expiries() == (Expiry(f"refresh token of {world.issuer.url}", START + timedelta(days=7)),)


@pytest.mark.parametrize("token", ["opaque", "a.b.c", jwt(), jwt(exp="soon"), jwt(exp=1e300), "a." + "A" * 6])
def test_the_end_of_any_other_refresh_token_is_not_known(world, token):
    world.file.write_text(token)
    assert world.plugin().expiries() == (Expiry(f"refresh token of {world.issuer.url}", None),)


def test_a_service_account_has_no_end_that_is_known(world):
    assert OIDCServiceAccount(**world.options()).expiries() == ()


# --- options


def load(name, **options):
    return loading.get_plugin_loader(name).load_from_options(**options)


GOOD = {"auth_url": "https://k/v3", "identity_provider": "egi.eu", "client_id": "c", "issuer": "https://i"}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("v3oidcrefreshtoken", {}, "expected one of refresh_token and refresh_token_file, found neither"),
        ("v3oidcrefreshtoken", {"refresh_token": "a", "refresh_token_file": "/b"}, "found both"),
        ("v3oidcrefreshtoken", {"refresh_token": "two words"}, "refresh_token is no refresh token"),
        ("v3oidcrefreshtoken", {"refresh_token_file": "b"}, "refresh_token_file: expected a path from / or ~"),
        (
            "v3oidcrefreshtoken",
            {"refresh_token": "a", "issuer": None},
            "issuer: expected its https address, found none",
        ),
        ("v3oidcrefreshtoken", {"refresh_token": "a", "client_id": None}, "client_id"),
        ("v3oidcrefreshtoken", {"refresh_token": "a", "identity_provider": None}, "identity_provider"),
        ("v3oidcrefreshtoken", {"refresh_token": "a", "project_name": "p"}, "project_domain"),
        ("v3oidcserviceaccount", {}, "client_secret: a service account has one"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_when_it_is_read(name, change, says):
    with pytest.raises((exceptions.OptionError, LoginRefused), match=says):
        load(name, **{**GOOD, **change})


@pytest.mark.parametrize("name", ["v3oidcrefreshtoken", "v3oidcserviceaccount"])
def test_every_option_is_explained_and_secrets_are_marked(name):
    options = {option.dest: option for option in loading.get_plugin_options(name)}
    assert all(option.help for option in options.values())
    secret = {name for name, option in options.items() if option.secret}
    assert secret == {"client_secret", "refresh_token"} & set(options)


def test_a_token_file_below_the_home_directory_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text(jwt(exp=START.timestamp()))
    (tmp_path / "token").chmod(0o600)
    assert load("v3oidcrefreshtoken", **GOOD, refresh_token_file="~/token").expiries()[0].at == START
