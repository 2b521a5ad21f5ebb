"""User-data on a drive that any machine can boot with."""

import json
import os
import subprocess

import pytest

from JenniferDIRAC.WorkloadManagementSystem.CLI.Seed import check_target, write_drive

USER_DATA = b"#cloud-config\nruncmd: [[echo, hello]]\n"


def on_the_drive(iso, directory):
    extract = ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", directory]
    volume = subprocess.run(extract, check=True, capture_output=True, text=True).stderr
    return volume, {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_drive_is_what_cloud_init_looks_for(tmp_path):
    iso = tmp_path / "seed.iso"
    told = write_drive(iso, USER_DATA)
    volume, files = on_the_drive(iso, tmp_path / "seen")
    assert "cidata" in volume
    assert files["user-data"] == USER_DATA
    assert json.loads(files["meta-data"])["instance-id"] == told["instance"]
    assert told == {"iso": str(iso), "instance": told["instance"], "bytes": iso.stat().st_size}
    assert os.listdir(tmp_path) != [] and not list(tmp_path.glob(".seed-*"))


def test_a_machine_acts_on_each_drive_anew(tmp_path):
    first, second = (write_drive(tmp_path / name, USER_DATA)["instance"] for name in ("a.iso", "b.iso"))
    assert first != second


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("dear to me")
    with pytest.raises(OSError, match="mine: expected a file that is not there yet"):
        check_target(tmp_path / "mine")


def test_a_directory_that_is_none_is_told(tmp_path):
    with pytest.raises(OSError, match="no/seed.iso: expected a directory to write it in"):
        check_target(tmp_path / "no" / "seed.iso")


def test_a_host_without_xorriso_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="install the package xorriso"):
        write_drive(tmp_path / "seed.iso", USER_DATA)
    assert list(tmp_path.iterdir()) == []


def test_what_xorriso_has_against_it_is_told(tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "xorriso"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho the disk is full >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(OSError, match="the disk is full"):
        write_drive(tmp_path / "seed.iso", USER_DATA)
    assert not (tmp_path / "seed.iso").exists()
