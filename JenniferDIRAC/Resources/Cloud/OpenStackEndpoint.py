"""A project of an OpenStack cloud.

Credentials come from clouds.yaml and secure.yaml. A server of ours is told by its name and its metadata; where Nova
takes tags and a description at a create, it has those too, for people.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    NAME_PREFIX,
    Account,
    AuthenticationFailed,
    Catalogue,
    CloudEndpoint,
    CloudError,
    Expiry,
    Flavor,
    Leftover,
    Limits,
    Rejected,
    Server,
    ServerNotFound,
    ServerRequest,
    ServerStatus,
)
from JenniferDIRAC.Resources.Cloud.OpenStackConnection import TIMEOUTS, OpenStackConnection, Timeouts
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import (
    DOWN_CELLS_SINCE,
    EMBEDDED_FLAVOR_SINCE,
    create_body,
    flavor_of,
    image_of,
    key_pairs_of,
    leftover_of,
    limits_of,
    network_of,
    server_of,
    when,
    zones_of,
)

CATALOGUE_LIFETIME = timedelta(minutes=10)
# Until the next try after one that failed.
CATALOGUE_PAUSE = timedelta(minutes=2)
# Nova's answer grows by 2.5 kB a server; this many stay well within the read time-out on a slow cloud.
PAGE = 500
_NO_CONSOLE = (409, 501)  # not yet or no more; never at this hypervisor

T = TypeVar("T")


class OpenStackEndpoint(CloudEndpoint):
    """One project in one region.

    :param name: the endpoint's name, for messages
    :param cloud: the entry of clouds.yaml; read at the first call, nothing is contacted before
    """

    #: Below the 10 connections that requests keeps open; more at once made no cloud faster.
    parallel_requests = 8

    def __init__(
        self,
        name: str,
        cloud: str,
        *,
        timeouts: Timeouts = TIMEOUTS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        page: int = PAGE,
    ):
        self.name = name
        self._cloud = cloud
        self._timeouts = timeouts
        self._now = now
        self._sleep = sleep
        self._page = page
        self._lock = threading.Lock()
        self._made: OpenStackConnection | None = None
        self._catalogue: Catalogue | None = None
        self._catalogue_until: datetime | None = None
        self._seen: set[str] | None = None

    def list_servers(self) -> tuple[Server, ...]:
        servers = self._servers(f"^{NAME_PREFIX}-", "list servers")
        listed = {server.id for server in servers}
        if self._seen is None or not self._seen <= listed:
            self._check_cells((self._seen or set()) - listed)
        self._seen = listed
        return servers

    def find_server(self, name: str) -> Server | None:
        found = [server for server in self._servers(f"^{name}$", f"find server {name}") if server.name == name]
        latest = datetime.max.replace(tzinfo=UTC)
        return min(found, key=lambda server: (server.created_at or latest, server.id), default=None)

    def create_server(self, request: ServerRequest) -> Server:
        name = request.identity.name
        doing = f"create server {name}"
        if len(request.user_data) > self.max_user_data_bytes:
            raise Rejected(
                f"{self.name}: user-data has {len(request.user_data)} bytes, Nova takes {self.max_user_data_bytes}"
            )
        connection = self._connection
        body = create_body(request, connection.microversion)
        answer = connection.post("compute", "servers", body, doing, connection.timeouts.create, creating=True)
        try:
            server_id = str(answer.json()["server"]["id"]) if answer.status_code == 202 else ""
        except (ValueError, KeyError, TypeError):
            server_id = ""
        if not server_id:
            error = connection.errors.answer(answer, doing, creating=True)
            if isinstance(error, Rejected):
                self._catalogue_until = None  # what was chosen may be gone
            raise error
        if self._seen is not None:
            self._seen.add(server_id)
        return Server(
            id=server_id,
            name=name,
            status=ServerStatus.BUILDING,
            metadata=request.identity.metadata,
            cores=request.flavor.cores,
            ram_mib=request.flavor.ram_mib,
            created_at=self._now(),
        )

    def delete_server(self, server_id: str) -> None:
        doing, path = f"delete server {server_id}", f"servers/{server_id}"
        answer = self._connection.delete("compute", path, doing)
        if answer.ok or answer.status_code == 404:
            return
        error = self._connection.errors.answer(answer, doing)
        if answer.status_code == 409 and self._is_going(path, doing):
            return
        raise error

    def limits(self) -> Limits:
        doing = "ask for limits"
        told = self._connection.get("compute", "limits", doing)
        try:
            return limits_of(told["limits"]["absolute"])
        except (KeyError, TypeError, AttributeError):
            raise self._connection.errors.nonsense(doing, "an answer without limits") from None

    def catalogue(self) -> Catalogue:
        if self._catalogue and self._catalogue_until and self._now() < self._catalogue_until:
            return self._catalogue
        try:
            self._catalogue = self._read_catalogue()
        except CloudError:
            if self._catalogue is None:
                raise
            # Servers can be looked after while Glance or Neutron is away, and a look must not wait for them each time.
            self._catalogue_until = self._now() + CATALOGUE_PAUSE
            return self._catalogue
        self._catalogue_until = self._now() + CATALOGUE_LIFETIME
        return self._catalogue

    def console_log(self, server_id: str, max_bytes: int = 65536) -> str:
        doing = f"read the console of server {server_id}"
        # Its length is in lines, so all is asked for that Nova gives (100 kB).
        body: Mapping[str, Any] = {"os-getConsoleOutput": {}}
        connection, path = self._connection, f"servers/{server_id}/action"
        answer = connection.post("compute", path, body, doing, connection.timeouts.console)
        if answer.status_code in _NO_CONSOLE:
            return ""
        try:
            text = str(answer.json()["output"] or "") if answer.ok else None
        except (ValueError, KeyError, TypeError):
            text = None
        if text is None:
            raise connection.errors.answer(answer, doing)
        return text.encode(errors="replace")[-max_bytes:].decode(errors="replace") if max_bytes > 0 else ""

    def account(self) -> Account:
        connection = self._connection
        access = connection.access()
        return Account(
            user=access.username or access.user_id or "",
            project_id=access.project_id or "",
            project=access.project_name or "",
            region=connection.region.get_region_name("compute") or "",
            url=connection.auth_url,
            projects=self._projects(),
            expiries=tuple(self._expiries()),
        )

    def leftovers(self, server_ids: Collection[str]) -> tuple[Leftover, ...]:
        """Ports. A boot volume goes with its server (``delete_on_termination``), and one that did not cannot be told to
        be ours: Cinder forgets to which server it was attached.
        """
        words = ("id", "device_id", "device_owner")
        read, doing = self._connection.pages, "list ports"
        # All at once: asked by server, a few dozen ids are a longer address than many a Neutron takes.
        told = _optional(lambda: list(read("network", "ports", "ports", doing, fields=words, limit=PAGE))) or []
        found = (leftover_of(each, server_ids) for each in told)
        return tuple(each for each in found if each is not None)

    def delete_leftover(self, leftover: Leftover) -> None:
        doing = f"delete {leftover.kind} {leftover.id} of server {leftover.server_id}"
        answer = self._connection.delete("network", f"ports/{leftover.id}", doing)
        if (
            answer.status_code == 403
        ):  # Neutron since 2026 leaves ports of compute:* to Nova and admins: no bad credential
            said = f"403: the cloud leaves that to its admins ({answer.text})"
            raise Rejected(self._connection.errors.message(doing, said))
        if not answer.ok and answer.status_code != 404:
            raise self._connection.errors.answer(answer, doing)

    @property
    def _connection(self) -> OpenStackConnection:
        with self._lock:
            if self._made is None:
                self._made = OpenStackConnection(self.name, self._cloud, self._timeouts, self._now, self._sleep)
            return self._made

    def _servers(self, name: str, doing: str) -> tuple[Server, ...]:
        """All servers whose name matches a regular expression."""
        connection = self._connection
        told = list(connection.pages("compute", "servers/detail", "servers", doing, name=name, limit=self._page))
        flavors: Mapping[str, Flavor] = {}
        if told and connection.microversion < EMBEDDED_FLAVOR_SINCE:
            flavors = {flavor.id: flavor for flavor in self.catalogue().flavors}
        try:
            return tuple(server_of(each, flavors) for each in told)
        except KeyError as missing:
            raise connection.errors.nonsense(doing, f"a server without {missing}: the list is not whole") from None

    def _check_cells(self, missing: Set[str]) -> None:
        """Make sure that servers are not missing because the cell they are in is down, or was a moment ago.

        A list with a filter or a limit leaves those out without a word; only one without shows them, nameless.
        """
        doing = "see whether all cells of the cloud are up"
        if self._connection.microversion < DOWN_CELLS_SINCE:
            return
        for told in self._connection.pages("compute", "servers", "servers", doing):
            if "name" not in told:
                raise self._connection.errors.nonsense(doing, "a cell is down: the list of servers is not whole")
            if told["id"] in missing and str(told["name"]).startswith(NAME_PREFIX):
                raise self._connection.errors.nonsense(doing, "a cell was down: the list of servers was not whole")

    def _is_going(self, path: str, doing: str) -> bool:
        try:
            told = self._connection.get("compute", path, doing)
            return server_of(told["server"], {}).status is ServerStatus.DELETING
        except ServerNotFound:
            return True
        except (KeyError, TypeError, AttributeError):
            return False

    def _read_catalogue(self) -> Catalogue:
        pages, get, doing = self._connection.pages, self._connection.get, "read the catalogue"
        flavors = list(pages("compute", "flavors/detail", "flavors", doing))
        images = list(pages("image", "images", "images", doing, status="active", limit=PAGE))
        networks = _optional(lambda: list(pages("network", "networks", "networks", doing))) or []
        subnets = list(pages("network", "subnets", "subnets", doing)) if networks else []
        groups = _optional(lambda: list(pages("network", "security-groups", "security_groups", doing))) or []
        key_pairs = _optional(lambda: get("compute", "os-keypairs", doing)) or {}
        zones = _optional(lambda: get("compute", "os-availability-zone", doing)) or {}
        return Catalogue(
            flavors=tuple(flavor_of(each) for each in flavors if not each.get("OS-FLV-DISABLED:disabled")),
            images=tuple(image_of(each) for each in images),
            networks=tuple(network_of(each, subnets) for each in networks if each.get("admin_state_up", True)),
            key_pairs=key_pairs_of(key_pairs),
            zones=zones_of(zones),
            security_groups=tuple(str(each.get("name")) for each in groups),
        )

    def _projects(self) -> tuple[tuple[str, str], ...]:
        """Those that the credential may use, as (id, name)."""
        read = self._connection.pages
        told = _optional(lambda: list(read("identity", "auth/projects", "projects", "list projects"))) or []
        return tuple((str(each["id"]), str(each.get("name") or "")) for each in told)

    def _expiries(self) -> Iterator[Expiry]:
        """Of an application credential, which Keystone knows, and of what the kind of login knows itself."""
        connection = self._connection
        access = connection.access()
        if credential := getattr(access, "application_credential_id", None):
            path = f"users/{access.user_id}/application_credentials/{credential}"
            told = _optional(lambda: connection.get("identity", path, "ask for the application credential")) or {}
            record = told.get("application_credential")
            if not isinstance(record, dict):
                yield Expiry(f"application credential {credential}", None)
            elif record.get("expires_at"):
                yield Expiry(f"application credential {record.get('name')}", when(record["expires_at"]))
        yield from connection.explained(
            "ask when the credential ends", getattr(connection.session.auth, "expiries", tuple)
        )


def _optional(read: Callable[[], T]) -> T | None:
    """What a cloud need not have or need not show us: None then."""
    try:
        return read()
    except (AuthenticationFailed, Rejected, ServerNotFound):
        return None
