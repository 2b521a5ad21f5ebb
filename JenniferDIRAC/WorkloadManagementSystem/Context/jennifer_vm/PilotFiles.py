"""The pilot: fetched, checked and unpacked."""

import os
import time

from .Console import printable
from .Ends import BAD_NODE, BAD_VO, Ended

PILOT_FILES = ("pilot.json", "pilot.tar")
CHECKSUMS = "checksums.sha512"
FETCH_PAUSES = (5, 15, 45)  # seconds before the second, third and fourth round over all servers
FETCH_TIMEOUT = 20  # seconds without a byte
MAX_FILE_BYTES = 64 * 1024 * 1024


def fetch_pilot(urls, directory, cert_dir, clock):
    """Fetch the pilot's files into a directory from the first server that gives all of them whole."""
    from http.client import HTTPException

    problem = ""
    for seconds in (0,) + FETCH_PAUSES:
        if seconds:
            clock.sleep(seconds)
        context = tls_context(cert_dir)
        for url in urls:
            try:
                files = fetch_checked(url, context)
            except (OSError, HTTPException, ValueError) as error:  # URLError, SSLError and time-outs are OSErrors
                problem = f"{url}: {error}"
                continue
            for name, content in files.items():
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
            return
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime(clock.now()))
    raise Ended(BAD_NODE, f"cannot fetch the pilot (clock {now} UTC); last: {problem}")


def tls_context(cert_dir):
    """Servers are trusted by the system's CAs and those of the grid's directory."""
    import ssl

    context = ssl.create_default_context()
    # Python 3.13 is stricter than RFC 5280 was when some of the grid's CAs began; all before it take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if os.path.isdir(cert_dir):
        context.load_verify_locations(capath=cert_dir)
    return context


def fetch_checked(url, context):
    """The pilot's files at one server, checked against the checksums published beside them.

    :raises OSError, ValueError: no connection, or files that do not agree
    """
    import hashlib

    expected = {}
    for line in fetch(url, CHECKSUMS, context).decode("ascii").splitlines():
        checksum, _, name = line.strip().partition("  ")
        expected[name] = checksum
    files = {}
    for name in PILOT_FILES:
        if name not in expected:
            raise ValueError(f"{CHECKSUMS} does not list {name}")
        files[name] = fetch(url, name, context)
        if hashlib.sha512(files[name]).hexdigest() != expected[name]:
            raise ValueError(f"{name} does not have the checksum of {CHECKSUMS}")
    return files


def fetch(url, name, context):
    """One file of a server.

    :raises OSError, ValueError: not reached, not found, or too large
    """
    from urllib.request import urlopen

    with urlopen(f"{url}/{name}", timeout=FETCH_TIMEOUT, context=context) as answer:
        content = answer.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{name} is too large")
    return content


def unpack(path, directory):
    """Unpack plain files and directories; anything that would land elsewhere is an error."""
    import tarfile

    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = member.name.split("/")
                if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
                    raise Ended(BAD_VO, f"pilot.tar: refused the member {printable(member.name)}")
                target = os.path.join(directory, *parts)
                os.makedirs(target if member.isdir() else os.path.dirname(target), exist_ok=True)
                if member.isfile():
                    with open(target, "wb") as file:
                        file.write(archive.extractfile(member).read())
                    os.chmod(target, 0o755 if member.mode & 0o100 else 0o644)
    except tarfile.TarError as error:
        raise Ended(BAD_VO, f"pilot.tar cannot be unpacked: {error}") from error
    if not os.path.isfile(os.path.join(directory, "dirac-pilot.py")):
        raise Ended(BAD_VO, "pilot.tar holds no dirac-pilot.py")
