"""The OpenStack lab's own rules, without starting a server."""

import ipaddress
import os
import sqlite3
import subprocess
import time

import pytest

from lab.common.errors import LabError
from lab.openstack import Cloud, OpenStackLab, environment
from lab.openstack.configuration import Ports, write_configuration
from lab.openstack.environment import Environment
from lab.openstack.prepared import Prepared
from lab.openstack.real import RealHost, choose_subnet


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("JENNIFERDIRAC_HOME", str(tmp_path / "home"))


def test_two_labs_side_by_side_share_no_port():
    assert not set(Ports.moved(0).all()) & set(Ports.moved(500).all())
    assert len(set(Ports.moved(0).all())) == len(Ports.moved(0).all())


def test_what_fails_to_come_up_is_taken_down_and_can_be_brought_up_by_others(tmp_path, monkeypatch):
    def start_and_fail(self, golden):
        self.processes.start("one", ["sleep", "600"], os.environ, tmp_path)
        raise LabError("no luck")

    monkeypatch.setattr(Environment, "make", lambda self, progress: None)
    monkeypatch.setattr(OpenStackLab, "_start_all", start_and_fail)
    for lab in (OpenStackLab(tmp_path / "lab"), OpenStackLab(tmp_path / "lab")):
        with pytest.raises(LabError, match="no luck"):
            lab.up()
        assert lab.processes.recorded() == []


def test_a_cloud_that_is_up_is_found_by_its_directory(tmp_path):
    cloud = OpenStackLab(tmp_path, port_offset=7).cloud
    cloud.save(tmp_path)
    assert Cloud.load(tmp_path) == cloud
    assert cloud.auth_url == "http://127.0.0.1:5007/v3"
    OpenStackLab(tmp_path).down()
    with pytest.raises(LabError, match="./run cloud up"):
        Cloud.load(tmp_path)


def test_nothing_of_the_callers_clouds_and_proxies_reaches_the_services(monkeypatch):
    monkeypatch.setattr(environment, "_said", lambda *_: "1")
    for name in ("OS_CLOUD", "OS_PASSWORD", "https_proxy", "REQUESTS_CA_BUNDLE", "PYTHONPATH", "X509_USER_PROXY"):
        monkeypatch.setenv(name, "/elsewhere")
    assert "/elsewhere" not in Environment().variables().values()


def test_a_home_that_neutron_cannot_live_in_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("JENNIFERDIRAC_HOME", str(tmp_path / "my home"))
    with pytest.raises(LabError, match="a path with a space(.|\n)*JENNIFERDIRAC_HOME"):
        Environment().make(print)
    assert not (tmp_path / "my home").exists()


def test_every_configuration_file_is_complete_and_of_these_ports(tmp_path):
    write_configuration(tmp_path, tmp_path / "venv", Ports.moved(1000))
    files = {path.name: path.read_text() for path in tmp_path.glob("etc/**/*.conf")}
    assert set(files) >= {"keystone.conf", "nova.conf", "neutron.conf", "glance-api.conf", "placement.conf"}
    for name, text in files.items():
        assert "{{" not in text and "{%" not in text, name
    assert "http://127.0.0.1:6000" in files["nova.conf"] and ":5000" not in files["nova.conf"]


def make_root(root, text):
    for part in ("mysql", "fernet", "credential", "state"):
        (root / part).mkdir(parents=True)
        (root / part / "file").write_text(text)
    return root


def test_a_prepared_cloud_is_given_to_the_next_of_the_same_making_only(tmp_path):
    kept = make_root(tmp_path / "first", "databases")
    assert not Prepared("plain", "old").restore(tmp_path / "nobody")
    Prepared("plain", "old").keep(kept, 0)
    Prepared("real", "old").keep(kept, 0)
    assert not Prepared("plain", "new").restore(tmp_path / "nobody")
    assert Prepared("plain", "old").restore(tmp_path / "second")
    assert (tmp_path / "second/mysql/file").read_text() == "databases"
    Prepared("plain", "new").keep(make_root(tmp_path / "third", "newer"), 0)
    assert not Prepared("plain", "old").restore(tmp_path / "nobody")  # one of each family remains
    assert Prepared("real", "old").restore(tmp_path / "fourth")


