"""Logging in to OpenStack with tokens of EGI Check-in, or of any other OpenID Connect issuer, without a browser.

Two plug-ins for keystoneauth, so for every OpenStack tool that reads clouds.yaml:

- ``v3oidcrefreshtoken``: a refresh token, from a file or inline. keystoneauth has none for that grant.
- ``v3oidcserviceaccount``: a client with a secret of its own (grant client_credentials). keystoneauth has
  ``v3oidcclientcredentials``; ours finds the token endpoint from the issuer alone, tries both of the usual names of
  Keystone's protocol, uses an access token for as long as it lives, and sends secrets to pinned hosts only.

The access token is used to log in; what the tools then use is Keystone's token, which keystoneauth renews 120 s before
its end. So there is one login per lifetime of Keystone's token, and one request to the issuer per lifetime of its own.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.loading import BaseFederationLoader, Opt
from keystoneauth1.session import Session

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Expiry
from JenniferDIRAC.Resources.Cloud.FederatedLogin import FederatedLogin
from JenniferDIRAC.Resources.Cloud.OIDCIssuer import GrantRefused, Tokens, jwt_expiry
from JenniferDIRAC.Resources.Cloud.TokenFile import TokenFile, check_token, state_file

LOG = logging.getLogger(__name__)


class OIDCRefreshToken(FederatedLogin):
    """With a refresh token, which the issuer may replace each time that it is used."""

    def __init__(
        self, *args: Any, refresh_token: str | None = None, refresh_token_file: str | None = None, **options: Any
    ):
        super().__init__(*args, **options)
        if bool(refresh_token) == bool(refresh_token_file):
            found = "both" if refresh_token else "neither"
            raise exceptions.OptionError(f"expected one of refresh_token and refresh_token_file, found {found}")
        if refresh_token:
            first = check_token(str(refresh_token), "refresh_token")
            self._file = TokenFile(state_file(str(self.issuer), self.client_id, first), first)
        else:
            path = Path(str(refresh_token_file)).expanduser()
            if not path.is_absolute():
                raise exceptions.OptionError(f"refresh_token_file: expected a path from / or ~, found {path}")
            self._file = TokenFile(path)
        self._inline = bool(refresh_token)
        self._refresh: Tokens | None = None

    def new_tokens(self, session: Session) -> Tokens:
        with self._file.hold() as held:
            try:
                tokens = self.issuer.tokens(session, self._grant("refresh_token", refresh_token=held.value))
            except GrantRefused as error:
                if error.code != "invalid_grant":
                    raise
                raise GrantRefused(f"{error}. {self._advice()}", error.code) from None
            if tokens.refresh_token and tokens.refresh_token != held.value:
                kept_before = self._file.path.exists()
                held.replace(tokens.refresh_token)
                self._tell(kept_before)
        self._refresh = tokens
        return tokens

    def expiries(self) -> tuple[Expiry, ...]:
        """The refresh token's end: what the issuer said with the last login, else what stands in the token itself."""
        what = f"refresh token of {self.issuer}"
        last = self._refresh
        if last is None or last.refresh_lifetime is None:
            return (Expiry(what, jwt_expiry(self._file.read())),)
        return (Expiry(what, last.asked_at + last.refresh_lifetime),) if last.refresh_lifetime else ()

    def get_unscoped_cache_id_elements(self) -> dict[str, str | None]:
        return {**super().get_unscoped_cache_id_elements(), "refresh_token": str(self._file.path)}

    def _tell(self, kept_before: bool) -> None:
        if kept_before:
            LOG.info("%s replaced the refresh token in %s", self.issuer, self._file.path)
        else:
            LOG.warning(
                "%s replaced the refresh_token of clouds.yaml or secure.yaml. Its successor is kept in %s and is used "
                "from now on; without that file a new refresh token is needed",
                self.issuer,
                self._file.path,
            )

    def _advice(self) -> str:
        place = "as refresh_token into secure.yaml" if self._inline else f"into {self._file.path}"
        return (
            f"Get a new refresh token from the issuer's token portal and write it {place}: this one has expired, was "
            "revoked or was used elsewhere"
        )


class OIDCServiceAccount(FederatedLogin):
    """With the secret of a client that stands for a service and not for a person."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        if not options.get("client_secret"):
            raise exceptions.OptionError("client_secret: a service account has one; found none")

    def new_tokens(self, session: Session) -> Tokens:
        return self.issuer.tokens(session, self._grant("client_credentials"))


class _Loader(BaseFederationLoader[FederatedLogin]):
    def get_options(self) -> list[Opt]:
        return [
            *(option for option in super().get_options() if option.dest != "protocol"),
            Opt("protocol", help="What the cloud calls the protocol of the issuer. Default: 'openid', else 'oidc'"),
            Opt("issuer", help="The OpenID Connect issuer's https address, which it also calls itself by"),
            Opt("discovery-endpoint", help="In place of issuer: the address of its /.well-known/openid-configuration"),
            Opt(
                "access-token-endpoint",
                help="The issuer's https address for tokens. Default: what it says itself; needed when that is on "
                "another host than the issuer",
            ),
            Opt("client-id", required=True, help="The OAuth 2.0 client that the token or the secret belongs to"),
            Opt("client-secret", secret=True, help="The client's secret; none for a public client"),
            Opt("openid-scope", dest="scope", help=f"Scopes to ask for, with spaces between. {self.scope_help}"),
        ]

    scope_help = ""

    def load_from_options(self, **options: Any) -> FederatedLogin:
        if not any(options.get(name) for name in ("issuer", "discovery_endpoint", "access_token_endpoint")):
            raise exceptions.OptionError("issuer: expected its https address, found none")
        return super().load_from_options(**options)


class RefreshTokenLoader(_Loader):
    """``auth_type: v3oidcrefreshtoken``"""

    scope_help = "Default: those that the refresh token was made with"

    @property
    def plugin_class(self) -> type[OIDCRefreshToken]:
        return OIDCRefreshToken

    def get_options(self) -> list[Opt]:
        return [
            *super().get_options(),
            Opt("refresh-token", secret=True, help="The refresh token itself; best in secure.yaml"),
            Opt(
                "refresh-token-file",
                help="A file (mode 600, path from / or ~) with the refresh token and nothing else. When the issuer "
                "replaces the token, the file gets the new one",
            ),
        ]


class ServiceAccountLoader(_Loader):
    """``auth_type: v3oidcserviceaccount``"""

    scope_help = "Default: those that the issuer gives the client by itself"

    @property
    def plugin_class(self) -> type[OIDCServiceAccount]:
        return OIDCServiceAccount
