"""The entry of clouds.yaml for a site of EGI."""

import json
from datetime import timedelta

import pytest
import yaml
from typer.testing import CliRunner

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected
from JenniferDIRAC.Resources.Cloud.EGIDirectory import EGISite, Source
from JenniferDIRAC.WorkloadManagementSystem.CLI import EGI
from JenniferDIRAC.WorkloadManagementSystem.CLI.CloudCommand import app

CESGA = EGISite(
    "CESGA", "belle", "https://fedcloud.cesga.es:5000/v3", "p1", Source.INFORMATION_SERVICE, timedelta(hours=2)
)


class KnownSites:
    """Stands for EGI's directories, which have tests of their own."""

    def sites(self, vo):
        return ("CESGA", "IFCA-LCG2") if vo == "belle" else ()

    def find(self, site, vo):
        if (site, vo) != ("CESGA", "belle"):
            raise Rejected(f"{site} does not serve {vo}")
        return CESGA


@pytest.fixture
def clouds_yaml(monkeypatch, tmp_path):
    """Writes the only clouds.yaml there is."""
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return lambda entries: file.write_text(yaml.safe_dump({"clouds": entries}))


@pytest.fixture
def run(monkeypatch, clouds_yaml):
    monkeypatch.setattr(EGI, "directory", lambda information_service, gocdb: KnownSites())

    def run(*words: str):
        return CliRunner().invoke(app, ["egi", *words])

    return run


def test_the_output_is_a_clouds_yaml(run):
    done = run("CESGA", "--vo", "belle")
    assert done.exit_code == 0, done.output
    (entry,) = yaml.safe_load(done.stdout)["clouds"].items()
    assert entry[0] == "cesga-belle"
    assert entry[1]["auth_type"] == "v3oidcrefreshtoken"
    assert entry[1]["auth"]["auth_url"] == CESGA.auth_url
    assert entry[1]["auth"]["project_id"] == "p1"
    assert entry[1]["auth"]["refresh_token_file"] == "~/.config/openstack/checkin-belle.token"
    assert "dirac-admin-cloud discover cesga-belle" in done.stdout


def test_name_and_token_file_can_be_chosen(run):
    done = run("CESGA", "--vo", "belle", "--cloud", "spain", "--token-file", "/etc/token", "--json")
    (entry,) = json.loads(done.stdout)["clouds"].items()
    assert (entry[0], entry[1]["auth"]["refresh_token_file"]) == ("spain", "/etc/token")


def test_without_a_site_those_that_serve_the_vo_are_listed(run):
    assert run("--vo", "belle").stdout == "CESGA\nIFCA-LCG2\n"
    assert json.loads(run("--vo", "belle", "--json").stdout) == ["CESGA", "IFCA-LCG2"]
    assert run("--vo", "lhcb").stdout == "No site serves lhcb.\n"


def test_a_site_that_does_not_serve_the_vo_is_refused(run):
    done = run("CESGA", "--vo", "lhcb")
    assert done.exit_code == 1
    assert "CESGA does not serve lhcb" in done.stderr


@pytest.mark.parametrize("url", ["https://fedcloud.cesga.es/v3", "https://fedcloud.cesga.example:5000/v3", "nonsense"])
def test_an_entry_that_is_there_pins_its_host(run, clouds_yaml, url):
    clouds_yaml({"cesga-belle": {"auth": {"auth_url": url}}})
    done = run("CESGA", "--vo", "belle")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"the entry cesga-belle is pinned to {url}, and the EGI information" in " ".join(done.stderr.split())
    assert run("CESGA", "--vo", "belle", "--cloud", "other").exit_code == 0


def test_an_entry_of_the_same_host_is_told_of(run, clouds_yaml):
    clouds_yaml({"cesga-belle": {"auth": {"auth_url": f"{CESGA.auth_url}/"}}})
    done = run("CESGA", "--vo", "belle")
    assert done.exit_code == 0 and "There is an entry cesga-belle already" in done.stdout


def test_what_is_old_unknown_or_there_already_is_said():
    site = EGISite("S", "belle", "https://s/v3", "", Source.GOCDB, timedelta(hours=30), stale=True)
    text = EGI.as_yaml(site, "s-belle", "/f", ["s-belle"])
    assert "30.0 hours ago" in text and "add project_id" in text and "already" in text
    assert "project_id" not in yaml.safe_load(text)["clouds"]["s-belle"]["auth"]


@pytest.mark.parametrize(
    ("site", "vo", "name"), [("IFCA-LCG2", "vo.access.egi.eu", "ifca-lcg2-vo.access.egi.eu"), ("A B", "x/y", "a-b-x-y")]
)
def test_an_entry_is_named_after_site_and_vo(site, vo, name):
    assert EGI.entry_name(site, vo) == name
