"""The lab's OpenStack as those who use it see it: accounts, projects, quotas, tokens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import openstack
import requests
from openstack.connection import Connection

from lab.common.errors import LabError

PASSWORD = "labsecret"
REGION = "RegionOne"
FLAVOR, HUGE_FLAVOR, IMAGE, NETWORK = "m1.nano", "m1.huge", "tiny", "public"
CLIENT_ID, CLIENT_SECRET = "dirac", "dirac-secret"
#: its refresh tokens are good for one use
ROTATING_CLIENT_ID, ROTATING_CLIENT_SECRET = "dirac-rotating", "rotating-secret"
#: client credentials; its access tokens are those of a member of vo.demo
SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET = "robot-service", "robot-secret"
IDENTITY_PROVIDER, PROTOCOL, OTHER_PROTOCOL = "egi.eu", "openid", "oidc"
#: what boots in the zone of the real host, with a flavor that has room for it
GOLDEN_IMAGE, GOLDEN_FLAVOR, REAL_ZONE = "golden", "m1.small", "real"
_UNLIMITED = -1
_FILE = "cloud.json"


@dataclass(frozen=True)
class Project:
    """A project with one user, who is a member of it and of nothing else."""

    id: str
    name: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Cloud:
    """Where the lab listens, and what an administrator does there.

    :param ca_file: the CA of the OIDC provider's certificate
    """

    keystone_port: int
    token_port: int
    oidc_port: int
    ca_file: Path
    other_token_port: int = 0

    @classmethod
    def load(cls, root: Path) -> Cloud:
        """Of the lab that is up in this directory.

        :raises LabError: there is none
        """
        try:
            told = json.loads((root / _FILE).read_text())
        except FileNotFoundError:
            raise LabError(f"no OpenStack lab is up in {root}: start it with ./run cloud up") from None
        return cls(**{**told, "ca_file": Path(told["ca_file"])})

    def save(self, root: Path) -> None:
        """For ``load``, until ``forget``."""
        (root / _FILE).write_text(json.dumps({**asdict(self), "ca_file": str(self.ca_file)}, indent=1))

    @staticmethod
    def forget(root: Path) -> None:
        (root / _FILE).unlink(missing_ok=True)

    @property
    def auth_url(self) -> str:
        """Keystone itself: passwords and application credentials."""
        return f"http://127.0.0.1:{self.keystone_port}/v3"

    @property
    def token_auth_url(self) -> str:
        """Keystone behind apache with mod_auth_openidc: access tokens too."""
        return f"http://127.0.0.1:{self.token_port}/v3"

    @property
    def other_token_auth_url(self) -> str:
        """The same Keystone as a site whose identity provider egi.eu has the protocol oidc, and no openid."""
        return f"http://127.0.0.1:{self.other_token_port}/v3"

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self.oidc_port}"

    @cached_property
    def admin(self) -> Connection:
        return self._connect(username="admin", password=PASSWORD, project_name="admin")

    def connect(self, project: Project) -> Connection:
        """As the project's user."""
        return self._connect(username=project.user, password=project.password, project_name=project.name)

    def connect_by_token(self, access_token: str, project: str, protocol: str = PROTOCOL, url: str = "") -> Connection:
        """With an access token of the OIDC provider.

        :param url: ``token_auth_url`` by default
        """
        return self._connect(
            "v3oidcaccesstoken",
            auth_url=url or self.token_auth_url,
            identity_provider=IDENTITY_PROVIDER,
            protocol=protocol,
            access_token=access_token,
            project_name=project,
        )

    def password_entry(self, project: Project) -> dict[str, Any]:
        """An entry of clouds.yaml, password included, for the project's user."""
        return {
            "region_name": REGION,
            "auth": {
                "auth_url": self.auth_url,
                "username": project.user,
                "password": project.password,
                "project_name": project.name,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
        }

    def application_credential_entry(self, project: Project) -> dict[str, Any]:
        """An entry of clouds.yaml with a new application credential of the project's user."""
        user = self.admin.identity.find_user(project.user, ignore_missing=False)
        made = self.connect(project).identity.create_application_credential(user=user, name=uuid.uuid4().hex)
        return {
            "region_name": REGION,
            "auth_type": "v3applicationcredential",
            "auth": {
                "auth_url": self.auth_url,
                "application_credential_id": made.id,
                "application_credential_secret": made.secret,
            },
        }

    def make_project(self, name: str = "", **quota: int) -> Project:
        """A new project and its user, without limits but those of ``quota`` (``instances``, ``cores``, ``ram`` MiB)."""
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        identity = self.admin.identity
        password = uuid.uuid4().hex
        made = identity.create_project(name=name, domain_id="default")
        user = identity.create_user(name=name, password=password, domain_id="default")
        identity.assign_project_role_to_user(made, user, identity.find_role("member"))
        project = Project(made.id, name, name, password)
        self.set_quota(project, **{"instances": _UNLIMITED, "cores": _UNLIMITED, "ram": _UNLIMITED, **quota})
        return project

    def set_quota(self, project: Project, **quota: int) -> None:
        """-1 is no limit."""
        self.admin.compute.update_quota_set(project.id, **quota)

    def servers(self, project: Project) -> list[Any]:
        """Without those that Nova lists as deleted for the moment in which it removes them."""
        listed = self.admin.compute.servers(all_projects=True, project_id=project.id)
        return [server for server in listed if server.status != "DELETED"]

    def remove_project(self, project: Project) -> None:
        """With its servers and its user."""
        compute, identity = self.admin.compute, self.admin.identity
        for server in self.servers(project):
            compute.delete_server(server, ignore_missing=True)
            compute.wait_for_delete(server, interval=0.2)
        identity.delete_user(identity.find_user(project.user))
        identity.delete_project(project.id)

    def refresh_token(self, subject: str, client_id: str = CLIENT_ID, lifetime: int | None = None) -> str:
        """Of a user of the OIDC provider, without a browser.

        :param subject: alice (vo.demo), bob (vo.other), robot (both), or anybody else, who is in no VO
        :param lifetime: seconds that its access tokens live, an hour by default
        """
        query = {"sub": subject, "client": client_id} | ({} if lifetime is None else {"ttl": str(lifetime)})
        answer = requests.get(f"{self.issuer}/test/mint", query, verify=str(self.ca_file), timeout=30)
        answer.raise_for_status()
        return answer.json()["refresh_token"]

    def set_access_token_lifetime(self, seconds: int) -> None:
        """Of all that are made from now on, but those whose refresh token was made with a lifetime of its own."""
        query = {"seconds": str(seconds)}
        requests.get(f"{self.issuer}/test/ttl", query, verify=str(self.ca_file), timeout=30).raise_for_status()

    def access_token(self, subject: str) -> str:
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return self._token({**form, "refresh_token": self.refresh_token(subject)})

    def service_access_token(self) -> str:
        form = {"client_id": SERVICE_CLIENT_ID, "client_secret": SERVICE_CLIENT_SECRET}
        return self._token({**form, "grant_type": "client_credentials", "scope": "openid eduperson_entitlement"})

    def _token(self, form: Mapping[str, str]) -> str:
        answer = requests.post(f"{self.issuer}/token", form, verify=str(self.ca_file), timeout=30)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def _connect(self, auth_type: str = "password", **auth: str) -> Connection:
        """A connection that takes nothing from the environment or from clouds.yaml."""
        user = {"user_domain_name": "Default"} if auth_type == "password" else {}
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_type=auth_type,
            region_name=REGION,
            auth={"auth_url": self.auth_url, "project_domain_name": "Default", **user, **auth},
        )
