"""What is told of clouds.yaml, and what is not."""

import pytest
import yaml

from JenniferDIRAC.Resources.Cloud.CloudsEntries import read_clouds_entries

GRIF = {"region_name": "R", "auth": {"auth_url": "https://grif/v3", "project_name": "belle", "password": "hush"}}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The clouds.yaml that counts, and the only one."""
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "other.yaml")])
    return path


def test_entries_are_listed_without_their_secrets(file):
    file.write_text(yaml.safe_dump({"clouds": {"grif": GRIF, "egi": {"auth_type": "v3oidcrefreshtoken"}}}))
    found = read_clouds_entries()
    assert found.used == file
    assert [(one.name, one.url, one.project, one.auth_type) for one in found.entries] == [
        ("egi", "", "", "v3oidcrefreshtoken"),
        ("grif", "https://grif/v3", "belle", "password"),
    ]
    assert "hush" not in repr(found)


def test_an_address_with_a_password_is_not_shown(file):
    auth = {"auth_url": "https://me:hush@grif/v3"}
    file.write_text(yaml.safe_dump({"clouds": {"grif": {"auth": auth}, "napoli": {"profile": auth["auth_url"]}}}))
    found = read_clouds_entries()
    assert {one.url for one in found.entries} == {"https://<secret>@grif/v3"}
    assert "hush" not in repr(found)


def test_a_file_that_is_found_first_hides_the_others(file, tmp_path):
    file.write_text(yaml.safe_dump({"clouds": {"grif": GRIF}}))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"clouds": {"napoli": GRIF}}))
    found = read_clouds_entries()
    assert found.names == ("grif",)
    assert "not used" in found.looked_at[tmp_path / "other.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clouds:\n  grif: {password: hush", "no valid YAML (line 2)"),
        ("- a list", "has no mapping 'clouds'"),
        ("clouds: grif", "has no mapping 'clouds'"),
        ("", "has no mapping 'clouds'"),
        (
            "clouds: {grif: {region_name: 2024-13-45}}",
            "cannot be read: a value is not what it looks like, put it into quotes",
        ),
        (None, "not there"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_of_and_passed_over(file, tmp_path, text, said):
    if text is not None:
        file.write_text(text)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"clouds": {"napoli": GRIF}}))
    found = read_clouds_entries()
    assert found.looked_at[file] == said
    assert found.names == ("napoli",)


def test_odd_entries_do_no_harm(file):
    file.write_text(yaml.safe_dump({"clouds": {"grif": "text", 7: {"auth": ["a"]}, "none": None}}))
    assert read_clouds_entries().names == ("7",)
