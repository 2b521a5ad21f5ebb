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

    def server_files(self) -> str:
        """Certificate and key of a server named localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        pem = self._certificate(subject, key, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return pem + key.private_bytes(*form).decode()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class PilotServer:
    """Serves a directory at ``url`` until it is closed."""

    def __init__(self, ca: CA, directory: Path):
        self.directory = directory / "served"
        self.directory.mkdir()
        files = directory / "server.pem"
        files.write_text(ca.server_files())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files)
        self._server = ThreadingHTTPServer(("localhost", 0), partial(QuietHandler, directory=str(self.directory)))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"https://localhost:{self._server.server_port}"

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

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
