"""Entries of clouds.yaml and secure.yaml, found where all OpenStack tools look for them.

openstacksdk finds, merges and reads the files; it passes over one with a mistake in it and logs the line, which may
hold a password. Here that is an error, which says what to mend and where.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import exceptions as keystone
from keystoneauth1 import loading
from openstack.config import OpenStackConfig, loader
from openstack.config.cloud_region import CloudRegion

from JenniferDIRAC.ConfigurationSystem.StrictModel import did_you_mean
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected
from JenniferDIRAC.Resources.Cloud.Secret import Secret

_NOT_A_CLOUD = "defaults"  # what openstacksdk makes up when there is no file
_log = logging.getLogger(__name__)


def load_entry(name: str, cloud: str) -> tuple[CloudRegion, tuple[Secret, ...]]:
    """An entry of clouds.yaml with what secure.yaml adds to it, and the secrets in it. Nothing is contacted.

    :param name: the endpoint's name, for messages
    :raises Rejected: it cannot be used; the text says what to mend, and in which file
    """
    where = f"{name}: entry {cloud} of clouds.yaml"
    unreadable = _check_files(name)
    try:
        config = OpenStackConfig(app_name="JenniferDIRAC")
        entries = [entry for entry in config.get_cloud_names() if entry != _NOT_A_CLOUD]
        files = [file for file in (config.config_filename, config.secure_config_filename) if file]
        if cloud not in entries:
            raise Rejected(_no_entry(where, cloud, files, unreadable, entries))
        where = f"{name}: entry {cloud} of {' and '.join(files)}"
        region = config.get_one(cloud)
        auth_type, auth = str(region.config["auth_type"]), region.get_auth_args()
        addresses = {name: value for name, value in region.config.items() if name.endswith("endpoint_override")}
        for option, address in {"auth: auth_url": auth.get("auth_url"), **addresses}.items():
            if _has_user(str(address)):  # addresses are shown
                raise Rejected(f"{where}: {option}: expected no user name and password in the address, found some")
        if auth_type in ("password", "v3password") and not auth.get("password"):  # keystoneauth would send null
            raise Rejected(f"{where}: auth: expected a value for password, found nothing")
        options = loading.get_plugin_options(auth_type)
        region.get_session()  # kept there; it reads the rest of the entry
    except Rejected:
        raise
    except keystone.MissingRequiredOptions as error:
        missing = ", ".join(str(option.dest) for option in error.options)
        raise Rejected(f"{where}: auth: expected a value for {missing}, found nothing") from None
    except keystone.NoMatchingPlugin as error:
        known = did_you_mean(error.name, loading.get_available_plugin_names())
        raise Rejected(f"{where}: auth_type: expected a kind of login, found {error.name}. {known}".rstrip()) from None
    except keystone.AuthPluginException as error:
        raise Rejected(f"{where}: auth: {error}") from None
    except Exception as error:  # its reader expects well-formed entries and fails in many ways at others
        raise Rejected(f"{where}: openstacksdk cannot use it: {type(error).__name__}: {error}") from None
    secrets = tuple(Secret(str(auth[option.dest])) for option in options if option.secret and auth.get(option.dest))
    for file in files:
        _warn_if_open(Path(file), secrets)
    return region, secrets


class BrokenFile(Exception):
    """What is wrong with a file, without a word of it: PyYAML quotes what it stumbles over, such as a password that
    begins with * or !. ``line`` 0: not known; ``is_text``: it is in UTF-8 at least."""

    def __init__(self, words: str, line: int = 0, is_text: bool = True):
        super().__init__(words)
        self.line = line
        self.is_text = is_text


def read_file(file: Path) -> Any:
    """The content of a clouds.yaml or of one of its other forms.

    :raises OSError: it is not there, or may not be read
    :raises BrokenFile: it is no YAML or JSON
    """
    text = file.read_bytes()
    try:
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text.decode())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        where = f" in line {line}" if line else ""
        raise BrokenFile(f"is no YAML{where}; a value with special characters needs quotes", line) from None
    except (ValueError, yaml.YAMLError) as error:
        is_text = not isinstance(error, UnicodeDecodeError)
        raise BrokenFile(f"cannot be read: {type(error).__name__}", is_text=is_text) from None


def config_places() -> list[Path]:
    """Where openstacksdk looks for a clouds.yaml, in its order; the first that can be read counts."""
    return _places("OS_CLIENT_CONFIG_FILE", loader.CONFIG_FILES)


def _secure_places() -> list[Path]:
    return _places("OS_CLIENT_SECURE_FILE", loader.SECURE_FILES)


def _places(variable: str, files: Iterable[str]) -> list[Path]:
    chosen = os.environ.get(variable)
    return list(dict.fromkeys(Path(file).absolute() for file in ([chosen] if chosen else []) + list(files)))


def _check_files(name: str) -> list[str]:
    """Those that exist and may not be read, which openstacksdk passes over.

    :raises Rejected: one is broken, and no better one comes before it; which one would be used instead is anybody's
        guess
    """
    unreadable: list[str] = []
    for places in (config_places(), _secure_places()):
        for file in places:
            try:
                read_file(file)
                break
            except BrokenFile as error:
                raise Rejected(f"{name}: {file} {error}") from None
            except FileNotFoundError:
                continue
            except OSError as error:
                unreadable.append(f"{file} ({error.strerror})")
    return unreadable


def _has_user(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]


def _no_entry(where: str, cloud: str, files: Iterable[str], unreadable: Iterable[str], entries: Iterable[str]) -> str:
    entries = sorted(entries)
    if entries:
        found = f"there is none in {', '.join(files)}, which has {', '.join(entries)}. {did_you_mean(cloud, entries)}"
    else:
        homes = ", ".join(dict.fromkeys(str(file.parent) for file in config_places() + _secure_places()))
        found = f"there is no clouds.yaml with an entry in {homes}, and OS_CLIENT_CONFIG_FILE names none"
    skipped = f"; passed over: {', '.join(unreadable)}" if unreadable else ""
    return f"{where}: {found}".rstrip() + skipped


def _warn_if_open(file: Path, secrets: Iterable[Secret]) -> None:
    mode = file.stat().st_mode
    if mode & 0o044 and any(secret.reveal() in file.read_text() for secret in secrets):
        _log.warning("%s holds a secret and others may read it: chmod 600 %s", file, file)
