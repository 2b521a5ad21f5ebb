"""What clouds and libraries say of failures, as typed errors (how real ones say it is tested in the lab)."""

import http.client
import json
from datetime import UTC, datetime

import pytest
import requests
import urllib3
from keystoneauth1 import exceptions as keystone

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    CloudError,
    QuotaExceeded,
    Rejected,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.OpenStackErrors import Translator, lacks_capacity
from JenniferDIRAC.Resources.Cloud.Secret import Secret

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TRANSLATOR = Translator("CLOUD.Here.org/ce", (Secret("hush-hush"),), lambda: NOW)


def answer(status, body="", **headers):
    made = requests.Response()
    made.status_code = status
    made._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("12", 12),
        ("0", 0),
        ("-3", 0),
        ("1.5", 1.5),
        ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
        ("Tue, 01 Jan 2019 00:00:00 GMT", 0),
        ("Tue, 01 Jan 2030 00:02:00", 120),
        ("soon", None),
        ("inf", None),
    ],
)
def test_how_long_to_wait_is_read_from_seconds_and_from_dates(told, seconds):
    error = TRANSLATOR.answer(answer(429, "{}", Retry_After=told), "x")
    assert isinstance(error, Throttled) and error.retry_after == seconds


@pytest.mark.parametrize("body", [{}, {"overLimit": None}, {"overLimit": {"retryAfter": None}}, "html", ["list"]])
def test_a_cloud_that_does_not_say_how_long_to_wait_is_throttled_all_the_same(body):
    error = TRANSLATOR.answer(answer(429, body), "x")
    assert isinstance(error, Throttled) and error.retry_after is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"badRequest": {"code": 400, "message": "no flavor"}}, "no flavor"),
        ({"error": {"code": 400, "message": "no user", "title": "Bad"}}, "no user"),
        ({"NeutronError": {"type": "X", "message": "no port", "detail": ""}}, "no port"),
        ({"message": "plain"}, '{"message": "plain"}'),
        ("plain\n  words\t\x1b[31m", "plain words [31m"),
        ("<html><TITLE>404\nNot Found</TITLE><p>long", "an HTML page: 404 Not Found"),
        ("<html><body><h1>Oops</h1><p>sorry", "an HTML page: Oops sorry"),
        ("null", "null"),
        ("", ""),
    ],
)
def test_the_clouds_own_words_are_found_and_stand_on_one_line(body, said):
    assert str(TRANSLATOR.answer(answer(400, body), "try")) == f"CLOUD.Here.org/ce: try: 400 {said}".rstrip()


CLASSIC = "Quota exceeded for cores: Requested 2, but already used 4 of 4 cores"
UNIFIED = "Project p is over a limit for [Resource servers is over limit of 2 due to current usage 2 and delta 1]"


@pytest.mark.parametrize(
    ("said", "kind"), [(CLASSIC, QuotaExceeded), (UNIFIED, QuotaExceeded), ("not allowed", AuthenticationFailed)]
)
def test_a_full_project_is_told_from_what_is_forbidden(said, kind):
    body = {"forbidden": {"code": 403, "message": said}}
    assert isinstance(TRANSLATOR.answer(answer(403, body), "create", creating=True), kind)


@pytest.mark.parametrize("status", [413, 503])
def test_a_read_is_throttled_and_never_over_quota(status):
    error = TRANSLATOR.answer(answer(status, "Rate limit exceeded", Retry_After="60"), "list")
    assert isinstance(error, Throttled) and error.retry_after == 60


def test_a_log_in_that_is_throttled_keeps_its_pause():
    error = TRANSLATOR.failure(keystone.TooManyRequests("slow down", http_status=429, retry_after=90), "log in")
    assert isinstance(error, Throttled) and error.retry_after == 90


@pytest.mark.parametrize("secret", ["two  spaces\tand a tab", 'a "quoted" word', "a\\backslash", "Größe"])
def test_a_secret_of_any_characters_is_masked(secret):
    translator = Translator("e", (Secret(secret),), lambda: NOW)
    for body in (f"it was {secret}.", {"what": f"it was {secret}."}, {"x": {"message": f"it was {secret}."}}):
        assert "it was <secret>." in str(translator.answer(answer(400, body), "try"))


