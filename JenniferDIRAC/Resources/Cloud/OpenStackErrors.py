"""Where all that an OpenStack cloud, keystoneauth and requests say of a failure becomes the contract's errors.

What a create may have done is decided here: an answer of 4xx made nothing, a connection that never stood carried
nothing, and everything else may have made a server.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3
from keystoneauth1 import exceptions as keystone

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    CloudError,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    ServerNotFound,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible
from JenniferDIRAC.Resources.Cloud.Secret import Secret

SHOWN_AT_MOST = 300

# Nova has one status for a full project and for a forbidden action; only its text tells them apart.
_QUOTA = re.compile(r"quota|exceed|maximum number|over (?:a )?limit", re.IGNORECASE)
# Forbidden for everybody, so nothing that another credential would mend.
_WRONG_CHOICE = re.compile(r"zero disk|volume-backed|external network", re.IGNORECASE)
_NO_ROOM = re.compile(
    r"no valid host|exhausted all hosts|maximum number of retries|insufficient compute|not enough (hosts|resources)",
    re.IGNORECASE,
)
# Tokens of Keystone and of OIDC providers, and long base64, which user-data are: Nova quotes what it refuses.
_SECRET = re.compile(r"gAAAAA[\w=-]{16,}|eyJ[\w-]{8,}(\.[\w-]+)+|[A-Za-z0-9+/]{64,}={0,2}")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")

_NEVER_SENT = (
    requests.ConnectTimeout,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    ssl.SSLCertVerificationError,
)
_TIMED_OUT = (requests.Timeout, urllib3.exceptions.TimeoutError)
_BRIEF_STATUSES = (500, 502, 503)


class Hiccup(Unreachable):
    """A failure that came at once and that a second try may well not meet."""


def lacks_capacity(fault: str) -> bool:
    """Whether a cloud's words say that it had no room, and not that something is wrong with what was asked for."""
    return _NO_ROOM.search(fault) is not None


