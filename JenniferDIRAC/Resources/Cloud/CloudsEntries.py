"""For people: which entries clouds.yaml has, and what there is at each place where it is looked for. No secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from JenniferDIRAC.Resources.Cloud.CloudsFile import BrokenFile, config_places, read_file
from JenniferDIRAC.Resources.Cloud.SafeHTTP import shown_url


@dataclass(frozen=True)
class CloudsEntry:
    """One cloud as its entry describes it."""

    name: str
    url: str = ""
    project: str = ""
    region: str = ""
    auth_type: str = ""


@dataclass(frozen=True)
class CloudsEntries:
    """``looked_at``: what was found at each place, in order; ``used`` is the first file that could be read."""

    looked_at: Mapping[Path, str]
    used: Path | None = None
    entries: tuple[CloudsEntry, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)


def read_clouds_entries() -> CloudsEntries:
    """The entries of the first clouds.yaml in openstacksdk's own order; one that cannot be used is told of."""
    looked_at: dict[Path, str] = {}
    used: Path | None = None
    clouds: Mapping[str, Any] = {}
    for path in config_places():
        state, content = _read(path)
        if content is not None and used is None:
            used, clouds, state = path, content, "used"
        elif content is not None:
            state = "not used: the first that is found counts"
        looked_at[path] = state
    entries = tuple(_entry(str(name), options) for name, options in clouds.items() if isinstance(options, Mapping))
    return CloudsEntries(looked_at, used, entries)


def _read(path: Path) -> tuple[str, Mapping[str, Any] | None]:
    """A file's state in words, and its clouds if it can be used."""
    try:
        content = read_file(path)
    except FileNotFoundError:
        return "not there", None
    except OSError as error:
        return f"cannot be read: {error.strerror}", None
    except BrokenFile as error:
        if not error.is_text:
            return "cannot be read: not a text", None
        if error.line:
            return f"no valid YAML (line {error.line})", None
        # such as an unquoted 2024-13-45, which YAML takes for a day
        return "cannot be read: a value is not what it looks like, put it into quotes", None
    clouds = content.get("clouds") if isinstance(content, Mapping) else None
    return ("", clouds) if isinstance(clouds, Mapping) else ("has no mapping 'clouds'", None)


def _entry(name: str, options: Mapping[str, Any]) -> CloudsEntry:
    auth = options.get("auth")
    auth = auth if isinstance(auth, Mapping) else {}
    project = auth.get("project_name") or auth.get("project_id") or ""
    url = str(auth.get("auth_url") or options.get("profile") or "")
    auth_type = options.get("auth_type") or "password"
    region = str(options.get("region_name") or "")
    return CloudsEntry(name, shown_url(url), str(project), region, str(auth_type))
