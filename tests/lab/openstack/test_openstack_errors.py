"""Every way in which a real Nova or Keystone, or what stands before them, fails, as the director gets to know it."""

import json
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from conftest import until
from faulty_proxy import Answer, Drop, FaultyProxy, Hang

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    Network,
    QuotaExceeded,
    Rejected,
    Throttled,
    Unreachable,
)

NOWHERE = "5a1a1a1a-5a1a-4a1a-8a1a-5a1a1a1a1a1a"
CREATE = r"/servers$"
NOVA_SAYS_503 = '{"computeFault": {"code": 503, "message": "try later"}}'
HTML = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"


def creates(site):
    return len(site.nova.seen("POST", CREATE))


@contextmanager
def full_backlog(port):
    """A port that takes no connection and refuses none: the kernel leaves those who knock without an answer."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            yield
        finally:
            for each in waiting:
                each.close()


# a create that the real Nova refuses


@pytest.mark.parametrize(
    ("word", "said"),
    [("instances", "Quota exceeded for instances"), ("cores", "exceeded for cores"), ("ram", "exceeded for ram")],
)
def test_a_full_project_is_no_failure(site, cloud, word, said):
    endpoint = site.logged_in()
    endpoint.limits()
    cloud.set_quota(site.project, force=True, **{word: 0})
    try:
        with pytest.raises(QuotaExceeded, match=f"^{site.name}: create server jennifer-.*403 .*{said}"):
            endpoint.create_server(site.request())
    finally:
        cloud.set_quota(site.project, force=True, **{word: -1})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flavor": NOWHERE}, "400 Flavor .* could not be found"),
        ({"image": NOWHERE}, "400 Can not find requested image"),
        ({"networks": (Network(NOWHERE, "gone"),)}, "400 Network .* could not be found"),
        ({"networks": (Network("not an id", "wrong"),)}, "400 Invalid input"),
        ({"zone": "nowhere"}, "400 The requested availability zone is not available"),
        ({"key_pair": "nobody"}, "400 Invalid key_name"),
        ({"security_groups": ("none",), "networks": ()}, "400 Unable to find security_group"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_in_our_configuration_is_rejected_and_not_tried_twice(site, changes, said):
    endpoint, request = site.logged_in(), site.request()
    for word in changes.keys() & {"flavor", "image"}:
        changes = {word: replace(getattr(request, word), id=changes[word])}
    with pytest.raises(Rejected, match=said):
        endpoint.create_server(replace(request, **changes))
    assert creates(site) == 1
    assert endpoint.find_server(request.identity.name) is None


def test_what_only_an_administrator_may_do_is_told_from_a_quota(site):
    endpoint = site.logged_in()
    with pytest.raises(AuthenticationFailed, match="403 Policy doesn't allow"):
        endpoint.create_server(site.request(zone="fake:fake1"))


# a create that made nothing


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(400, HTML), Rejected),
        (Answer(403, '{"forbidden": {"message": "Maximum number of ports exceeded"}}'), QuotaExceeded),
        (Answer(403, '{"forbidden": {"message": "flavors with zero disk need a volume"}}'), Rejected),
        (Answer(404, '{"itemNotFound": {"message": "Image not found"}}'), Rejected),
        (Answer(406, "{}"), Rejected),
        (Answer(409, '{"conflictingRequest": {"message": "Not enough hosts available"}}'), "NoCapacity"),
        (Answer(413, '{"overLimit": {"message": "Quota exceeded", "retryAfter": 0}}'), QuotaExceeded),
        (Answer(413, HTML), Rejected),
        (Answer(413, '{"overLimit": {"message": "Only 10 POST a minute", "retryAfter": "7"}}'), Throttled),
        (Answer(429, "{}", {"Retry-After": "7"}), Throttled),
        (Answer(429, "slow down", {"Retry-After": "Tue, 01 Jan 2030 00:00:07 GMT"}), Throttled),
    ],
    ids=lambda value: f"{value.status} {value.body[:30]}" if isinstance(value, Answer) else "",
)
def test_an_answer_of_4xx_made_nothing(site, answer, error):
    endpoint = site.logged_in(now=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    site.nova.fail("POST", CREATE, answer)
    with pytest.raises(Exception) as raised:
        endpoint.create_server(site.request())
    assert raised.type.__name__ == (error if isinstance(error, str) else error.__name__)
    assert getattr(raised.value, "retry_after", 7.0) == 7.0
    assert (creates(site), site.pauses) == (1, [])


def test_a_create_that_finds_nobody_listening_was_never_sent(site):
    endpoint = site.logged_in()
    endpoint.limits()
    site.nova.close()
    with pytest.raises(Unreachable, match="create server .*: Connection refused"):
        endpoint.create_server(site.request())


def test_a_create_that_gets_no_connection_in_time_was_never_sent(site):
    endpoint = site.logged_in(connect=0.3)
    endpoint.limits()
    site.nova.close()
    with full_backlog(site.nova.port), pytest.raises(Unreachable, match="no connection in time"):
        endpoint.create_server(site.request())


def test_a_create_whose_login_fails_was_never_sent(site):
    site.keystone.fail("POST", "/auth/tokens", Hang(), times=3)
    endpoint = site.endpoint(read=0.3)
    with pytest.raises(Unreachable, match="log in at .*: no answer in time"):
        endpoint.create_server(site.request())
    assert creates(site) == 0


# a create of which nobody knows


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, '{"computeFault": {"message": "Unexpected API Error"}}'),
        Answer(501, HTML),
        Answer(502, HTML),
        Answer(503, NOVA_SAYS_503, {"Retry-After": "1"}),
        Answer(504, "upstream request timeout"),
        Answer(408, HTML),
        Answer(200, HTML, {"Content-Type": "text/html"}),
        Answer(202, "{}"),
        Answer(202, '{"server": {"id":'),
        Answer(202, "[]"),
        Answer(204, ""),
        Drop(),
    ],
    ids=lambda fault: f"{fault.status} {fault.body[:20]}" if isinstance(fault, Answer) else "dropped",
)
def test_any_other_answer_leaves_open_whether_a_server_was_made_and_nothing_is_sent_again(site, fault):
    site.entry |= {"compute_status_code_retries": 5, "compute_connect_retries": 5, "connect_retries": 5}
    endpoint = site.logged_in()
    site.nova.fail("POST", CREATE, fault)
    request = site.request()
    with pytest.raises(AmbiguousOutcome, match=f"create server {request.identity.name}"):
        endpoint.create_server(request)
    assert (creates(site), site.pauses) == (1, [])
    assert endpoint.find_server(request.identity.name) is None


@pytest.mark.parametrize("fault", [Answer(503, NOVA_SAYS_503, forward=True), Drop(forward=True)], ids=["503", "drop"])
def test_a_server_that_was_made_all_the_same_is_found_by_its_name(site, fault):
    endpoint = site.logged_in()
    site.nova.fail("POST", CREATE, fault)
    request = site.request()
    with pytest.raises(AmbiguousOutcome):
        endpoint.create_server(request)
    assert creates(site) == 1
    assert endpoint.find_server(request.identity.name).identity == request.identity
    mine = [server for server in endpoint.list_servers() if server.name == request.identity.name]
    assert len(mine) == 1


def test_a_create_without_an_answer_in_time_is_found_by_its_name(site):
    hang = Hang(forward=True)
    site.nova.fail("POST", CREATE, hang)
    request = site.request()
    with pytest.raises(AmbiguousOutcome, match="no answer in time"):
        impatient(site.logged_in()).create_server(request)
    assert hang.forwarded.wait(60)
    assert site.logged_in().find_server(request.identity.name).identity == request.identity
    assert creates(site) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_create_follows_no_redirect(site, status):
    with FaultyProxy(f"http://127.0.0.1:{site.nova.upstream.port}") as elsewhere:
        site.nova.fail("POST", CREATE, Answer(status, "", {"Location": f"{elsewhere.url}/v2.1/servers"}))
        endpoint = site.logged_in()
        with pytest.raises(AmbiguousOutcome, match=f"{status} a redirect to {elsewhere.url}"):
            endpoint.create_server(site.request())
        assert (creates(site), elsewhere.requests) == (1, [])


def test_no_token_goes_where_a_redirect_points(site):
    with FaultyProxy(f"http://127.0.0.1:{site.nova.upstream.port}") as elsewhere:
        site.nova.fail("GET", "/limits", Answer(302, "", {"Location": f"{elsewhere.url}/v2.1/limits"}))
        with pytest.raises(Unreachable, match="a redirect to"):
            site.logged_in().limits()
        assert elsewhere.requests == []


# reads and deletes


@pytest.mark.parametrize("fault", [Answer(502, HTML), Answer(503, NOVA_SAYS_503), Drop()], ids=["502", "503", "drop"])
def test_reads_and_deletes_get_over_a_hiccup(site, fault):
    endpoint = site.logged_in()
    for method, path in (("GET", "/limits"), ("DELETE", "/servers/")):
        site.nova.fail(method, path, fault, times=2)
    assert endpoint.limits().used_instances >= 0
    endpoint.delete_server(NOWHERE)
    assert (len(site.nova.seen("GET", "/limits")), len(site.nova.seen("DELETE"))) == (3, 3)
    assert site.pauses == [1.0] * 4


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Answer(503, NOVA_SAYS_503), Unreachable, "503 try later"),
        (Answer(500, '{"computeFault": {"message": "Unexpected API Error"}}'), Unreachable, "500 Unexpected API Error"),
        (Answer(502, HTML), Unreachable, "502 an HTML page: 502 Bad Gateway"),
        (Answer(504, HTML), Unreachable, "504"),
        (Answer(200, HTML), Unreachable, "200 an answer that makes no sense: an HTML page"),
        (Answer(200, '{"limits": {}}'), Unreachable, "an answer without limits"),
        (Answer(200, '{"limits": {"absolute": null}}'), Unreachable, "an answer without limits"),
        (Answer(404, HTML), Rejected, "404"),
        (Answer(403, '{"forbidden": {"message": "no"}}'), AuthenticationFailed, "403 no"),
        (Answer(429, "{}"), Throttled, "429"),
        (Drop(), Unreachable, "Remote end closed connection"),
    ],
    ids=lambda value: f"{value.status} {value.body[:20]}" if isinstance(value, Answer) else "",
)
def test_a_read_that_goes_wrong_says_how(site, fault, error, said):
    endpoint = site.logged_in()
    site.nova.fail("GET", "/limits", fault, times=3)
    with pytest.raises(error, match=f"^{site.name}: ask for limits: .*{re.escape(said)}") as raised:
        endpoint.limits()
    assert raised.type is error


@pytest.mark.parametrize("status", [413, 429, 503])
def test_a_cloud_that_asks_for_a_pause_is_given_it_by_the_director(site, status):
    endpoint = site.logged_in()
    overloaded = Answer(status, '{"overLimit": {"message": "slow down"}}', {"Retry-After": "3600"})
    for method, path in (("GET", "/limits"), ("DELETE", "/servers/")):
        site.nova.fail(method, path, overloaded)
    for call in (endpoint.limits, lambda: endpoint.delete_server(NOWHERE)):
        with pytest.raises(Throttled) as raised:
            call()
        assert raised.value.retry_after == 3600
    assert site.pauses == []


def test_a_cloud_that_does_not_answer_is_left_after_a_while(site):
    site.nova.fail("GET", "/limits", Hang())
    with pytest.raises(Unreachable, match="ask for limits: no answer in time"):
        impatient(site.logged_in()).limits()
    assert len(site.nova.seen("GET", "/limits")) == 1


def test_a_cloud_that_refuses_connections_is_unreachable(site):
    site.nova.close()
    with pytest.raises(Unreachable, match="ask Nova for its versions: Connection refused") as raised:
        site.endpoint().list_servers()
    assert raised.type is Unreachable
    assert site.pauses == [1.0, 1.0]


def impatient(endpoint):
    """The same with shorter time-outs, after version discovery, which may take its time on a busy machine."""
    connection = endpoint._connection
    assert connection.microversion
    connection.session.timeout = (60.0, 0.3)
    connection._create_timeout = (60.0, 0.3)
    return endpoint


# tokens


def test_a_token_that_is_refused_is_renewed_once_by_all_threads_together(site):
    endpoint = site.endpoint()
    endpoint.limits()
    expired = site.nova.requests[-1].headers["X-Auth-Token"]
    refusal = Answer(401, '{"error": {"message": "expired"}}')
    site.nova.fail("POST", CREATE, refusal, times=8, where=lambda seen: seen.headers["X-Auth-Token"] == expired)
    requests = [site.request() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(endpoint.create_server, requests))
    assert len({server.id for server in made}) == 8
    assert 9 <= creates(site) <= 16  # who came after the renewal did not meet it
    assert len(site.keystone.seen("POST", "/auth/tokens")) == 2


def test_a_token_that_was_revoked_is_renewed(site, cloud):
    endpoint = site.endpoint()
    endpoint.account()
    token = site.keystone.requests[-1].headers["X-Auth-Token"]
    cloud.admin.session.delete(f"{cloud.auth_url}/auth/tokens", headers={"X-Subject-Token": token})
    assert endpoint.account().projects
    assert len(site.keystone.seen("POST", "/auth/tokens")) == 2


def test_a_new_token_that_is_refused_too_ends_it(site):
    endpoint = site.endpoint()
    site.nova.fail("POST", CREATE, Answer(401, '{"error": {"message": "not you"}}'), times=2)
    with pytest.raises(AuthenticationFailed, match="401 not you"):
        endpoint.create_server(site.request())
    assert creates(site) == 2


# logins


@pytest.mark.parametrize("auth_type", ["password", "v3password"])
@pytest.mark.parametrize(
    "changes",
    [{"password": "wrong"}, {"username": "nobody"}, {"project_name": "nothing"}, {"user_domain_name": "Elsewhere"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_wrong_login_is_told_with_its_entry_and_never_with_its_password(site, auth_type, changes, caplog):
    caplog.set_level(logging.DEBUG)
    site.entry["auth_type"] = auth_type
    site.entry["auth"] |= changes
    with pytest.raises(AuthenticationFailed, match="log in at .* with entry ours of clouds.yaml: 401") as raised:
        site.endpoint().list_servers()
    assert len(site.keystone.seen("POST", "/auth/tokens")) == 1
    for secret in (site.project.password, "wrong"):
        assert secret not in str(raised.value).replace("a wrong secret", "") + repr(site.endpoint())
    assert site.project.password not in caplog.text


def credential(cloud, project, lifetime=None):
    """An application credential, and when it ends."""
    connection = cloud.connect(project)
    user, options = connection.current_user_id, {}
    ends = datetime.now(UTC).replace(microsecond=0) + lifetime if lifetime else None
    if ends:
        options["expires_at"] = ends.strftime("%Y-%m-%dT%H:%M:%S")
    return connection.identity.create_application_credential(user=user, name="jennifer", **options), ends


def use(site, credential, **changes):
    auth = {
        "auth_url": site.entry["auth"]["auth_url"],
        "application_credential_id": credential.id,
        "application_credential_secret": credential.secret,
    }
    site.entry |= {"auth_type": "v3applicationcredential", "auth": auth | changes}


def test_an_application_credential_serves_and_tells_when_it_ends(make_site, cloud, project):
    site = make_site(project)
    made, ends = credential(cloud, project, timedelta(days=20))
    use(site, made)
    endpoint = site.endpoint()
    (expiry,) = endpoint.account().expiries
    assert (expiry.what, expiry.at) == ("application credential jennifer", ends)
    endpoint.delete_server(endpoint.create_server(site.request()).id)

    site.keystone.fail("GET", "application_credentials", Answer(403, '{"error": {"message": "no"}}'))
    (expiry,) = endpoint.account().expiries
    assert expiry.at is None


def test_an_application_credential_without_an_end_says_nothing(make_site, cloud, project):
    site = make_site(project)
    use(site, credential(cloud, project)[0])
    assert site.endpoint().account().expiries == ()


def test_an_application_credential_that_ended_or_is_wrong_is_no_login(make_site, cloud, project):
    site = make_site(project)
    made, _ = credential(cloud, project, timedelta(seconds=4))
    use(site, made)

    def refused():
        try:
            site.endpoint().limits()
        except AuthenticationFailed as error:
            return str(error)

    assert "entry ours of clouds.yaml: 401" in until(refused)
    use(site, made, application_credential_secret="wrong")
    assert "401" in refused()
    use(site, made, application_credential_id="0" * 32)
    assert "404 Could not find Application Credential" in refused()


def test_a_keystone_that_is_not_there_is_unreachable(site):
    site.keystone.close()
    site.entry["auth_type"] = "v3password"
    with pytest.raises(Unreachable, match="log in at .*Connection refused"):
        site.endpoint().list_servers()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(503, HTML), Unreachable),
        (Answer(200, HTML), Unreachable),
        (Answer(201, "{}"), Unreachable),
        (Answer(404, HTML), Rejected),
        (Answer(403, '{"error": {"message": "issuer"}}'), AuthenticationFailed),
        (Answer(429, HTML, {"Retry-After": "9"}), Throttled),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Answer) else "",
)
def test_a_keystone_that_answers_oddly_is_told(site, answer, error):
    site.keystone.fail("POST", "/auth/tokens", answer, times=3)
    site.entry["auth_type"] = "v3password"
    with pytest.raises(error, match="log in at"):
        site.endpoint().list_servers()


def test_no_password_goes_where_a_redirect_points(site):
    site.entry["auth_type"] = "v3password"
    with FaultyProxy(f"http://127.0.0.1:{site.keystone.upstream.port}") as elsewhere:
        site.keystone.fail("POST", "/auth/tokens", Answer(307, "", {"Location": f"{elsewhere.url}/v3/auth/tokens"}))
        with pytest.raises(Unreachable):
            site.endpoint().list_servers()
        assert elsewhere.requests == []


def test_a_region_that_does_not_exist_is_told_with_those_that_do(site):
    del site.entry["compute_endpoint_override"]
    site.entry["region_name"] = "Mars"
    with pytest.raises(Rejected, match="ours of clouds.yaml: region_name: expected one of RegionOne, found Mars"):
        site.endpoint().list_servers()


def test_of_several_regions_none_is_guessed(site):
    from test_openstack_servers import change_json

    def another(told):
        for service in told["token"]["catalog"]:
            service["endpoints"] += [{**each, "region": "Two", "region_id": "Two"} for each in service["endpoints"]]

    site.keystone.fail("POST", "/auth/tokens", change_json(another))
    for word in ("compute_endpoint_override", "region_name"):
        del site.entry[word]
    with pytest.raises(Rejected, match="expected one of RegionOne, Two, found nothing"):
        site.endpoint().list_servers()


def test_the_catalogue_leads_to_nova(site):
    del site.entry["compute_endpoint_override"]
    assert site.endpoint().limits().used_instances >= 0
    assert site.nova.requests == []


def test_a_certificate_of_an_unknown_ca_is_told_with_the_way_out(site, cloud):
    site.entry |= {"auth_type": "v3password"}
    site.entry["auth"]["auth_url"] = cloud.issuer
    with pytest.raises(Unreachable, match="the certificate is not trusted.*cacert"):
        site.endpoint().list_servers()


def test_user_data_stand_in_no_message_and_no_log(site, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint, request = site.logged_in(), site.request(user_data=b"the ticket is 4711" * 9)
    echo = json.dumps({"badRequest": {"message": f"Invalid input. Value: {request_body(site, endpoint, request)}"}})
    site.nova.fail("POST", CREATE, Answer(400, echo))
    with pytest.raises(Rejected, match="Value: <secret>") as raised:
        endpoint.create_server(request)
    for text in (str(raised.value), caplog.text, repr(request)):
        assert "dGhlIHRpY2tldCBpcyA0NzEx" not in text and "4711" not in text


def request_body(site, endpoint, request):
    endpoint.create_server(request)
    return json.loads(site.nova.seen("POST", CREATE)[0].body)["server"]["user_data"]
