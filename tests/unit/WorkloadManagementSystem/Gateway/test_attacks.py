"""Those who speak no HTTP, speak it slowly, or speak too much."""

import contextlib
import socket
import ssl
import time
import warnings
from datetime import timedelta

import pytest
from gateway_world import World

SOON = 5  # seconds, on a busy machine, for something that takes 0.3
BRIEF = 0.3


def said(connection):
    """All that comes until the connection is closed."""
    heard = b""
    try:
        while piece := connection.recv(65536):
            heard += piece
    except OSError as error:
        assert not isinstance(error, TimeoutError), "the connection was left open"
    finally:
        connection.close()
    return heard


def status_of(world, target, method="GET", token=""):
    connection = world.raw()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n{authorization}\r\nx"
    connection.sendall(head.encode("utf-8"))
    heard = said(connection)
    return int(heard.split(b" ")[1]), heard


TRAVERSALS = [
    "/vm/v1/{id}/logs/../../../etc/passwd",
    "/vm/v1/{id}/logs/..%2f..%2fpasswd",
    "/vm/v1/{id}/logs/%2e%2e",
    "/vm/v1/{id}/logs/%2e%2e%2f%2e%2e%2fx",
    "/vm/v1/{id}/logs/..",
    "/vm/v1/{id}/logs/%2fetc%2fpasswd",
    "/vm/v1/{id}/logs//etc/passwd",
    "/vm/v1/{id}/logs/pilot%00.html",
    "/vm/v1/{id}/logs/pilot%0a",
    "/vm/v1/{id}/logs/pilot.log",
    "/vm/v1/{id}/logs/Pilot",
    "/vm/v1/{id}/logs/%C0%AE%C0%AE",
    "/vm/v1/{id}/logs/%EF%BC%8E%EF%BC%8E",
    "/vm/v1/{id}/logs/pil\u00f6t",
    "/vm/v1/{id}/logs/-rf",
    "/vm/v1/{id}/logs/" + "a" * 33,
    "/vm/v1/{id}/logs/" + "a" * 60_000,
    "/vm/v1/../{id}/logs/pilot",
    "/vm/v1/..%2f{other}/logs/pilot",
    "/vm/v1/{id}%2f..%2f{other}/logs/pilot",
    "/vm/v1/{ID}/logs/pilot",
    "/vm/v1/{id}%0a/logs/pilot",
    "/vm/v1/%2e%2e/logs/pilot",
    "/vm/v1/{other}/logs/pilot",
    "http://elsewhere/vm/v1/{id}/logs/pilot",
    "//vm/v1/{id}/logs/pilot",
]


@pytest.mark.parametrize("target", TRAVERSALS, ids=lambda target: target[:60].encode("unicode_escape").decode())
def test_no_path_leads_anywhere_but_to_the_vms_own_logs(world, target):
    vm, other = world.guest(), world.guest()
    target = target.format(id=vm.id, other=other.id, ID=vm.id.upper().replace(vm.id, "A" * 32))
    before = sorted(world.root.rglob("*"))
    for method, query in (("PUT", "?offset=0"), ("GET", "")):
        status, heard = status_of(world, target + query, method, vm.session)
        assert status in (400, 401, 404, 405, 422), heard
        assert b"root:" not in heard and b"Traceback" not in heard
    assert sorted(world.root.rglob("*")) == before


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/vm",
        "/vm/v1",
        "/vm/v1/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/vm/v1/{id}",
        "/vm/v1/{id}/logs",
        "/vm/v1/{id}/logs/",
        "/vm/v2/{id}/heartbeat",
        "/health/",
    ],
)
def test_nothing_else_is_served(world, target):
    vm = world.guest()
    assert status_of(world, target.format(id=vm.id), "GET", vm.session)[0] == 404


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "POST", "TRACE", "CONNECT", "OPTIONS", "X"])
def test_a_log_can_be_done_nothing_else_with(world, method):
    vm = world.guest()
    vm.put(b"abc")
    assert status_of(world, f"/vm/v1/{vm.id}/logs/pilot", method, vm.session)[0] in (404, 405)
    assert world.logs.read(vm.id, "pilot", 0, 9) == b"abc"


