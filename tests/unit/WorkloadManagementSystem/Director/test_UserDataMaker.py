"""User-data with a ticket, and what is kept for whoever brings it."""

import base64
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
import yaml
from sqlalchemy import create_engine, text

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest, unseal
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataMaker, UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

VM = "0" * 31 + "1"
PROXY = "-----BEGIN CERTIFICATE-----hunter2"


@pytest.fixture
def store(tmp_path):
    return VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))


@pytest.fixture
def make(cs, store, tmp_path):
    """A function that gives the files of a VM's user-data; it takes the director's options."""
    (tmp_path / "plain.j2").write_text(
        "#cloud-config\n{% for file in files %}{{ file.path | yaml }}: {{ file.content | b64 | yaml }}\n{% endfor %}"
    )
    queue = {"Image": "el9", "Flavor": "small", "maxCPUTime": 1440, "Template": str(tmp_path / "plain.j2")}
    ces = {"ours": {"CEType": "JenniferFake", "Queues": {"q": queue}}}

    def files(ce=(), **options):
        ces["ours"] |= dict(ce)
        cs(
            {
                "Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": {"VO": "belle", "CEs": ces}}}},
                "Operations": {"Defaults": {"Pilot": {"pilotFileServer": "dirac.here.org:8443"}}},
            }
        )
        (config,) = read_cloud_sites().endpoints
        intent = Intent(VM, VMTypeKey(config.site, config.ce, "q"), "belle", 1, 1024, 1, "cloud://ours/1", "0" * 32)
        dirac = SimpleNamespace(pilot_proxy=lambda vo, lifetime: Secret(PROXY))
        made = UserDataMaker(dirac, store.sessions).make(
            config,
            config.vm_types[0],
            read_profile("belle"),
            intent,
            Identity("f" * 32, VM, "belle", 1),
            DirectorConfig.read("CloudDirector", {"VO": "belle", **options}),
            10**6,
        )
        store.record_intents([intent], store.clock())
        return made

    return files


def written(user_data):
    return {
        path: base64.b64decode(content).decode("utf-8", "replace")
        for path, content in yaml.safe_load(user_data).items()
    }


def test_the_ticket_is_good_for_the_program_where_user_data_do_not_write_it(make, store):
    ticket = written(make(Gateway="https://gateway:9164"))["/etc/jennifer/ticket"]
    sealed = store.sessions.redeem(VM, digest(ticket), digest("s" * 43), "192.0.2.1")
    assert base64.b64decode(unseal(ticket, sealed)["program"]) == packed_program()


def test_who_brings_the_ticket_of_the_user_data_gets_what_only_it_opens(make, store):
    files = written(make(Gateway="https://gateway:9164"))
    ticket = files["/etc/jennifer/ticket"]
    sealed = store.sessions.redeem(VM, digest(ticket), digest("s" * 43), "192.0.2.1")
    given = unseal(ticket, sealed)
    assert given["credential"] == {"kind": "proxy", "pem": PROXY}
    assert "--pilotUUID" in given["settings"]["pilot_argv"]


def test_neither_the_user_data_nor_the_database_hold_the_proxy_and_the_database_not_the_ticket(make, store, tmp_path):
    files = written(make(Gateway="https://gateway:9164"))
    assert not any("hunter2" in content for content in files.values())
    with store._database.transaction() as session:
        rows = str(session.execute(text("SELECT * FROM GatewaySessions")).all())
    assert "hunter2" not in rows
    assert files["/etc/jennifer/ticket"] not in rows


def test_the_ticket_is_good_until_the_vm_should_have_booted(make, store):
    make(Gateway="https://gateway:9164", SettleTimeout="60", LaunchTimeout="120", RegistrationTimeout="240")
    left = store.sessions.guest(VM).expires_at - store.clock()
    assert timedelta(seconds=400) < left <= timedelta(seconds=420)


def test_an_endpoint_may_have_a_way_of_its_own_to_the_gateway(make):
    files = written(make({"Gateway": "https://10.0.0.1:9164"}, Gateway="https://gateway:9164"))
    assert json.loads(files["/etc/jennifer/vm.json"])["gateway"]["url"] == "https://10.0.0.1:9164"


def test_without_a_gateway_the_proxy_is_in_the_user_data_and_no_ticket_is_made(make, store):
    files = written(make())
    assert files["/etc/jennifer/proxy.pem"] == PROXY
    assert store.sessions.guest(VM) is None


def test_a_file_of_cas_that_is_none_is_told(make, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(UserDataUnavailable, match=f"GatewayCA = {tmp_path}/ca.pem: expected certificates in PEM"):
        make(Gateway="https://gateway:9164", GatewayCA=str(tmp_path / "ca.pem"))
