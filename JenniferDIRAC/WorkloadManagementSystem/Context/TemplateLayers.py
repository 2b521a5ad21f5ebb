"""Merges cloud-configs, layer by layer: what cloud-init's own merging would do differently in every version.

Lists add up, mappings are merged deeply, and of two values the later layer's stands. The commands of ``runcmd`` are
ordered: the last one of the template starts the in-VM program, which does not return, so the parts' come before it.
"""

from __future__ import annotations

from typing import Any

from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError

_COMMANDS = "runcmd"


def merge(config: dict[str, Any], part: dict[str, Any], name: str) -> None:
    """Merge a part into the config.

    :param name: of the part, for errors
    :raises ContextError: one has a list or mapping where the other has something else
    """
    commands = config.get(_COMMANDS)
    start = [commands.pop()] if commands and isinstance(commands, list) else []
    _merge(config, part, name, "")
    if start:
        config[_COMMANDS] += start


def _merge(config: dict[Any, Any], part: dict[Any, Any], name: str, place: str) -> None:
    for key, new in part.items():
        old = config.get(key)
        if old is None or new is None:
            config[key] = new if old is None else old
        elif _kind(old) != _kind(new):
            raise ContextError(f"part {name}, {place}{key}: expected {_kind(old)}, as before it, found {_kind(new)}")
        elif isinstance(old, dict):
            _merge(old, new, name, f"{place}{key}.")
        else:
            config[key] = old + new if isinstance(old, list) else new


def _kind(value: Any) -> str:
    return {dict: "a mapping", list: "a list"}.get(type(value), "a value")
