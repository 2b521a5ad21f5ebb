"""Requests that carry a secret, or whose answer decides where a secret goes.

They are https, to a host that somebody chose; they follow no redirect, and their answers have an end.
"""

from __future__ import annotations

import ipaddress
import re
import time
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from JenniferDIRAC.Resources.Cloud.Secret import Secret

#: seconds, where the session says nothing: more than a healthy login ever takes
TIMEOUT = 30.0
#: A discovery document has a few kB, the answer with all sites of EGI a few hundred.
MAX_ANSWER_BYTES = 4 << 20
_SHOWN = 300
# As far as the last @: a password with a / in it breaks the address, and is none the less one.
_USER = re.compile(r"//.*@", re.DOTALL)


class UnsafeURL(ValueError):
    """An address that no request of ours goes to."""


class LoginRefused(exceptions.AuthorizationFailure):
    """Who decides on the login said no; the text says what to do."""


class LoginImpossible(exceptions.ConnectionError):
    """Who decides on the login gave no answer, or one that makes no sense."""


class Redirected(LoginImpossible):
    """The address sends us elsewhere, where a secret does not go."""


def check_url(url: str, option: str, loopback: bool = False) -> SplitResult:
    """The parts of a https address.

    :param loopback: http is good enough when it does not leave this machine
    :raises UnsafeURL: it is none, or it holds a user name
    """
    parts = _split(url, option)
    if not parts.hostname or parts.username is not None or any(c.isspace() or not c.isprintable() for c in url):
        raise UnsafeURL(f"{option}: expected an address like https://host/path, found {shown_url(url)!r}")
    if parts.scheme != "https" and not (loopback and parts.scheme == "http" and is_loopback(parts.hostname)):
        raise UnsafeURL(
            f"{option}: expected https, found {shown_url(url)!r}: a token would cross the network in the clear"
        )
    return parts


def _split(url: str, option: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  a port that is none shows only when it is asked for
    except ValueError:  # its text quotes what may be a part of a password
        raise UnsafeURL(f"{option}: {shown_url(url)!r} is no address") from None
    return parts


def host(parts: SplitResult) -> tuple[str, int]:
    """What a pin compares: the host's name and its port."""
    return (parts.hostname or "").lower().rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname.lower() == "localhost"


def post(session: Session, url: str, **options: Any) -> requests.Response:
    """Through a keystoneauth session: one request, verified, bounded in time, never redirected.

    Nothing is logged, and no exception of this function holds the request or its answer.
    """
    # Without one, requests would look into ~/.netrc and put what it finds there in place of our own header.
    options.setdefault("requests_auth", lambda request: request)
    return _send(session, "POST", url, **options)


def get(session: Session, url: str) -> requests.Response:
    return _send(session, "GET", url, stream=True, headers={"Accept": "application/json"})


def _send(session: Session, method: str, url: str, **options: Any) -> requests.Response:
    if url.startswith("https:") and session.verify is False:
        raise exceptions.OptionError(
            f"verify: a token goes to {url} only when its certificate is verified; expected the file of its CA in "
            "'cacert' of clouds.yaml, found 'verify: false' or 'insecure'"
        )
    options.setdefault("timeout", session.timeout or TIMEOUT)
    answer = session.request(
        url, method, redirect=False, authenticated=False, raise_exc=False, log=False, connect_retries=0, **options
    )
    if answer.is_redirect:
        target = urljoin(url, answer.headers["location"])
        raise Redirected(
            f"{url} redirects to {shown(target)}, which is not followed, since the request holds a secret. "
            "If that is the right address, write it into clouds.yaml"
        )
    return answer


def read(answer: requests.Response, limit: int = MAX_ANSWER_BYTES, seconds: float = 2 * TIMEOUT) -> bytes:
    """The body of an answer that was asked for with ``stream``.

    :raises requests.RequestException: it broke off, or it is longer, or takes longer, than it may
    """
    body, end = bytearray(), time.monotonic() + seconds
    with answer:
        for part in answer.iter_content(1 << 16):
            body += part
            if len(body) > limit:
                raise requests.RequestException(f"the answer of {answer.url} is longer than {limit} bytes")
            if time.monotonic() > end:
                raise requests.Timeout(f"the answer of {answer.url} takes longer than {seconds:g} s")
    return bytes(body)


def retry_after(answer: requests.Response) -> int:
    """Seconds that whoever answered wants to be left alone; 0 when it does not say, or gives a date."""
    told = answer.headers.get("Retry-After", "")
    return int(told) if told.isascii() and told.isdecimal() else 0


def shown(text: str, *secrets: Secret) -> str:
    """Foreign text in a message of ours: one line, printable, short, without those secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), str(secret))
    line = "".join(c if c.isprintable() else " " for c in text).strip()
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def shown_url(url: str) -> str:
    """An address in a message of ours, without the user name and password that somebody put before its host."""
    return shown(_USER.sub("//<secret>@", url))


def cause(error: BaseException) -> str:
    """What went wrong in the end; requests and urllib3 wrap it several times, each time with the address."""
    inner: object = error
    while isinstance(inner, BaseException):
        last = inner
        reason = getattr(inner, "reason", None)
        inner = reason if isinstance(reason, BaseException) else inner.__cause__ or inner.__context__
    return str(getattr(last, "strerror", None) or last)
