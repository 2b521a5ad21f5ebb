"""The project's one command."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.dirac import FOREIGN_VARIABLES

CLONE = Path(__file__).parents[3]


def run(*arguments, home, clone=CLONE, **variables):
    environment = {**os.environ, "JENNIFERDIRAC_HOME": str(home), **variables}
    return subprocess.run([clone / "run", *arguments], env=environment, capture_output=True, text=True, check=False)


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path) -> Path:
    """``run`` without the project: its python is a program that says how it was called."""
    clone, venv = tmp_path / "my clone", tmp_path / "venv"
    clone.mkdir()
    shutil.copy(CLONE / "run", clone)
    shutil.copytree(CLONE / "lab", clone / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    program(clone / "lab/setup.sh", f"echo '{venv}'")
    program(venv / "bin/python", 'echo "$@"; env; [[ "$*" != *broken* ]]')
    return clone


def test_it_explains_itself(tmp_path):
    done = run(home=tmp_path)
    assert done.returncode == 0
    for word in ("./run demo", "./run test", "./run lab", "./run cloud", "./run status", "./run down", str(tmp_path)):
        assert word in done.stdout


def test_an_unknown_command_is_refused(tmp_path):
    done = run("dmeo", home=tmp_path)
    assert done.returncode == 2
    assert "unknown command 'dmeo'" in done.stderr


def test_down_and_status_set_nothing_up_where_nothing_ran(tmp_path):
    for command in ("down", "status"):
        done = run(command, home=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "No lab was started here" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demos_options_are_told_without_setting_anything_up(tmp_path):
    done = run("demo", "--help", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--keep" in done.stdout and "hyperk.org" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_down_reaches_every_lab_of_the_home_and_ends_with_the_worst_code(clone, tmp_path):
    home = tmp_path / "my home"
    for name in ("lab", "lab-broken", "lab-tests-7", "labelled by somebody else"):
        (home / name).mkdir(parents=True)
        if "else" not in name:
            (home / name / ".jenniferdirac-lab").touch()
    for name in ("openstack", "openstack-venv-1"):
        (home / name).mkdir()
    (home / "openstack/.jenniferdirac-openstack").touch()
    done = run("down", home=home, clone=clone)
    called = [line for line in done.stdout.splitlines() if line.startswith("-m")]
    labs = [f"-m lab.dirac down --root {home}/{name}" for name in ("lab", "lab-broken", "lab-tests-7")]
    assert called == [*labs, f"-m lab.openstack down --root {home}/openstack"]
    assert done.returncode == 1
    (home / "lab-broken/.jenniferdirac-lab").unlink()
    assert run("down", home=home, clone=clone).returncode == 0


def test_a_lab_whose_record_of_processes_is_lost_is_taken_down_all_the_same(tmp_path):
    """QEMU, found by its directory; what it runs is nothing: it waits to be continued."""
    server = tmp_path / "lab/qemu/grif/00000000-0000-4000-8000-000000000000"
    server.mkdir(parents=True)
    (tmp_path / "lab/.jenniferdirac-lab").touch()
    (server / "server.json").write_text(
        '{"name": "x", "metadata": {}, "image": "x", "flavor": "x", "cores": 1, "ram_mib": 64,'
        ' "created_at": "2026-01-01T00:00:00+00:00"}'
    )
    guest = ["qemu-system-x86_64", "-uuid", server.name, "-accel", "tcg", "-m", "16", "-nodefaults", "-S"]
    guest += ["-display", "none", "-serial", f"file:{server}/console.log"]
    command = [sys.executable, "-m", "lab.dirac"]
    with subprocess.Popen(guest) as qemu:
        try:
            shown = subprocess.run([*command, "status", "--root", tmp_path / "lab"], cwd=CLONE, capture_output=True)
            assert (shown.returncode, str(qemu.pid) in shown.stdout.decode()) == (1, True)
            done = subprocess.run([*command, "down", "--root", tmp_path / "lab"], cwd=CLONE, capture_output=True)
            assert (done.returncode, done.stderr) == (0, b"")
            assert qemu.wait(timeout=30) is not None
        finally:
            qemu.kill()
    assert not server.exists()


def test_nothing_foreign_reaches_the_project_and_programs_of_the_system_are_found(clone, tmp_path):
    told = run("test", "-k", "one", home=tmp_path, clone=clone, **dict.fromkeys(FOREIGN_VARIABLES, "x")).stdout
    variables = dict(line.split("=", 1) for line in told.splitlines()[1:] if "=" in line)
    assert told.splitlines()[0] == "-m pytest -k one"
    assert not set(FOREIGN_VARIABLES) & set(variables)
    path = variables["PATH"].split(":")
    assert path[0] == f"{tmp_path}/venv/bin"
    assert {"/usr/sbin", "/sbin"} <= set(path)


def test_what_openstack_needs_is_set_up_for_those_who_need_it(clone, tmp_path):
    program(clone / "lab/setup.sh", f"echo \"set up: $*\" >&2; echo '{tmp_path}/venv'")
    for words, asked in (
        (["test"], "openstack"),
        (["cloud", "up"], "openstack"),
        (["lab", "up"], ""),
        (["demo"], ""),
        (["demo", "--cloud", "openstack"], "openstack"),
    ):
        assert run(*words, home=tmp_path, clone=clone).stderr.splitlines() == [f"set up: {asked}"], words
    assert run("cloud", "up", home=tmp_path, clone=clone).stdout.startswith("-m lab.openstack up\n")


def test_a_bare_environment_is_enough(clone):
    done = subprocess.run([clone / "run", "test"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"HOME={pwd.getpwuid(os.getuid()).pw_dir}" in done.stdout.splitlines()


def test_ci_calls_exactly_the_tests(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(CLONE / ".ci/run", tmp_path / ".ci/run")
    program(tmp_path / "run", 'echo "$0 called with: $*"; exit 7')
    done = subprocess.run([tmp_path / ".ci/run"], capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.strip().endswith("/run called with: test")


def test_a_skipped_test_fails_the_run(tmp_path):
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "lab").symlink_to(CLONE / "lab")
    shutil.copy(CLONE / "tests/conftest.py", tmp_path / "tests")
    test = tmp_path / "tests/unit/test_it.py"
    codes = []
    for body in ("pass", "pytest.skip('no network')"):
        test.write_text(f"import pytest\n\ndef test_it():\n    {body}\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        codes.append(done.returncode)
    assert codes == [0, 1], done.stdout
    assert "every test has to run" in done.stdout
