"""From an entry of clouds.yaml to requests that have time-outs, know what may be sent twice and fail with typed errors.

openstacksdk reads the entry and keystoneauth logs in. Requests go over keystoneauth's session directly: the layer of
openstacksdk above it looks things up before a create, repeats it where clouds.yaml says so, and costs CPU.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import requests
import tenacity
from keystoneauth1 import exceptions as keystone
from keystoneauth1.access import AccessInfo

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import AuthenticationFailed, Rejected, Unreachable
from JenniferDIRAC.Resources.Cloud.CloudsFile import load_entry
from JenniferDIRAC.Resources.Cloud.OpenStackErrors import Hiccup, Translator
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import DOWN_CELLS_SINCE, Microversion, mappings
from JenniferDIRAC.Resources.Cloud.SafeHTTP import UnsafeURL, check_url
from JenniferDIRAC.Resources.Cloud.Secret import Secret

#: The last that something here is made for; later ones only change what nobody here asks for.
MAX_MICROVERSION = DOWN_CELLS_SINCE
FIRST_MICROVERSION: Microversion = (2, 1)
#: Tries of a GET or DELETE that fails at once, and the seconds between them.
TRIES, PAUSE = 3, 1.0

T = TypeVar("T")
_SERVICES: Mapping[str, str] = {"compute": "", "image": "v2", "network": "v2.0", "identity": "v3"}
_VERSION = re.compile(r"/v\d[\d.]*(?=/|$)")
_NOVA_VERSION = re.compile(r"v2(\.\d+)?")


@dataclass(frozen=True)
class Timeouts:
    """In seconds. ``create`` is longer: Nova asks Neutron and Glance first, and an answer spares a search.

    ``console`` is shorter: Nova asks the host, and for one that is dead it waits a minute itself.
    """

    connect: float = 10.0
    read: float = 60.0
    create: float = 120.0
    console: float = 15.0


TIMEOUTS = Timeouts()


class OpenStackConnection:
    """One project of one cloud. Made without contacting it; afterwards safe to use from several threads.

    :param name: the endpoint's name, for messages
    :param cloud: the entry of clouds.yaml, found where all OpenStack tools look for it
    :raises Rejected: the entry cannot be used
    """

    def __init__(
        self,
        name: str,
        cloud: str,
        timeouts: Timeouts,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ):
        self.entry = f"entry {cloud} of clouds.yaml"
        self.region, secrets = load_entry(name, cloud)
        self.errors = Translator(name, secrets, now)
        self.session = self.region.get_session()
        read = self.session.timeout or timeouts.read
        # keystoneauth takes one number, and hands on to requests whatever stands here; logins have it too.
        self.session.timeout = (timeouts.connect, read)  # type: ignore[assignment]
        self.timeouts = replace(timeouts, read=read, create=max(read, timeouts.create))
        # Another host than the catalogue's or clouds.yaml's must not get a token, nor a create a second time.
        self.session.redirect = False
        self._lock = threading.RLock()
        self._bases: dict[str, str] = {}
        self._microversion: Microversion | None = None
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Hiccup),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_fixed(PAUSE),
            sleep=sleep,
            reraise=True,
        )

    @property
    def auth_url(self) -> str:
        return getattr(self.session.auth, "auth_url", "")

    @property
    def microversion(self) -> Microversion:
        """The one that all requests to Nova have."""
        self._settled(lambda: self._base("compute"))
        return self._microversion or FIRST_MICROVERSION

    def access(self) -> AccessInfo:
        """The token in use, with all that Keystone said beside it."""
        return self._settled(self._access)

    def get(self, service: str, path: str, doing: str, **query: Any) -> dict[str, Any]:
        """The JSON of an answer.

        :raises CloudError: also when it is no JSON, or not an object
        """

        def once() -> dict[str, Any]:
            answer = self._send(service, "GET", path, doing, params=query)
            told = _json(answer) if answer.status_code == 200 else None
            if not isinstance(told, dict):
                raise self.errors.answer(answer, doing)
            return told

        return self._settled(once)

    def pages(self, service: str, path: str, key: str, doing: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All members of a list, over all its pages, each once.

        :raises Unreachable: a page failed or repeats what was there: what came so far is not the list
        """
        seen: set[str] = set()
        while True:
            page = self.get(service, path, doing, **query)
            members = page.get(key)
            if not isinstance(members, list) or not all(isinstance(each, dict) and each.get("id") for each in members):
                raise self.errors.nonsense(doing, f"an answer without a proper list of {key}")
            fresh = {str(each["id"]): each for each in members if str(each["id"]) not in seen}
            yield from fresh.values()
            seen |= fresh.keys()
            # Only that there is a link counts: its address is often that of a host behind the one that is ours to ask.
            links = mappings(page.get(f"{key}_links"))
            if not page.get("next") and not any(link.get("rel") == "next" for link in links):
                return
            if not fresh:
                raise self.errors.nonsense(doing, f"a page of {key} came twice")
            query["marker"] = members[-1]["id"]

    def delete(self, service: str, path: str, doing: str) -> requests.Response:
        """The answer, whatever it says, unless a second try can mend it."""

        def once() -> requests.Response:
            answer = self._send(service, "DELETE", path, doing)
            if answer.status_code >= 500:
                raise self.errors.answer(answer, doing)
            return answer

        return self._settled(once)

    def post(
        self, service: str, path: str, body: Mapping[str, Any], doing: str, seconds: float, *, creating: bool = False
    ) -> requests.Response:
        """Send it once. Only after a 401, by which the cloud did nothing, it goes again with a new token.

        :param seconds: for the answer
        :param creating: it makes something, so a failure on the way may leave open whether it did
        """
        timeout = (self.timeouts.connect, seconds)
        try:
            return self._send(service, "POST", path, doing, creating=creating, json=body, timeout=timeout)
        except Hiccup as error:
            raise Unreachable(str(error)) from None

    def _settled(self, call: Callable[[], T]) -> T:
        """The outcome of what may be done again."""
        try:
            return self._retry(call)
        except Hiccup as error:
            raise Unreachable(str(error)) from None

    def _send(
        self, service: str, method: str, path: str, doing: str, *, creating: bool = False, **options: Any
    ) -> requests.Response:
        url = f"{self._base(service)}/{path}"
        if service == "compute" and self._microversion:
            options |= {"microversion": "{}.{}".format(*self._microversion), "microversion_service_type": "compute"}
        return self._request(method, url, doing, creating, **options)

    def _request(self, method: str, url: str, doing: str, creating: bool = False, **options: Any) -> requests.Response:
        answer = self._once(method, url, doing, creating, options)
        if answer.status_code == 401:
            self._renew(_token(answer.request.headers))
            answer = self._once(method, url, doing, creating, options)
        return answer

    def _once(self, method: str, url: str, doing: str, creating: bool, options: Mapping[str, Any]) -> requests.Response:
        # Whatever goes wrong at a login, the request itself was not sent.
        headers = self._headers()
        try:
            return self.session.request(
                url,
                method,
                headers=headers,
                authenticated=False,  # the headers do that, so that it is known which token was refused
                raise_exc=False,
                connect_retries=0,
                log=False,  # at debug level it would show user-data
                **options,
            )
        except Exception as error:
            raise self.errors.failure(error, doing, creating=creating) from None

    @property
    def _logging_in(self) -> str:
        return f"log in at {self.auth_url} with {self.entry}"

    def _access(self) -> AccessInfo:
        log_in = self.session.auth.get_access  # type: ignore[union-attr]
        return self.explained(self._logging_in, lambda: log_in(self.session))

    def _headers(self) -> dict[str, str]:
        headers = self.explained(self._logging_in, self.session.get_auth_headers)
        if not headers:
            raise AuthenticationFailed(self.errors.message(self._logging_in, "this kind of login gives no token"))
        return dict(headers)

    def _renew(self, refused: Secret) -> None:
        """Log in anew, unless another thread did since the token was used."""
        with self._lock:
            if _token(self._headers()) == refused:
                self.session.invalidate()
                self._headers()

    def explained(self, doing: str, call: Callable[[], Any]) -> Any:
        """What ``call`` returns; what it raises becomes one of the contract's errors."""
        try:
            return call()
        except Exception as error:
            raise self.errors.failure(error, doing) from None

    def _base(self, service: str) -> str:
        """Where a service's paths begin. The first login and discovery happen here, one thread at a time."""
        if service not in self._bases:
            with self._lock:
                if service not in self._bases:
                    self._bases[service] = self.explained(f"find the {service} service", lambda: self._find(service))
        return self._bases[service]

    def _find(self, service: str) -> str:
        if service == "identity":
            url = self.auth_url
        elif override := self.region.get_endpoint(service):
            url = re.sub(r"[%$]\((project|tenant)_id\)s?", str(self._scoped().project_id), override)
        else:
            url = self._in_catalogue(service, self._scoped())
            self._check_encrypted(service, url)
        url = url.rstrip("/")
        version = _VERSION.search(url)
        if service == "compute":
            newest = self._discover_compute(url[: version.end()] if version else url)
            return url if version else f"{url}/{newest}"
        return url if version else f"{url}/{_SERVICES[service]}"

    def _check_encrypted(self, service: str, url: str) -> None:
        """A token that came over https must not leave in the clear.

        :raises Rejected: it would
        """
        if not self.auth_url.startswith("https:"):
            return
        try:
            check_url(url, f"the {service} service's address in the cloud's catalogue", loopback=True)
        except UnsafeURL as error:
            hint = f"ask the cloud's owner, or name another with {service}_endpoint_override in clouds.yaml"
            raise Rejected(f"{self.errors.name}: {self.entry}: {error}; {hint}") from None

    def _scoped(self) -> AccessInfo:
        access = self._access()
        if not access.project_id:
            raise Rejected(
                f"{self.errors.name}: {self.entry}: auth: expected project_id or project_name, found neither"
            )
        return access

    def _in_catalogue(self, service: str, access: AccessInfo) -> str:
        region, interface = self.region.get_region_name(service), self.region.get_interface(service) or "public"
        endpoints = access.service_catalog.get_endpoint_data_list(
            service_type=self.region.get_service_type(service),
            service_name=self.region.get_service_name(service),
            interface=interface,
        )
        regions = sorted({str(each.region_name) for each in endpoints})
        if not regions:
            raise keystone.EndpointNotFound(f"the cloud's catalogue has no {interface} {service} service")
        if region not in regions and (region or len(regions) > 1):
            raise keystone.EndpointNotFound(
                f"{self.entry}: region_name: expected one of {', '.join(regions)}, found {region or 'nothing'}"
            )
        return next(str(each.url) for each in endpoints if region in (None, "", each.region_name))

    def _discover_compute(self, root: str) -> str:
        """Settle the microversion, and return the id of Nova's newest version at an address."""
        doing = "ask Nova for its versions"
        answer = self._request("GET", f"{root}/", doing)
        told = _json(answer) if answer.status_code in (200, 300) else None
        if not isinstance(told, dict):
            raise self.errors.answer(answer, doing)
        versions = mappings(told.get("versions") or [told.get("version")])
        versions = [each for each in versions if _NOVA_VERSION.fullmatch(str(each.get("id")))]
        if not versions:
            raise self.errors.answer(answer, doing)
        newest = max(versions, key=lambda each: str(each["id"]))
        most = re.fullmatch(r"(\d+)\.(\d+)", str(newest.get("version") or newest.get("max_version")))
        self._microversion = min((int(most[1]), int(most[2])), MAX_MICROVERSION) if most else None
        return str(newest["id"])


def _token(headers: Mapping[str, Any]) -> Secret:
    return Secret(str(headers.get("X-Auth-Token")))


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