@pytest.mark.parametrize(
    "bytes_",
    [
        b"hello\r\n\r\n",
        b"\x00" * 200,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000,
        b"GET /" + b"a" * 100_000,
        b"POST /vm/v1/x/redeem HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["words", "zeros", "two lengths", "smuggling", "long header", "many headers", "long path", "negative length"],
)
def test_what_is_no_good_http_is_refused_and_closed(world, bytes_):
    connection = world.raw()
    try:
        connection.sendall(bytes_)
    except OSError:
        pass  # it was closed meanwhile
    heard = said(connection)
    assert heard == b"" or heard.startswith(b"HTTP/1.1 400") or b" 404 " in heard
    assert world.ask("GET", "/health").status == 200


def test_a_client_without_tls_is_closed(world):
    plain = socket.create_connection(("127.0.0.1", world.port), 10)
    plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in said(plain)


def test_an_endless_upload_is_cut_at_the_limit(world):
    vm = world.guest()
    connection = world.raw()
    connection.sendall(
        f"PUT /vm/v1/{vm.id}/logs/pilot?offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vm.session}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    sent, piece = 0, b"10000\r\n" + b"x" * 65536 + b"\r\n"
    try:
        while sent < 2**30:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass  # cut
    connection.close()
    assert sent < 64 * 2**20  # what was on its way when it was closed included
    assert vm.size().json == {"size": 0}


def test_an_upload_that_says_that_it_is_endless_is_refused_before_it_begins(world):
    vm = world.guest()
    connection = world.raw()
    connection.sendall(
        f"PUT /vm/v1/{vm.id}/logs/pilot?offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vm.session}\r\n"
        f"Content-Length: {2**40}\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    heard = connection.recv(100)  # 100: go on; then the first bytes are too many
    connection.sendall(b"x")
    assert b" 413 " in heard + said(connection)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, certificates):
    """A gateway with little time."""
    root = tmp_path_factory.mktemp("hasty")
    with World(root, certificates, chunk_time=timedelta(seconds=BRIEF), patience=BRIEF) as made:
        yield made


@pytest.mark.parametrize("what", ["logs/pilot?offset=0", "heartbeat", "end", "redeem"])
def test_a_slow_body_is_told_so_and_cut(hasty, what):
    vm, method = hasty.guest(), "PUT" if "logs" in what else "POST"
    connection, began = hasty.raw(), time.monotonic()
    connection.sendall(
        f"{method} /vm/v1/{vm.id}/{what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vm.session}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\nx".encode()
    )
    heard = said(connection)
    assert heard.startswith(b"HTTP/1.1 408") and b"connection: close" in heard.lower()
    assert time.monotonic() - began < SOON
    assert vm.size().json == {"size": 0}


def test_a_body_that_trickles_gains_no_time(hasty):
    vm, began = hasty.guest(), time.monotonic()
    connection = hasty.raw()
    connection.sendall(
        f"PUT /vm/v1/{vm.id}/logs/pilot?offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vm.session}\r\n"
        "Content-Length: 100000\r\n\r\n".encode()
    )
    assert trickled(connection, began)


def test_headers_that_trickle_gain_no_time(hasty):
    connection, began = hasty.raw(), time.monotonic()
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    assert trickled(connection, began)


def test_nor_do_those_of_a_second_request(hasty):
    connection = hasty.raw()
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    assert trickled(connection, began)


def test_nor_does_a_body_that_nobody_reads(hasty):
    connection, began = hasty.raw(), time.monotonic()
    connection.sendall(b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 404")
    assert trickled(connection, began)


def trickled(connection, began):
    """Whether the connection was closed to a client that sends a byte every now and then."""
    connection.settimeout(0.05)
    try:
        while time.monotonic() - began < SOON:
            connection.sendall(b"X")
            try:
                if connection.recv(1000) == b"":
                    return True
            except TimeoutError:
                continue
    except OSError:
        return True
    finally:
        connection.close()
    return False


def test_a_silent_client_is_cut(hasty):
    began = time.monotonic()
    assert said(hasty.raw()) == b""
    assert time.monotonic() - began < SOON


def test_a_client_that_does_not_read_its_answers_is_cut(start):
    world = start(longest=timedelta(seconds=1))
    client = world.raw()
    client.settimeout(SOON)
    with contextlib.suppress(OSError):  # once it is cut off
        for _ in range(400):
            client.sendall(b"GET /vm/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    connections = world.listener.server.server_state.connections
    deadline = time.monotonic() + SOON
    while connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not connections


def test_a_client_that_begins_no_tls_is_cut(hasty):
    began = time.monotonic()
    assert said(socket.create_connection(("127.0.0.1", hasty.port), 10)) == b""
    assert time.monotonic() - began < SOON


def test_more_connections_than_may_be_are_told_to_come_later(start):
    world = start(most=4)
    held = [world.raw() for _ in range(6)]
    deadline = time.monotonic() + SOON
    while len(world.listener.server.server_state.connections) < 6 and time.monotonic() < deadline:
        pass
    held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert said(held[-1]).startswith(b"HTTP/1.1 503")
    held[-2].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert said(held[-2]).startswith(b"HTTP/1.1 503")
    assert len([line for line in world.log.of("warn") if "MaxConnections" in line]) == 1
    for connection in held:
        connection.close()
    assert world.ask("GET", "/health").status == 200


def test_old_tls_is_refused(world):
    context = world.tls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        context.wrap_socket(socket.create_connection(("127.0.0.1", world.port), 10), server_hostname="localhost")
