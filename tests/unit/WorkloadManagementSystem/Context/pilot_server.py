"""A CA, and an HTTPS server with a pilot's files, all real and on this host."""

import hashlib
import io
import ssl
import tarfile
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class CA:
    """A certification authority; ``pem`` is its own certificate."""

    def __init__(self, name: str):
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._certificate(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))

    def _certificate(self, subject, key, extension) -> str:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self.name, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
        ).add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server_files(self, *names: str) -> str:
        """Certificate and key of a server named localhost, and by these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        pem = self._certificate(
            subject, key, x509.SubjectAlternativeName([x509.DNSName(name) for name in ("localhost", *names)])
        )
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return pem + key.private_bytes(*form).decode()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class HereServer:
    """Serves at ``url``, on this host, until it is closed; over TLS if there is a context."""

    def __init__(self, handler, context: ssl.SSLContext | None = None):
        self._server = ThreadingHTTPServer(("localhost", 0), handler)
        if context:
            # A client that stops in the middle of its handshake delays no other: each has its thread.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.handle_error = lambda *_: None  # clients that do not trust us, or go away
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.port = self._server.server_port
        self.url = f"{'https' if context else 'http'}://localhost:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def server_context(ca: CA, directory: Path, *names: str) -> ssl.SSLContext:
    """TLS for a server named localhost, and by these names."""
    files = directory / "server.pem"
    files.write_text(ca.server_files(*names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files)
    return context


class PilotServer(HereServer):
    """Serves a directory with a pilot's files; also by ``names``."""

    def __init__(self, ca: CA, directory: Path, *names: str):
        self.directory = directory / "served"
        self.directory.mkdir()
        handler = partial(QuietHandler, directory=str(self.directory))
        super().__init__(handler, server_context(ca, directory, *names))

    def publish(self, pilot: str, members: tuple[tarfile.TarInfo, ...] = ()) -> None:
        """Offer a ``dirac-pilot.py`` of this text, as DIRAC publishes the real one."""
        with tarfile.open(self.directory / "pilot.tar", "w") as archive:
            member = tarfile.TarInfo("dirac-pilot.py")
            member.size = len(pilot.encode())
            archive.addfile(member, io.BytesIO(pilot.encode()))
            for extra in members:
                archive.addfile(extra)
        (self.directory / "pilot.json").write_text("{}")
        lines = [
            f"{hashlib.sha512((self.directory / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("pilot.json", "pilot.tar")
        ]
        (self.directory / "checksums.sha512").write_text("".join(lines))
