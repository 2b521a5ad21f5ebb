"""The in-VM program as one file: the same bytes each time, any Python from 3.6, nothing but the standard library."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from guest_directory import PYTHON, program_file, pythons

from JenniferDIRAC.WorkloadManagementSystem.Context import GuestProgram
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import PACKAGE, described_program, packed_program

MODULES = sorted(PACKAGE.glob("*.py"))
# What the machine would hear of: none of these may come before the first word.
SLOW = {"ssl", "http", "http.client", "urllib.request", "hashlib", "subprocess", "tarfile", "tempfile", "threading"}


def run(*arguments, python=PYTHON):
    return subprocess.run([python, program_file(), *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_a_shell_can_start_it():
    assert packed_program().startswith(b"#!/usr/bin/env python3\n")


def test_the_same_modules_give_the_same_bytes():
    GuestProgram.packed_program.cache_clear()
    before = packed_program()
    GuestProgram.packed_program.cache_clear()
    assert packed_program() == before


def test_every_module_is_in_it():
    with zipfile.ZipFile(io.BytesIO(packed_program())) as archive:
        names = archive.namelist()
        packed = {name: archive.read(name) for name in names}
    assert names == sorted(names)
    for path in MODULES:
        if path.name != "__main__.py":
            assert packed[f"jennifer_vm/{path.name}"] == path.read_bytes()


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{major}.{minor}") for (major, minor), path in pythons()])
def test_the_packed_file_tells_the_version_that_a_preview_shows(python):
    ran = run("--version", python=python)
    assert ran.returncode == 0, ran.stderr
    digest = ran.stdout.split()[-1]
    assert described_program(packed_program()).startswith(f"{digest}  a zip of ")


def test_a_description_names_every_module():
    lines = described_program(packed_program()).splitlines()
    assert len(lines) == len(MODULES) + 1
    assert any("jennifer_vm/Heartbeat.py, " in line for line in lines)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--root",)])
def test_a_machine_that_is_no_vm_stays_on(arguments):
    """Which this test would not survive otherwise: there are no settings here."""
    assert not Path("/etc/jennifer/vm.json").exists()
    ran = run(*arguments)
    assert ran.returncode == 1
    assert "this is no VM" in ran.stderr or "usage" in ran.stderr


def test_a_life_in_a_directory_leaves_the_machine_on(vm):
    vm.file("etc/jennifer/vm.json", "{}")
    ran = run("--root", str(vm.root))
    assert "the machine stays on" in ran.stdout
    assert "@jennifer unknown end code=500" in vm.console.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_is_python_3_6(path):
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_nothing_newer_than_python_3_6_is_used():
    vermin = Path(sys.executable).with_name("vermin")
    command = [sys.executable, vermin, "-t=3.6-", "--no-tips", "--violations", *MODULES]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_needs_nothing_but_the_standard_library_and_its_neighbours(path):
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names |= {node.module for node in imported if not node.level}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    assert {node.module for node in imported if node.level} <= {module.stem for module in MODULES}


def test_the_first_word_waits_for_no_slow_import():
    start = f"import sys; sys.path.insert(0, {str(program_file())!r}); before = set(sys.modules)"
    command = [PYTHON, "-c", f"{start}; import jennifer_vm.Life; print(*sorted(set(sys.modules) - before))"]
    loaded = set(subprocess.check_output(command, text=True).split())
    assert loaded & SLOW == set()
    ours = {name.partition(".")[2] for name in loaded if name.startswith("jennifer_vm.")}
    assert ours == {"Life", "Console", "Ends", "Interrupts", "Machine"}
