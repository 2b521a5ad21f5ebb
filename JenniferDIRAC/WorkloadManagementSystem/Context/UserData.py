"""Renders a VM's user-data from a cloud-init template, and refuses what a cloud or cloud-init would not take."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections.abc import Sized
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment, SecurityError

from JenniferDIRAC.ConfigurationSystem.StrictModel import did_you_mean
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_bootstrap, packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.Settings import envelope, settings_in_user_data
from JenniferDIRAC.WorkloadManagementSystem.Context.TemplateLayers import merge
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, VMContext, context_errors

TEMPLATES = Path(__file__).parents[2] / "templates"
PARTS = TEMPLATES / "parts"
SUFFIX = ".yaml.j2"
PROGRAM_PATH = "/opt/jennifer/jennifer-vm"
SETTINGS_PATH = "/etc/jennifer/vm.json"
HEADER = "#cloud-config"
LARGEST_PRODUCT = 10**6  # items; far more than any cloud takes as user-data


@dataclass(frozen=True)
class GuestFile:
    """A file that the template has cloud-init write, owned by root; ``mode`` is octal digits."""

    path: str
    content: str | bytes | Secret
    mode: str


def render_user_data(context: VMContext, max_bytes: int = CloudEndpoint.max_user_data_bytes) -> bytes:
    """The user-data of one VM.

    :param max_bytes: what the cloud takes (``CloudEndpoint.max_user_data_bytes``)
    :raises ContextError: no such template, an error in it, a value it wants and nobody has, or too large a result
    """
    path, *parts = template_files(context)
    values = {
        "vm": context,
        "files": guest_files(context),
        "program": PROGRAM_PATH,
        "bootstrap": packed_bootstrap(),
        "refuse": _refuse,
    }
    user_data = _render(path, values)
    config = _read_cloud_config(path, user_data.decode())
    if parts:
        for part, named in zip(parts, context.template_parts, strict=True):
            merge(config, _read_cloud_config(part, _render(part, values).decode()), str(named))
        user_data = _dump(config, f"template {context.template} with {', '.join(map(str, context.template_parts))}")
    if len(user_data) > max_bytes:
        raise ContextError(
            f"user-data of template {path} has {len(user_data)} bytes, and the cloud takes {max_bytes}; take the "
            f"template minimal with a Gateway, or name fewer certificates in TrustAnchors"
        )
    return user_data


def sealed_content(context: VMContext, user_data: bytes) -> dict[str, Any]:
    """What the gateway has for the bearer of the ticket in these user-data: the envelope, with the program if they
    bring none. It holds the credential: to be sealed, not shown.
    """
    files = yaml.safe_load(user_data).get("write_files")
    if isinstance(files, list) and any(isinstance(file, dict) and file.get("path") == PROGRAM_PATH for file in files):
        return envelope(context)
    return {**envelope(context), "program": base64.b64encode(packed_program()).decode()}


def template_files(context: VMContext) -> tuple[Path, ...]:
    """The files of the template and its parts; each may include others that lie beside it.

    :raises ContextError: there is no such template, or part
    """
    parts = (find_template(part.name, PARTS) for part in context.template_parts)
    return (find_template(context.template), *parts)


def find_template(name: str, directory: Path = TEMPLATES) -> Path:
    """The file of a template: a name of the package's own, or the absolute path of a file of this host.

    :raises ContextError: there is none, or this process may not look for it
    """
    if name.startswith("/"):
        path = Path(name)
        try:
            found = path.is_file()
        except OSError as error:
            raise ContextError(f"template {name}: expected a readable file, found: {error.strerror}") from None
        if not found:
            raise ContextError(f"template {name}: expected a file of this host, found none")
        return path
    names = sorted(file.name.removesuffix(SUFFIX) for file in directory.glob(f"*{SUFFIX}"))
    if name not in names:
        hint = did_you_mean(name, names)
        raise ContextError(f"template {name}: expected one of {', '.join(names)}, or a path{f' ({hint})' * bool(hint)}")
    return directory / f"{name}{SUFFIX}"


def guest_files(context: VMContext) -> tuple[GuestFile, ...]:
    """The files that every VM gets: the in-VM program, its settings, and its ticket for the rest or, where there is no
    gateway, its credential.

    :raises ContextError: a value of the context cannot be written as JSON
    """
    with context_errors(f"settings of {context.name}"):
        settings = json.dumps(settings_in_user_data(context), indent=1, sort_keys=True)
    gateway = context.gateway
    secrets = context.credential.files if gateway is None else {gateway.TICKET_PATH: gateway.ticket}
    return (
        GuestFile(PROGRAM_PATH, packed_program(), "0755"),
        GuestFile(SETTINGS_PATH, settings, "0600"),
        *(GuestFile(path, secret, "0600") for path, secret in secrets.items()),
    )


def _refuse(text: str) -> None:
    """For templates: what stands against their use."""
    raise ContextError(text)


def _dump(config: dict[str, Any], made_of: str) -> bytes:
    text = yaml.safe_dump(config, sort_keys=False, width=LARGEST_PRODUCT)
    return f"{HEADER}\n# {_as_yaml(made_of)}\n{text}".encode()


class _Environment(SandboxedEnvironment):
    """The sandbox, in which a slip of the pen cannot fill the memory and a secret gives itself to filters only."""

    intercepted_binops = frozenset({"*"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for text, times in ((left, right), (right, left)):
            if isinstance(text, Sized) and isinstance(times, int) and len(text) * times > LARGEST_PRODUCT:
                raise SecurityError(f"a product of more than {LARGEST_PRODUCT} items")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # a credential reveals itself too, for the envelope
        hidden = isinstance(obj, Secret) or attr == "reveal"
        return not hidden and super().is_safe_attribute(obj, attr, value)


class _Beside(FileSystemLoader):
    """Templates of one directory, so that it can be seen when one changes."""

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Any]:
        if "/" in template:
            raise TemplateNotFound(template, f"{template}: expected a file beside the template")
        return super().get_source(environment, template)


def _render(path: Path, values: dict[str, Any]) -> bytes:
    environment = _Environment(loader=_Beside(path.parent), undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters.update(yaml=_as_yaml, sh=shlex.quote, b64=_as_base64, gz_b64=_as_gzip)
    try:
        return environment.get_template(path.name).render(values).encode()
    except ContextError as error:
        raise ContextError(f"template {path}: {error}") from None
    except TemplateSyntaxError as error:
        raise ContextError(f"template {error.filename}, line {error.lineno}: {error.message}") from None
    except (UndefinedError, SecurityError) as error:
        raise ContextError(f"template {_template_line(error, path)}: {_without_secrets(error.message)}") from None
    except UnicodeDecodeError as error:
        raise ContextError(f"template {_template_line(error, path)}: expected UTF-8, found other bytes") from None
    except OSError as error:
        where, found = _template_line(error, path), _without_secrets(error.strerror or f"no file {error}")
        raise ContextError(f"template {where}: expected a readable file, found: {found}") from None
    except Exception as error:  # a template can raise whatever Python can
        # Its text may quote an argument, which may be a secret.
        where = _template_line(error, path)
        raise ContextError(f"template {where}: {type(error).__name__} in a filter or expression") from None


def _without_secrets(text: str | None) -> str:
    """A text without its long words: lines of PEM and base64 have 64 characters and more."""
    return re.sub(r"[^\s'\"]{40,}", "<long word>", text or "no reason")


def _template_line(error: BaseException, path: Path) -> str:
    """File and line of the innermost frame that stands in a template (Jinja2 rewrites tracebacks to show them)."""
    where = str(path)
    for frame, line in walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if Path(file).parent == path.parent:
            where = f"{file}, line {line}"
    return where


def _read_cloud_config(path: Path, rendered: str) -> dict[str, Any]:
    if rendered.split("\n", 1)[0].rstrip() != HEADER:
        raise ContextError(f"template {path}: expected {HEADER} as the first line, found something else")
    try:
        config = yaml.safe_load(rendered)
    except yaml.YAMLError as error:
        problem = _without_secrets(getattr(error, "problem", None))
        line = _yaml_line(getattr(error, "problem_mark", None))
        raise ContextError(f"template {path}{line}: expected YAML, found {problem}") from None
    except Exception as error:  # of the constructors of YAML's types, which check little
        line = _yaml_line(_constructed_at(error))
        raise ContextError(f"template {path}{line}: expected YAML, found {type(error).__name__} in a value") from None
    if not isinstance(config, dict):
        raise ContextError(f"template {path}: expected a YAML mapping, found {type(config).__name__}")
    return config


def _constructed_at(error: BaseException) -> yaml.Mark | None:
    """Where the innermost node stands that PyYAML was making a value of."""
    frames = [frame.f_locals.get("node") for frame, _ in walk_tb(error.__traceback__)]
    marks = [node.start_mark for node in frames if isinstance(node, yaml.Node)]
    return marks[-1] if marks else None


def _yaml_line(mark: yaml.Mark | None) -> str:
    return f", line {mark.line + 1} of its result" if mark else ""


def _as_yaml(value: Any) -> str:
    """A value as YAML on one line: JSON, with the characters that YAML would misread escaped as YAML has it."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else f"\\U{ord(char):08X}" for char in text)


def _plain(value: str | bytes | Secret) -> bytes:
    plain = value.reveal() if isinstance(value, Secret) else value
    return plain if isinstance(plain, bytes) else plain.encode()


def _as_base64(value: str | bytes | Secret) -> str:
    return base64.b64encode(_plain(value)).decode()


def _as_gzip(value: str | bytes | Secret) -> str:
    """For ``encoding: gz+b64``; the same content gives the same text."""
    # The program is the same for all VMs, and what is a VM's own is not to be remembered.
    return _gzipped_program(value) if isinstance(value, bytes) else _gzipped(_plain(value))


def _gzipped(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


_gzipped_program = lru_cache(maxsize=4)(_gzipped)
