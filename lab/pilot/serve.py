"""Serve the pilot files over HTTPS, as an installation's web server does: ``python -m lab.pilot.serve``.

Only files of one directory, by name: no listing, no subdirectory, nothing is written.
"""

from __future__ import annotations

import argparse
import ssl
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds; also ends a handshake that never comes

    def __init__(self, *arguments, directory: Path, context: ssl.SSLContext, **keywords):
        self._directory = directory
        self._context = context
        super().__init__(*arguments, **keywords)

    def setup(self) -> None:
        """The handshake belongs here, in the request's thread: a silent client must not hold up the others."""
        self.request.settimeout(self.timeout)
        self.request = self._context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        self._send(body=True)

    def do_HEAD(self) -> None:
        self._send(body=False)

    def _send(self, body: bool) -> None:
        name = self.path.partition("?")[0].strip("/")
        files = {path.name: path for path in self._directory.iterdir() if path.is_file()}
        if name not in files:
            self.send_error(404)
            return
        data = files[name].read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """One line: a client that hangs up or distrusts the certificate is no accident of the server's."""
        print(f"{client_address[0]}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


def make_server(directory: Path, port: int, certificate: Path, key: Path) -> ThreadingHTTPServer:
    """A server on every address of the host; port 0 takes a free one (``server_port`` tells which)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return _Server(("", port), partial(_Files, directory=directory, context=context))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.pilot.serve", description=__doc__)
    for name in ("directory", "certificate", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    make_server(arguments.directory, arguments.port, arguments.certificate, arguments.key).serve_forever()


if __name__ == "__main__":
    main()