@pytest.mark.parametrize("before, after", [(0, 500), (500, 0), (0, 100), (100, 0), (7, 7)])
def test_a_prepared_cloud_moves_to_other_ports(tmp_path, before, after):
    Prepared("plain", "same").keep(make_root(tmp_path / "root", ""), before)
    statements = Prepared("plain", "same").statements(after)
    urls = [f"http://127.0.0.1:{port}/v3" for port in Ports.moved(before).all()]
    with sqlite3.connect(":memory:") as database:
        for schema in ("keystone", "nova_api"):
            database.execute(f"ATTACH ':memory:' AS {schema}")
        for table in ("endpoint (url)", "idp_remote_ids (remote_id)", "mapping (rules)"):
            database.execute(f"CREATE TABLE keystone.{table}")
        database.execute("CREATE TABLE nova_api.cell_mappings (transport_url, database_connection)")
        database.executemany("INSERT INTO keystone.endpoint VALUES (?)", [(url,) for url in urls])
        database.executescript(statements)
        moved = [url for (url,) in database.execute("SELECT url FROM keystone.endpoint")]
    assert moved == [f"http://127.0.0.1:{port}/v3" for port in Ports.moved(after).all()]


def test_a_step_that_fails_shows_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_said", lambda *_: "1")
    lab = OpenStackLab(tmp_path / "lab")
    lab.root.mkdir()
    with pytest.raises(LabError, match=r"schema failed; the end of .*/log/schema.log:\nTable 'services' is missing"):
        lab._run("schema", [["true"], ["sh", "-c", "echo \"Table 'services' is missing\"; exit 3"], ["echo", "never"]])
    assert lab.processes.recorded() == []


def test_what_is_prepared_depends_on_every_file_that_decides_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "HERE", tmp_path)
    for name in ("a.conf", "b.conf"):
        (tmp_path / name).write_text("one")
    before = environment.digest([tmp_path], "venv")
    assert environment.digest([tmp_path], "venv") == before
    assert environment.digest([tmp_path], "other venv") != before
    (tmp_path / "b.conf").write_text("two")
    assert environment.digest([tmp_path], "venv") != before


def networks(*texts):
    return [ipaddress.IPv4Network(text) for text in texts]


def test_servers_get_addresses_that_this_machine_does_not_use():
    assert choose_subnet([], None) == "10.77"
    assert choose_subnet(networks("10.77.0.0/16", "10.78.3.0/24", "192.168.0.0/16"), None) == "10.79"
    assert choose_subnet(networks("10.77.0.0/16"), "172.20") == "172.20"


@pytest.mark.parametrize("wanted", ["10.77", None])
def test_addresses_that_clash_are_refused_with_what_they_clash_with(wanted):
    with pytest.raises(LabError, match=r"overlaps 10.0.0.0/8(.|\n)*JENNIFERDIRAC_CLOUD_SUBNET"):
        choose_subnet(networks("10.0.0.0/8"), wanted)


@pytest.mark.parametrize("wanted", ["ten", "10.77.0", "10.300"])
def test_a_subnet_that_is_none_is_refused(wanted):
    with pytest.raises(LabError, match=f"JENNIFERDIRAC_CLOUD_SUBNET={wanted}: expected two numbers"):
        choose_subnet([], wanted)


def test_who_is_not_root_is_told_at_once_that_real_guests_need_root(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        OpenStackLab(tmp_path / "lab").up(real=True)
    assert not (tmp_path / "lab").exists()


def test_guests_whose_libvirt_is_gone_are_ended_and_nobody_elses(tmp_path):
    """What they run is nothing: they wait to be continued."""
    host, other = RealHost(tmp_path / "lab"), RealHost(tmp_path / "lab2")
    guests = []
    for one in (host, other):
        directory = one.root / "state/qemu1/instances/00000000-0000-4000-8000-000000000000"
        directory.mkdir(parents=True)
        command = ["qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-S", "-display", "none"]
        guests.append(subprocess.Popen([*command, "-serial", f"file:{directory}/console.log"]))
    try:
        end = time.monotonic() + 30
        while not (host.guests() and other.guests()) and time.monotonic() < end:  # a new process is at first a copy
            time.sleep(0.05)
        assert (host.guests(), other.guests()) == ([guests[0].pid], [guests[1].pid])
        host.end_guests()
        assert guests[0].wait(timeout=30) is not None
        assert guests[1].poll() is None
    finally:
        for guest in guests:
            guest.kill()
            guest.wait()
