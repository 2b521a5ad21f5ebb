"""What is wrong with clouds.yaml is told with the file, the entry and what to do."""

import logging
import os
from datetime import UTC, datetime

import pytest
import yaml

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected
from JenniferDIRAC.Resources.Cloud.CloudsFile import load_entry
from JenniferDIRAC.Resources.Cloud.OpenStackConnection import TIMEOUTS, OpenStackConnection
from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint
from JenniferDIRAC.Resources.Cloud.Secret import Secret

NAME = "CLOUD.Here.org/ce"
PASSWORD = "hush-hush-4711"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes clouds.yaml and secure.yaml, and nothing else is found."""
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [])
    monkeypatch.setattr("openstack.config.loader.SECURE_FILES", [])
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)

    def write(clouds=None, secure=None, mode=0o600):
        for variable, name, told in (
            ("OS_CLIENT_CONFIG_FILE", "clouds.yaml", clouds),
            ("OS_CLIENT_SECURE_FILE", "secure.yaml", secure),
        ):
            if told is not None:
                (tmp_path / name).write_text(told if isinstance(told, str) else yaml.safe_dump({"clouds": told}))
                (tmp_path / name).chmod(mode)
                monkeypatch.setenv(variable, os.fspath(tmp_path / name))
        return tmp_path / "clouds.yaml"

    return write


def entry(**auth):
    auth = {"auth_url": "https://keystone.invalid/v3", "username": "u", "password": PASSWORD, "project_id": "p"} | auth
    return {"auth": {word: value for word, value in auth.items() if value is not None}}


def test_an_entry_is_made_of_both_files_and_its_secrets_are_known(files):
    files({"grif": entry(password=None)}, {"grif": {"auth": {"password": PASSWORD}}})
    region, secrets = load_entry(NAME, "grif")
    assert region.get_auth_args()["password"] == PASSWORD
    assert secrets == (Secret(PASSWORD),)


def test_an_entry_that_does_not_exist_is_told_with_those_that_do(files):
    file = files({"grif": entry(), "napoli": entry()})
    with pytest.raises(Rejected, match="entry griff of clouds.yaml") as raised:
        load_entry(NAME, "griff")
    for words in (NAME, str(file), "grif, napoli", "did you mean grif?"):
        assert words in str(raised.value)


def test_without_any_file_the_places_are_told(files, monkeypatch):
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", ["/etc/openstack/clouds.yaml", "/etc/openstack/x.yml"])
    with pytest.raises(Rejected, match="no clouds.yaml with an entry in /etc/openstack, and OS_CLIENT_CONFIG_FILE"):
        load_entry(NAME, "grif")


@pytest.mark.parametrize("value", [f"{PASSWORD}: x", f"*{PASSWORD}", f"!{PASSWORD}", f"'{PASSWORD}", f"%{PASSWORD}"])
def test_a_file_with_a_mistake_is_named_with_its_line_and_no_word_of_it(files, caplog, value):
    file = files(f"clouds:\n  grif:\n    auth:\n      password: {value}\n")
    with pytest.raises(Rejected) as raised:
        load_entry(NAME, "grif")
    assert f"{file} is no YAML in line " in str(raised.value)
    assert PASSWORD not in str(raised.value) + caplog.text


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list", "clouds:\n", "clouds: [1]", "clouds: {grif: }"])
def test_a_file_that_holds_no_entry_is_rejected(files, text):
    files(text)
    with pytest.raises(Rejected, match=f"^{NAME}: entry grif of .*clouds.yaml"):
        load_entry(NAME, "grif")


def test_a_file_that_is_no_text_is_rejected(files, tmp_path):
    file = files({})
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Rejected, match="clouds.yaml cannot be read: Unicode"):
        load_entry(NAME, "grif")


def test_a_file_that_cannot_be_opened_is_named(files, tmp_path, monkeypatch):
    files({"napoli": entry()})
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", os.fspath(tmp_path / "sub"))
    with pytest.raises(Rejected, match=r"passed over: .*/sub \(Is a directory\)"):
        load_entry(NAME, "grif")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (entry(password=None), "auth: expected a value for password, found nothing"),
        (
            {"auth_type": "v3oidcaccesstoken", "auth": {"auth_url": "https://k.invalid"}},
            "auth: expected a value for identity_provider, protocol",
        ),
        (
            {"auth_type": "v3applicationcredential", "auth": {"auth_url": "https://k.invalid"}},
            "auth: You must provide either an application credential ID",
        ),
        (entry() | {"auth_type": "v3pasword"}, "expected a kind of login, found v3pasword. did you mean v3password"),
        (entry(auth_url=f"https://u:{PASSWORD}@k.invalid/v3"), "auth: auth_url: expected no user name"),
        (
            entry() | {"compute_endpoint_override": f"https://u:{PASSWORD}@k.invalid"},
            "compute_endpoint_override: expected no user name",
        ),
        (entry() | {"auth": PASSWORD}, "openstacksdk cannot use it"),
        (entry() | {"auth": [{"password": PASSWORD}]}, "openstacksdk cannot use it"),
        (entry() | {"auth": "wrong"}, "openstacksdk cannot use it"),
        (entry() | {"api_timeout": "long"}, "openstacksdk cannot use it: ValueError: could not convert"),
    ],
)
def test_what_is_missing_or_wrong_in_an_entry_is_told(files, told, said):
    files({"grif": told})
    with pytest.raises(Rejected, match="entry grif of .*clouds.yaml") as raised:
        OpenStackEndpoint(NAME, "grif")._connection  # noqa: B018
    assert said in str(raised.value)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_secret_that_others_may_read_is_warned_of(files, caplog, mode, warned):
    file = files({"grif": entry()}, mode=mode)
    with caplog.at_level(logging.WARNING):
        load_entry(NAME, "grif")
    assert (f"chmod 600 {file}" in caplog.text) is warned
    assert PASSWORD not in caplog.text


def test_a_file_without_secrets_may_be_read_by_all(files, caplog):
    files({"grif": entry(password=None)}, mode=0o644)
    files(secure={"grif": {"auth": {"password": PASSWORD}}})
    with caplog.at_level(logging.WARNING):
        load_entry(NAME, "grif")
    assert caplog.text == ""


def test_an_endpoint_is_made_without_reading_or_contacting_anything(files):
    endpoint = OpenStackEndpoint(NAME, "grif")
    with pytest.raises(Rejected):
        endpoint.list_servers()
    files({"grif": entry()})
    assert endpoint._connection.auth_url == "https://keystone.invalid/v3"


def test_a_broken_file_that_openstacksdk_would_never_reach_harms_nobody(files, tmp_path, monkeypatch):
    broken = tmp_path / "etc.yaml"
    broken.write_text("clouds: {grif")
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(broken)])
    monkeypatch.setattr("openstack.config.loader.SECURE_FILES", [str(broken)])
    files({"grif": entry()}, {})
    assert load_entry(NAME, "grif")[1] == (Secret(PASSWORD),)
    monkeypatch.delenv("OS_CLIENT_SECURE_FILE")
    with pytest.raises(Rejected, match="etc.yaml is no YAML"):
        load_entry(NAME, "grif")


def test_a_token_that_came_over_https_does_not_leave_in_the_clear(files, monkeypatch):
    files({"grif": entry()})
    connection = OpenStackConnection(NAME, "grif", TIMEOUTS, lambda: datetime.now(UTC), lambda seconds: None)
    monkeypatch.setattr(OpenStackConnection, "_scoped", lambda self: None)
    monkeypatch.setattr(OpenStackConnection, "_in_catalogue", lambda self, service, access: "http://nova.invalid/v2.1")
    with pytest.raises(Rejected, match="expected https, found 'http://nova.invalid/v2.1'.*compute_endpoint_override"):
        connection.get("compute", "limits", "ask")
