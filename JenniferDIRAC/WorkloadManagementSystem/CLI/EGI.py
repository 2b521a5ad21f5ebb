"""``egi``: an entry of clouds.yaml for a site of the EGI Federated Cloud, from EGI's public directories."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected
from JenniferDIRAC.Resources.Cloud.CloudsEntries import CloudsEntry
from JenniferDIRAC.Resources.Cloud.EGIDirectory import EGIDirectory, EGISite, clouds_entry
from JenniferDIRAC.Resources.Cloud.SafeHTTP import host


def directory(information_service: str, gocdb: str) -> EGIDirectory:
    """The public one, with its answers kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jenniferdirac/egi"
    return EGIDirectory(cache, information_service, gocdb)


def entry_name(site: str, vo: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", f"{site}-{vo}".lower()).strip("-.")


def token_file(vo: str) -> str:
    return f"~/.config/openstack/checkin-{entry_name('', vo)}.token"


def entry(found: EGISite, name: str, file: str) -> dict[str, Any]:
    """The content of a clouds.yaml with that entry only."""
    return {"clouds": {name: clouds_entry(found, file)}}


def check_pin(found: EGISite, name: str, entries: Iterable[CloudsEntry]) -> None:
    """:raises Rejected: there is an entry of that name, and it is another host's"""
    old = next((entry for entry in entries if entry.name == name and entry.url), None)
    if old and _host(old.url) != _host(found.auth_url):
        raise Rejected(
            f"the entry {name} is pinned to {old.url}, and the {found.source.value} says {found.auth_url} for "
            f"{found.site}. If the site has moved, ask it, and change auth_url in clouds.yaml by hand; --cloud NAME "
            "prints an entry of another name"
        )


def _host(url: str) -> tuple[str, int] | None:
    try:
        return host(urlsplit(url))
    except ValueError:
        return None


def as_yaml(found: EGISite, name: str, file: str, known: Iterable[str]) -> str:
    """A clouds.yaml that explains itself."""
    age = f"{found.age.total_seconds() / 3600:.1f} hours ago, and does not answer now" if found.stale else "now"
    lines = [f"# {found.vo} at {found.site}: so said the {found.source.value} {age}."]
    if not found.project_id:
        lines.append("# It does not know the project: add project_id below (the site tells which).")
    if name in known:
        lines.append(f"# There is an entry {name} already: give this one another name with --cloud.")
    lines += [
        "# Put it below 'clouds:' of ~/.config/openstack/clouds.yaml (which may stand there only once), and a refresh",
        "# token of https://aai.egi.eu/token into",
        f"# {file}, mode 0600; then: dirac-admin-cloud discover {name}",
    ]
    return "\n".join(lines) + "\n" + yaml.safe_dump(entry(found, name, file), sort_keys=False, width=1000)
