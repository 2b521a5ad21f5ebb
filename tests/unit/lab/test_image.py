"""Where the golden image comes from; its contents are tried by booting it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lab.image
from lab.dirac import LabError
from lab.image import golden_image


@pytest.fixture
def built(tmp_path) -> Path:
    """Where the image belongs."""
    build = Path(lab.image.__file__).with_name("build.sh")
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [build, "--where", tmp_path / "image"]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert os.listdir(tmp_path) == []
    return Path(result)


@pytest.fixture
def sudo(tmp_path_factory, monkeypatch) -> Path:
    """We are a user who has to give a password; the file says what was asked of sudo."""
    directory = tmp_path_factory.mktemp("bin")
    asked, program = directory / "asked", directory / "sudo"
    program.write_text(f'#!/bin/sh\nprintf "%s " "$@" >"{asked}"\necho "a password is required" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return asked


def test_a_user_with_a_built_image_needs_no_sudo(tmp_path, built, sudo):
    built.mkdir(parents=True)
    (built / "golden.qcow2").write_text("the image")
    assert golden_image(tmp_path / "images").read_text() == "the image"
    assert not sudo.exists()


def test_a_user_without_one_is_never_waited_for_and_told_what_to_do(tmp_path, sudo):
    with pytest.raises(LabError, match="sudo -v(.|\n)*a password is required"):
        golden_image(tmp_path / "images")
    words = sudo.read_text().split()
    assert words[0] == "-n"
    assert f"OWNER={os.getuid()}:{os.getgid()}" in words
    assert (tmp_path / "image").stat().st_uid == os.getuid()
