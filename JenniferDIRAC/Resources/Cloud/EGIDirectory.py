"""Where a site of the EGI Federated Cloud has its Keystone, and which project of it is a VO's.

Asked on request only, never by the director: what is found is shown as an entry of clouds.yaml, and only what an
operator has put there gets a token. So a wrong answer of a directory sends nothing anywhere.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import requests

from JenniferDIRAC.Resources.Cloud.CachedAnswers import CachedAnswers, NotThere
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected, Unreachable
from JenniferDIRAC.Resources.Cloud.SafeHTTP import UnsafeURL, check_url, is_loopback, shown

INFORMATION_SERVICE = "https://is.cloud.egi.eu"
GOCDB = "https://goc.egi.eu/gocdbpi/public/"
CHECKIN = "https://aai.egi.eu/auth/realms/egi"
#: the client of the refresh tokens that https://aai.egi.eu/token gives; it has no secret
TOKEN_PORTAL_CLIENT = "token-portal"
IDENTITY_PROVIDER = "egi.eu"
_FRESH_FOR = timedelta(hours=1)
_VERSION = re.compile(r"/v(2\.0|3)$")
_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Source(str, Enum):
    """Who said it."""

    INFORMATION_SERVICE = "EGI information service"
    GOCDB = "GOCDB"


@dataclass(frozen=True)
class EGISite:
    """A VO at a site.

    ``project_id`` is empty when the source knows none: GOCDB. ``stale``: the source does not answer now, and said so
    ``age`` ago.
    """

    site: str
    vo: str
    auth_url: str
    project_id: str
    source: Source
    age: timedelta
    stale: bool = False


class EGIDirectory:
    """The EGI information service, and GOCDB for a site that it does not know or while it does not answer.

    :param cache: a directory for the answers
    :param session: for CAs or a proxy of one's own
    """

    def __init__(
        self,
        cache: Path,
        information_service: str = INFORMATION_SERVICE,
        gocdb: str = GOCDB,
        session: requests.Session | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ):
        self._service, self._gocdb = information_service.rstrip("/"), gocdb
        self._answers = CachedAnswers(cache, session or requests.Session(), clock, _FRESH_FOR)

    def find(self, site: str, vo: str) -> EGISite:
        """
        :param site: its name in GOCDB
        :raises Rejected: there is no such site, or it does not serve the VO; the text names the sites that do
        :raises Unreachable: neither of the two answers, and neither has before
        """
        try:
            return self._from_information_service(site, vo)
        except NotThere:
            problem = f"{self._service} knows no site {site!r}"
        except Unreachable as error:
            problem = str(error)
        try:
            return self._from_gocdb(site, vo)
        except (Unreachable, NotThere) as error:
            raise Unreachable(f"{problem}; {error}. Write auth_url and project_id into clouds.yaml by hand") from None
        except Rejected as error:
            raise Rejected(f"{problem}; {error}.{self._sites_text(vo)}") from None

    def sites(self, vo: str) -> tuple[str, ...]:
        """The names of the sites that serve a VO."""
        address = f"{self._service}/sites/?{urlencode({'vo_name': vo})}"
        known = self._answers.get(address, _json_list).value
        return tuple(sorted(str(site["name"]) for site in known if isinstance(site, dict) and "name" in site))

    def _from_information_service(self, site: str, vo: str) -> EGISite:
        address = f"{self._service}/site/{quote(site, safe='')}/"
        answer = self._answers.get(address, _json_dict)
        projects_answer = self._answers.get(address + "projects", _json_list)
        url = answer.value.get("url")
        projects = {
            str(project.get("name")): project.get("id")
            for project in projects_answer.value
            if isinstance(project, dict)
        }
        if vo not in projects:
            there = f"; it serves {', '.join(sorted(map(shown, projects)))}" if projects else ""
            raise Rejected(f"{site} does not serve the VO {vo!r}{there}.{self._sites_text(vo)}")
        project = projects[vo]
        if not isinstance(project, str) or not _PROJECT.fullmatch(project):
            raise Unreachable(f"{address}projects names the project {shown(str(project))!r} for {vo}, which is no id")
        return EGISite(
            site,
            vo,
            _keystone(url if isinstance(url, str) else "", address),
            project,
            Source.INFORMATION_SERVICE,
            age=max(answer.age, projects_answer.age),
            stale=answer.stale or projects_answer.stale,
        )

    def _from_gocdb(self, site: str, vo: str) -> EGISite:
        query = {"method": "get_service_endpoint", "sitename": site, "service_type": "org.openstack.nova"}
        address = f"{self._gocdb}?{urlencode(query)}"
        answer = self._answers.get(address, _xml)
        urls = {
            _keystone((endpoint.findtext("URL") or "").strip(), address)
            for endpoint in answer.value.iter("SERVICE_ENDPOINT")
            if endpoint.findtext("SITENAME") == site and endpoint.findtext("IN_PRODUCTION") == "Y"
        }
        if len(urls) != 1:
            found = f"several: {', '.join(sorted(urls))}" if urls else "none"
            raise Rejected(f"expected one OpenStack in production at {site!r} in GOCDB, found {found}")
        return EGISite(site, vo, urls.pop(), "", Source.GOCDB, answer.age, answer.stale)

    def _sites_text(self, vo: str) -> str:
        try:
            names = self.sites(vo)
        except (Unreachable, NotThere):
            return ""
        return f" Sites that serve {vo}: {', '.join(map(shown, names))}" if names else f" No site serves {vo}"


def clouds_entry(found: EGISite, refresh_token_file: str) -> dict[str, Any]:
    """An entry of clouds.yaml; from then on it is what counts, and no directory."""
    # The token shows the site this VO only, in both of the roles that sites ask for.
    group = f"eduperson_entitlement:urn:mace:egi.eu:group:{found.vo}"
    roles = " ".join(f"{group}:role={role}#aai.egi.eu" for role in ("vm_operator", "member"))
    auth = {
        "auth_url": found.auth_url,
        "identity_provider": IDENTITY_PROVIDER,
        "issuer": CHECKIN,
        "client_id": TOKEN_PORTAL_CLIENT,
        "refresh_token_file": refresh_token_file,
        "openid_scope": f"openid email profile voperson_id {roles}",
        **({"project_id": found.project_id} if found.project_id else {}),
    }
    return {"auth_type": "v3oidcrefreshtoken", "auth": auth}


def _keystone(url: str, source: str) -> str:
    """The address of version 3 of a Keystone; some entries carry a probe's query, or end in the version before."""
    try:
        parts = check_url(url, f"the address in {source}")
    except UnsafeURL as error:
        raise Unreachable(str(error)) from None
    if is_loopback(parts.hostname or "") or _is_inner(parts.hostname or ""):
        raise Unreachable(f"{source} names {shown(url)}, an address inside a network, which is no public cloud's")
    return f"https://{parts.netloc}{_VERSION.sub('', parts.path.rstrip('/'))}/v3"


def _is_inner(hostname: str) -> bool:
    try:
        return not ipaddress.ip_address(hostname).is_global
    except ValueError:
        return False


def _json_dict(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _json_list(text: str) -> list[Any]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value


def _xml(text: str) -> ElementTree.Element:
    # Entities, which can make a short text endless, need a DTD; GOCDB sends none.
    if "<!DOCTYPE" in text:
        raise ValueError("expected XML without a DTD")
    try:
        results = ElementTree.fromstring(text.strip())
    except ElementTree.ParseError as error:
        raise ValueError(f"expected XML: {error}") from None
    if results.tag != "results":
        raise ValueError(f"expected <results>, found <{results.tag}>")
    return results
