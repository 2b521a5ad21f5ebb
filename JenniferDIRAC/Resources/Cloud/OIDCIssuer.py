"""The token endpoint of an OpenID Connect issuer: EGI Check-in, INDIGO IAM, any Keycloak."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

import requests
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from JenniferDIRAC.Resources.Cloud import SafeHTTP
from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible, LoginRefused, UnsafeURL, check_url, host, shown
from JenniferDIRAC.Resources.Cloud.Secret import Secret

DISCOVERY = "/.well-known/openid-configuration"
# How a client with a secret says who it is. RFC 6749 prefers the header; the form comes first because servers differ in
# how they decode the header of a secret with special characters. A client may be registered for one of them only.
_FORM, _HEADER, _PUBLIC = "client_secret_post", "client_secret_basic", "none"

Clock = Callable[[], datetime]
#: The fields of a request for tokens (RFC 6749, 4 and 6).
Grant = Mapping[str, str | Secret]


class GrantRefused(LoginRefused):
    """The issuer gives no token; ``code`` is its own word (RFC 6749, 5.2)."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Tokens:
    """What the issuer answered. ``refresh_token`` is empty when the old one stays.

    ``refresh_lifetime`` None: the issuer did not say; zero: without end (an offline token of Keycloak).
    """

    access_token: Secret
    asked_at: datetime
    lifetime: timedelta
    refresh_token: Secret = Secret("")
    refresh_lifetime: timedelta | None = None


class OIDCIssuer:
    """One client of one issuer.

    :param url: as the issuer calls itself; its token endpoint is asked for, and has to be on the same host
    :param token_endpoint: chosen by the operator; then nothing is asked for, and it may be on another host
    """

    def __init__(self, url: str, client_id: str, client_secret: Secret, token_endpoint: str, clock: Clock):
        self.url = url.removesuffix(DISCOVERY)
        self._client_id, self._client_secret = client_id, client_secret
        self._chosen_endpoint = token_endpoint
        self._endpoint = token_endpoint
        self._methods = (_FORM, _HEADER) if client_secret else (_PUBLIC,)
        self._clock = clock
        try:
            for option, value in (("issuer", self.url), ("access_token_endpoint", token_endpoint)):
                if value:
                    check_url(value, option)
        except UnsafeURL as error:
            raise exceptions.OptionError(str(error)) from None

    def __str__(self) -> str:
        return self.url or self._chosen_endpoint

    def tokens(self, session: Session, grant: Grant) -> Tokens:
        """Ask once; twice, when the client has a secret and says who it is in the way it is not registered for.

        :raises GrantRefused: the issuer says no
        :raises LoginImpossible: it says nothing, or nothing that makes sense
        """
        asked_at = self._clock()
        endpoint = self._token_endpoint(session)
        for method in self._methods:
            status, answer = self._ask(session, endpoint, grant, method)
            if status == 200:
                self._methods = (method,)
                return self._tokens(answer, asked_at)
            if answer.get("error") != "invalid_client":
                break
        code = str(answer.get("error", ""))
        text = shown(f"{code}: {answer.get('error_description', '')}", self._client_secret, *_secrets(grant))
        raise GrantRefused(f"the OIDC issuer {self} refuses the client {self._client_id} ({text})", code)

    def _ask(self, session: Session, endpoint: str, grant: Grant, method: str) -> tuple[int, Mapping[str, object]]:
        form = {name: value.reveal() if isinstance(value, Secret) else value for name, value in grant.items()}
        header = {}
        if method == _HEADER:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret.reveal())}"
            header = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        else:
            form["client_id"] = self._client_id
            if method == _FORM:
                form["client_secret"] = self._client_secret.reveal()
        headers = {"Accept": "application/json", **header}
        status, answer = self._json(lambda: SafeHTTP.post(session, endpoint, data=form, headers=headers, stream=True))
        # Only these say something of the grant; all else (404, 429, 5xx) says something of the service.
        if status != 200 and not (status in (400, 401, 403) and isinstance(answer.get("error"), str)):
            raise LoginImpossible(f"the OIDC issuer {self} answers {status} to a request for a token at {endpoint}")
        return status, answer

    def _tokens(self, answer: Mapping[str, object], asked_at: datetime) -> Tokens:
        access = answer.get("access_token")
        if not isinstance(access, str) or not access:
            raise LoginImpossible(f"the OIDC issuer {self} answers without an access_token")
        refresh = answer.get("refresh_token")
        return Tokens(
            access_token=Secret(access),
            asked_at=asked_at,
            # Without a word on it the token is used once.
            lifetime=_seconds(answer.get("expires_in")) or timedelta(),
            refresh_token=Secret(refresh if isinstance(refresh, str) else ""),
            refresh_lifetime=_seconds(answer.get("refresh_expires_in")),
        )

    def _token_endpoint(self, session: Session) -> str:
        if not self._endpoint:
            self._endpoint = self._discover(session)
        return self._endpoint

    def _discover(self, session: Session) -> str:
        url = self.url.rstrip("/") + DISCOVERY
        status, document = self._json(lambda: SafeHTTP.get(session, url))
        if status != 200:
            raise LoginImpossible(f"{url} answers {status}; is 'issuer: {self.url}' in clouds.yaml right?")
        issuer, endpoint = document.get("issuer"), document.get("token_endpoint")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.url.rstrip("/"):
            raise LoginImpossible(f"{url} belongs to the issuer {shown(str(issuer))!r}; expected {self.url!r}")
        try:
            parts = check_url(endpoint if isinstance(endpoint, str) else "", f"token_endpoint of {url}")
        except UnsafeURL as error:
            raise LoginImpossible(str(error)) from None
        if host(parts) != host(check_url(self.url, "issuer")):
            raise LoginImpossible(
                f"{url} names the token endpoint {shown(str(endpoint))} on another host, which gets no token of ours. "
                "If it is the right one, write it into clouds.yaml as 'access_token_endpoint'"
            )
        return str(endpoint)

    def _json(self, send: Callable[[], requests.Response]) -> tuple[int, Mapping[str, object]]:
        """Status and answer; an answer that is no JSON object is empty unless it should be a success.

        :raises TooManyRequests: keystoneauth's; the issuer wants a pause
        """
        try:
            response = send()
            body = SafeHTTP.read(response)
        except (exceptions.ConnectionError, requests.RequestException) as error:
            if isinstance(error, LoginImpossible):
                raise
            hint = "; its CA is named by 'cacert' in clouds.yaml" if isinstance(error, exceptions.SSLError) else ""
            raise LoginImpossible(f"the OIDC issuer {self} does not answer: {SafeHTTP.cause(error)}{hint}") from None
        if response.status_code == 429:
            text = f"the OIDC issuer {self} asks for fewer requests"
            raise exceptions.TooManyRequests(text, http_status=429, retry_after=SafeHTTP.retry_after(response))
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return response.status_code, answer
        if response.status_code == 200:
            kind = shown(response.headers.get("Content-Type", "something"))
            raise LoginImpossible(f"{response.url} answers {kind} in place of a JSON object; is that the issuer?")
        return response.status_code, {}


def _secrets(grant: Grant) -> list[Secret]:
    return [value for value in grant.values() if isinstance(value, Secret)]


def _seconds(value: object) -> timedelta | None:
    """A duration as issuers write it: a number, some of them in quotes."""
    try:
        return timedelta(seconds=max(0.0, float(value))) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None


def jwt_expiry(token: Secret) -> datetime | None:
    """When a token says that it ends, for people: nothing verifies it. None for one that says nothing."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.reveal().split(".")[1] + "=="))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
