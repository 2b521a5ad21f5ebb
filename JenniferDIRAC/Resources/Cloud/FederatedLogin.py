"""From an access token of an OpenID Connect issuer to a token of Keystone for one project."""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import requests
from keystoneauth1 import access, exceptions
from keystoneauth1.identity.v3 import federation, token
from keystoneauth1.session import Session

from JenniferDIRAC.Resources.Cloud import SafeHTTP
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Expiry
from JenniferDIRAC.Resources.Cloud.OIDCIssuer import Grant, OIDCIssuer, Tokens
from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible, Redirected, UnsafeURL, check_url, shown
from JenniferDIRAC.Resources.Cloud.Secret import Secret

LOG = logging.getLogger(__name__)

#: What EGI's sites call the protocol of Check-in, the more frequent one first.
PROTOCOLS = ("openid", "oidc")
# An access token has to last for one login, whose requests may each take their time-out.
_MARGIN = timedelta(seconds=60)
_DESCRIPTION = re.compile(r'error_description="([^"]*)"')


def utc_now() -> datetime:
    return datetime.now(UTC)


class _Post:
    """A session as keystoneauth's plug-in for the second step uses it; it would follow redirects with the token."""

    def __init__(self, session: Session):
        self._session = session

    def post(self, url: str, **options: Any) -> requests.Response:
        body = options["json"]
        answer = SafeHTTP.post(self._session, url, json=body, headers=options["headers"])
        secret = Secret(body["auth"]["identity"]["token"]["id"])
        if answer.status_code in (401, 403, 404):
            raise exceptions.Unauthorized(
                f"{url} accepts the login and refuses the project ({_reason(answer, secret)}): is the project_id or "
                "project_name of clouds.yaml one of those that `openstack federation project list` shows?"
            )
        if answer.status_code >= 400:
            raise _failure(answer, url, secret)
        return answer


class _ToProject(token.Token):
    """From Keystone's unscoped token to the one for the project."""

    def get_auth_ref(self, session: Session) -> access.AccessInfoV3:
        return super().get_auth_ref(cast(Session, _Post(session)))


class FederatedLogin(federation.FederationBaseAuth):
    """What the plug-ins share; where an access token comes from is theirs.

    :param protocol: as Keystone calls it; without it ``PROTOCOLS`` are tried, and what worked is remembered
    """

    rescoping_plugin = _ToProject

    def __init__(
        self,
        auth_url: str,
        identity_provider: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        issuer: str | None = None,
        discovery_endpoint: str | None = None,
        access_token_endpoint: str | None = None,
        scope: str | None = None,
        protocol: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        **project: Any,
    ):
        super().__init__(auth_url, identity_provider, protocol or PROTOCOLS[0], **project)
        try:
            check_url(auth_url, "auth_url", loopback=True)
        except UnsafeURL as error:
            raise exceptions.OptionError(str(error)) from None
        self.issuer = OIDCIssuer(
            issuer or discovery_endpoint or "",
            str(client_id),
            Secret(client_secret or ""),
            access_token_endpoint or "",
            clock,
        )
        self.client_id = str(client_id)
        self.scope = scope
        self._all_protocols = (protocol,) if protocol else PROTOCOLS
        self._protocols = self._all_protocols
        self._clock = clock
        self._tokens: Tokens | None = None

    def expiries(self) -> tuple[Expiry, ...]:
        """What ends by itself and needs a person then."""
        return ()

    def get_unscoped_auth_ref(self, session: Session) -> access.AccessInfoV3:
        """A login. An access token that was used before and is refused now is renewed, once."""
        known = self._tokens
        if known is not None and known.asked_at + known.lifetime - _MARGIN > self._clock():
            try:
                return self._log_in(session, known)
            except exceptions.Unauthorized:
                LOG.debug("Keystone at %s refused the access token: asking %s for another", self.auth_url, self.issuer)
        self._tokens = None  # nothing of it is any good if the next line fails
        self._tokens = self.new_tokens(session)
        return self._log_in(session, self._tokens)

    @abstractmethod
    def new_tokens(self, session: Session) -> Tokens:
        """Ask the issuer."""

    def _log_in(self, session: Session, tokens: Tokens) -> access.AccessInfoV3:
        refusals = []
        for protocol in self._protocols:
            self.protocol = protocol
            try:
                answer = SafeHTTP.post(
                    session,
                    self.federated_token_url,
                    headers={"Accept": "application/json"},
                    requests_auth=_bearer(tokens.access_token),
                )
            except Redirected as error:  # the way for browsers, of a protocol that another has for tokens
                if protocol == self._protocols[-1]:
                    raise
                refusals.append(f"{protocol}: {error}")
                continue
            # A protocol that Keystone does not know is a 401 or a 404, a wrong issuer a 403.
            if answer.status_code in (401, 403, 404):
                refusals.append(f"{protocol}: {answer.status_code} {_reason(answer, tokens.access_token)}")
                continue
            if answer.status_code >= 400:
                raise _failure(answer, f"Keystone at {self.auth_url}", tokens.access_token)
            info = self._keystone_token(answer)
            self._protocols = (protocol,)
            return info
        self._protocols = self._all_protocols
        raise exceptions.Unauthorized(
            f"Keystone at {self.auth_url} refuses the access token of {self.issuer}: is its owner a member of a VO "
            f"that this cloud serves, and is 'identity_provider: {self.identity_provider}' its name for the issuer? "
            f"It said {'; '.join(refusals)}"
        )

    def _keystone_token(self, answer: requests.Response) -> access.AccessInfoV3:
        try:
            info = access.create(resp=answer)
        except (ValueError, TypeError):
            info = None
        if not isinstance(info, access.AccessInfoV3) or not info.auth_token:
            raise LoginImpossible(f"{self.federated_token_url} answers {answer.status_code} without Keystone's token")
        return info

    def _grant(self, kind: str, **more: Secret) -> Grant:
        return {"grant_type": kind, **more, **({"scope": self.scope} if self.scope else {})}

    def get_unscoped_cache_id_elements(self) -> dict[str, str | None]:
        elements = {"auth_url": self.auth_url, "identity_provider": self.identity_provider}
        return {**elements, "issuer": str(self.issuer), "client_id": self.client_id, "scope": self.scope}


def _bearer(access_token: Secret) -> Callable[[Any], Any]:
    def add(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {access_token.reveal()}"
        return request

    return add


def _reason(answer: requests.Response, secret: Secret) -> str:
    """What a service says of a refusal: Keystone in JSON, apache in a header."""
    try:
        text = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        described = _DESCRIPTION.search(answer.headers.get("WWW-Authenticate", ""))
        text = described[1] if described else answer.reason
    return shown(str(text), secret)


def _failure(answer: requests.Response, who: str, secret: Secret) -> exceptions.HttpError:
    """Without the answer itself: that holds the request, and so the token."""
    status = answer.status_code
    kind = exceptions.TooManyRequests if status == 429 else exceptions.HTTPClientError
    return (exceptions.HttpServerError if status >= 500 else kind)(
        f"{who}: {_reason(answer, secret)}", http_status=status, retry_after=SafeHTTP.retry_after(answer)
    )