def test_a_message_is_not_longer_than_an_operator_reads():
    text = str(TRANSLATOR.answer(answer(500, "word " * 10000), "try"))
    assert len(text) < 350 and text.endswith("…")


@pytest.mark.parametrize(
    "secret",
    [
        "hush-hush",
        "gAAAAABrAXBoL_-1NkmxlzxpTEWG_U2Yl1PpzECE1T1261itBZp8SwARjazQgfWQxZmm1gP6",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
        "IyEvYmluL3NoCmVjaG8gdGhlIHRpY2tldCBpcyA0NzExCmVjaG8gdGhlIHRpY2tldCBpcyA0NzExCg==",
    ],
)
def test_no_secret_stands_in_a_message(secret):
    for error in (
        TRANSLATOR.answer(answer(400, {"badRequest": {"message": f"Value: {secret}."}}), "try"),
        TRANSLATOR.failure(ValueError(f"Value: {secret}."), "try"),
    ):
        assert "Value: <secret>." in str(error) and secret not in str(error)
    assert "hush" not in repr(TRANSLATOR)


def test_names_and_ids_are_not_taken_for_secrets():
    words = (
        "jennifer-97428cb5-7b576bc52009430987754e2a467f2ba6 1da71ef4-6c18-4b14-afce-47ef2c556066 /etc/openstack/ca.pem"
    )
    assert words in str(TRANSLATOR.answer(answer(400, words), "try"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Throttled("told", 3), Throttled),
        (keystone.Unauthorized("no"), AuthenticationFailed),
        (keystone.AuthorizationFailure("no"), AuthenticationFailed),
        (keystone.MissingAuthPlugin("no"), AuthenticationFailed),
        (keystone.EndpointNotFound("no"), Rejected),
        (keystone.MissingRequiredOptions([]), Rejected),
        (keystone.SSLError("no"), Unreachable),
        (keystone.DiscoveryFailure("no"), Unreachable),
        (keystone.InvalidResponse(answer(200)), Unreachable),
        (RecursionError("no"), Unreachable),
        (KeyError("no"), Unreachable),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_an_exception_of_a_library_is_one_of_ours(error, kind):
    translated = TRANSLATOR.failure(error, "try")
    assert isinstance(translated, kind) and isinstance(translated, CloudError)


def through_a_proxy_that_broke_off_after_it_had_the_request() -> Exception:
    """As urllib3 and requests tell of it: the connection's end hides that the proxy was reached."""
    ended = urllib3.exceptions.ProxyError("Unable to connect to proxy", http.client.RemoteDisconnected("closed"))
    retried = urllib3.exceptions.MaxRetryError(None, "http://nova/v2.1/servers", ended)
    failure = keystone.ConnectFailure("x")
    failure.__cause__ = requests.exceptions.ProxyError(retried)
    return failure


@pytest.mark.parametrize(
    "error",
    [
        keystone.ConnectFailure("x"),
        keystone.UnknownConnectionError("x", None),
        OSError(5),
        through_a_proxy_that_broke_off_after_it_had_the_request(),
    ],
)
def test_what_is_not_known_to_be_unsent_may_have_made_a_server(error):
    assert isinstance(TRANSLATOR.failure(error, "create", creating=True), AmbiguousOutcome)


@pytest.mark.parametrize(
    ("fault", "room"),
    [
        ("No valid host was found. ", True),
        ("No valid host was found. There are not enough hosts available.", True),
        ("Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures", True),
        ("Insufficient compute resources: Free memory 12.00 MB < requested 512 MB.", True),
        ("Build of instance x aborted: publicURL endpoint for volumev3 service not found", False),
        ("", False),
    ],
)
def test_a_lack_of_room_is_told_from_other_faults(fault, room):
    assert lacks_capacity(fault) is room
