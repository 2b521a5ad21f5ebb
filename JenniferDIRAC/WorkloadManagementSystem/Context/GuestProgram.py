"""Packs the in-VM program, a package of small modules, into the one file that a VM gets and Python runs."""

from __future__ import annotations

import ast
import hashlib
import io
import re
import zipfile
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).with_name("jennifer_vm")
BOOTSTRAP = Path(__file__).with_name("GuestBootstrap.py")
SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"from jennifer_vm.Life import from_command_line\n\nfrom_command_line()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of zip files; the same modules give the same bytes


@cache
def packed_program() -> bytes:
    """A zip of the modules that starts with a line for the shell.

    They stand in it as they are: user-data is compressed as a whole, which does better than one by one.
    """
    modules = {f"{PACKAGE.name}/{path.name}": path.read_bytes() for path in PACKAGE.glob("*.py")}
    modules.pop(f"{PACKAGE.name}/__main__.py")  # the package's; a zip has its own
    packed = io.BytesIO()
    packed.write(SHEBANG)
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted({"__main__.py": _MAIN, **modules}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


@cache
def packed_bootstrap() -> bytes:
    """The bootstrap without what only its readers need: a cloud may have little room for it."""
    tree = ast.parse(BOOTSTRAP.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return re.sub(r"^ +", lambda indent: indent[0][::4], ast.unparse(tree), flags=re.MULTILINE).encode()


def is_packed(content: bytes) -> bool:
    """Whether this is a zip that a shell can start."""
    return content.startswith(b"#!") and zipfile.is_zipfile(io.BytesIO(content))


def described_program(content: bytes) -> str:
    """For people: what is in it, with the beginnings of the SHA-256 (``jennifer-vm --version`` tells the whole's)."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        modules = {name: archive.read(name) for name in archive.namelist()}
    lines = [f"{_digest(content)}  a zip of {len(modules)} modules, {len(content)} bytes"]
    lines += [f"{_digest(text)}  {name}, {len(text.splitlines())} lines" for name, text in modules.items()]
    return "\n".join(lines) + "\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
