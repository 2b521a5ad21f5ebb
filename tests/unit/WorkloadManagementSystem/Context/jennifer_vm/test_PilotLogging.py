"""Our words reach DIRAC's own pilot logging as a pilot's would, and its failures reach nobody."""

import json
import ssl
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

import pytest
from pilot_server import HereServer, server_context

from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import load_trust_anchors


class PilotLoggingServer(HereServer):
    """Takes what a Tornado service of DIRAC takes, from clients with a certificate; ``calls`` are method and args.

    What it answers is the real one's, with which tests/lab tries the same. ``closed``: by a pilot that ended.
    """

    def __init__(self, ca, directory):
        calls = self.calls = []
        self.status = 200
        self.closed = False
        self.answer = {"OK": True, "Value": "taken"}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N802, N805
                form = parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
                calls.append((form["method"], json.loads(form["args"][0]), handler.connection.getpeercert()))
                handler.send_response(self.status)
                handler.end_headers()
                gone = {"OK": False, "Errno": 0, "Message": "FileNotFoundError"}
                answer = gone if self.closed and form["method"] != ["sendMessage"] else self.answer
                handler.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        context = server_context(ca, directory)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=ca.pem)
        super().__init__(Handler, context)
        self.url += "/WorkloadManagement/TornadoPilotLogging"


@pytest.fixture
def logging_server(ca, tmp_path):
    server = PilotLoggingServer(ca, tmp_path)
    yield server
    server.close()


def methods(server):
    return [method for (method,), _, _ in server.calls]


@pytest.fixture
def logged(vm, logging_server, ca):
    """A VM with a proxy that TLS takes, whose words go to the pilot logging."""
    vm.proxy.write_text(ca.server_files())
    vm.settings["pilot_logger"] = {"url": logging_server.url, "stamp": "0123abcd", "vo": "belle"}
    return vm


def test_the_vms_words_arrive_as_a_pilots_do(logged, logging_server, server):
    server.publish("print('ERROR: something of the pilot')\n")
    logged.live()
    assert methods(logging_server) == ["sendMessage", "getLogs", "sendMessage", "finaliseLogs"]
    messages = []
    for method, (*message, stamp, vo), certificate in logging_server.calls:
        messages += json.loads(message[0]) if method == ["sendMessage"] else []
        assert (stamp, vo) == ("0123abcd", "belle")
        assert certificate["subject"]
    assert [message.split()[2] for message in messages] == ["hello", "pilot-start", "pilot-end", "end", "end"]
    assert not any("something of the pilot" in message for message in messages if " line " in message)


def test_after_a_pilot_that_closed_its_log_nothing_is_sent_that_would_begin_another(logged, logging_server):
    logging_server.closed = True
    logged.live()
    assert methods(logging_server) == ["sendMessage", "getLogs"]
    assert logged.said.code == 200


def test_a_refusal_is_noted_on_the_console_and_nowhere_else_felt(logged, logging_server):
    logging_server.answer = {"OK": False, "Errno": 0, "Message": "VO name is invalid: \x1b[31m"}
    logged.live()
    (note,) = [line for line in logged.console.read_text().splitlines() if "remote pilot logging" in line]
    assert "VO name is invalid" in note and note.isprintable()
    assert logged.said.code == 200


def test_a_vm_whose_pilot_never_began_says_why_and_closes_the_log(logged, logging_server):
    logged.settings["min_disk_mib"] = 10**9
    logged.live()
    (sent, (message, _, _), _), (closed, arguments, _) = logging_server.calls
    assert "MiB of disk are free for the pilot" in message
    assert (sent, closed) == (["sendMessage"], ["finaliseLogs"])
    assert arguments == ['{"retCode": "500"}', "0123abcd", "belle"]


def test_a_payload_that_replaces_the_proxy_changes_nothing(logged, logging_server, server):
    server.publish("import os\nos.unlink(os.environ['X509_USER_PROXY'])\nos.mkfifo(os.environ['X509_USER_PROXY'])\n")
    logged.live()
    assert "end" in logging_server.calls[-2][1][0]


@pytest.mark.parametrize("trouble", ["a server that fails", "no server", "no certificate", "no CA"])
def test_what_fails_there_is_nobodys_business(logged, logging_server, tmp_path, trouble):
    if trouble == "a server that fails":
        logging_server.status = 500
    elif trouble == "no server":
        logged.settings["pilot_logger"]["url"] = "https://localhost:1/x"
    elif trouble == "no certificate":
        logged.proxy.write_text("this is no proxy\n")
    else:
        from pilot_server import CA

        (tmp_path / "other.pem").write_text(CA("Another").pem)
        other = load_trust_anchors(tmp_path / "other.pem")
        logged.settings["trust_anchors"].update(other)
        logged.settings["pilot_logger"]["url"] = logging_server.url.replace("localhost", "127.0.0.1")
    logged.live()
    assert logged.said.code == 200