@dataclass(frozen=True)
class Translator:
    """Makes an endpoint's errors; ``secrets`` never stand in any of them.

    ``doing`` is what was tried, for the operator. ``creating`` is said of a create request that was sent.
    """

    name: str
    secrets: tuple[Secret, ...]
    now: Callable[[], datetime]

    def answer(self, answer: requests.Response, doing: str, *, creating: bool = False) -> CloudError:
        """The error that an answer is which is not a success, or not what was asked for."""
        status, said = answer.status_code, _said(answer)
        if 200 <= status < 300:
            said = f"an answer that makes no sense: {said or 'nothing'}"
        if 300 <= status < 400:
            said = f"a redirect to {answer.headers.get('Location', 'nowhere')}, and none is followed: mend the address"
        text = self.message(doing, f"{status} {said}")
        if status in (413, 429) or (status == 503 and "Retry-After" in answer.headers and not creating):
            if creating and status != 429 and _QUOTA.search(said):
                return QuotaExceeded(text)
            if status == 413 and "Retry-After" not in answer.headers and "overLimit" not in _body(answer):
                return Rejected(text)
            return Throttled(text, self._retry_after(answer))
        if status in (401, 403):
            return self._forbidden(status, said, text, creating)
        if status in (405, 406, 409) or (creating and 400 <= status < 500 and status != 408):
            return NoCapacity(text) if lacks_capacity(said) else Rejected(text)
        if creating:
            return AmbiguousOutcome(text)
        if status == 404:
            return ServerNotFound(text) if "itemNotFound" in _body(answer) else Rejected(text)
        return Hiccup(text) if status in _BRIEF_STATUSES else Unreachable(text)

    def failure(self, error: BaseException, doing: str, *, creating: bool = False) -> CloudError:
        """The error that an exception of ours, keystoneauth, requests or a parser is."""
        match error:
            case CloudError():
                return error
            case keystone.HttpError(response=requests.Response() as answer):  # of a login or of version discovery
                return self._refused_login(answer, doing)
            case keystone.TooManyRequests():  # of a federated login, whose answers are not shown
                return Throttled(self.message(doing, str(error)), float(error.retry_after) or None)
            case LoginImpossible():
                return Unreachable(self.message(doing, str(error)))
            case keystone.EndpointNotFound() | keystone.OptionError() | keystone.NoMatchingPlugin():
                return Rejected(self.message(doing, str(error)))
            case (
                keystone.Unauthorized()
                | keystone.AuthorizationFailure()
                | keystone.AuthPluginException()
                | keystone.MissingAuthMethods()
            ):
                return AuthenticationFailed(self.message(doing, str(error)))
        if creating and not _never_sent(error):
            return AmbiguousOutcome(self.message(doing, _cause(error)))
        brief = isinstance(error, keystone.ConnectFailure)
        return (Hiccup if brief else Unreachable)(self.message(doing, _cause(error)))

    def nonsense(self, doing: str, text: str) -> Unreachable:
        return Unreachable(self.message(doing, text))

    def message(self, doing: str, text: str) -> str:
        """For an operator: on one line, not too long, and without what must not be shown."""
        for secret in self.secrets:
            for form in (secret.reveal(), json.dumps(secret.reveal())[1:-1]):
                text = text.replace(form, str(secret))
        text = " ".join(text.split())
        text = "".join(character for character in _SECRET.sub("<secret>", text) if character.isprintable())
        if len(text) > SHOWN_AT_MOST:
            text = f"{text[:SHOWN_AT_MOST]}…"
        return f"{self.name}: {doing}: {text}"

    def _forbidden(self, status: int, said: str, text: str, creating: bool) -> CloudError:
        if status == 403 and creating and _QUOTA.search(said):
            return QuotaExceeded(text)
        if status == 403 and creating and _WRONG_CHOICE.search(said):
            return Rejected(text)
        return AuthenticationFailed(text)

    def _refused_login(self, answer: requests.Response, doing: str) -> CloudError:
        # Keystone answers 400 to a malformed credential and 404 to an application credential that does not exist.
        if answer.status_code == 401 or (answer.status_code in (400, 404) and "error" in _body(answer)):
            hint = " (a wrong secret, user, project or domain, or one that has expired)"
            return AuthenticationFailed(self.message(doing, f"{answer.status_code} {_said(answer)}{hint}"))
        if answer.status_code == 404:
            return Rejected(self.message(doing, f"404 at {answer.url}: is this the address of an OpenStack service?"))
        return self.answer(answer, doing)

    def _retry_after(self, answer: requests.Response) -> float | None:
        """In seconds; the header holds them, or a date (RFC 9110), and Nova of old put them into the body."""
        told = str(answer.headers.get("Retry-After") or _body(answer).get("overLimit", {}).get("retryAfter"))
        if re.fullmatch(r"-?\d{1,9}(\.\d*)?", told):
            return max(0.0, float(told))
        try:
            then = parsedate_to_datetime(told)
        except ValueError:
            return None
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - self.now()).total_seconds())


def _body(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return {name: value for name, value in body.items() if isinstance(value, dict)} if isinstance(body, dict) else {}


def _said(answer: requests.Response) -> str:
    """The cloud's own words: each service wraps them in its own way, and what stands before it answers in HTML."""
    for words in _body(answer).values():
        if isinstance(words.get("message"), str):
            return words["message"]
    try:
        return json.dumps(answer.json())
    except ValueError:
        pass
    text = answer.text[:100_000]
    if not _TAG.search(text):
        return text
    title = _TITLE.search(text)
    return f"an HTML page: {title[1] if title else _TAG.sub(' ', text)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came from, in the several ways in which requests and urllib3 nest them."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop(0)
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]


def _never_sent(error: BaseException) -> bool:
    return any(isinstance(each, _NEVER_SENT) for each in _chain(error))


def _cause(error: BaseException) -> str:
    """What went wrong in the end: what lies on top repeats addresses and names of classes."""
    causes = list(_chain(error))
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {each.verify_message}; a CA of your own is named by cacert"
    if any(
        isinstance(each, _TIMED_OUT) and not isinstance(each, urllib3.exceptions.NewConnectionError) for each in causes
    ):
        return "no connection in time" if _never_sent(error) else "no answer in time"
    for each in reversed(causes):
        if isinstance(each, OSError) and not isinstance(each, requests.RequestException):
            return each.strerror or str(each)
    return f"{type(error).__name__}: {error}"
