"""The VirtualMachineManager's answers, over a real store on SQLite and through DIRAC's own encoding."""

import re
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from diraccfg import CFG
from service_world import caller
from sqlalchemy import create_engine

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.WorkloadManagementSystem.Client.VirtualMachineManagerClient import VirtualMachineManagerClient
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import CycleReport, Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Service.VirtualMachineManagerHandler import (
    VirtualMachineManagerHandler,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EL9 = VMTypeKey("CLOUD.GRIF.fr", "grif-cloud", "el9-4core")
VM = "abcdef01" * 4
READING = {
    "getLogs",
    "readLog",
    "getStatus",
    "getVirtualMachines",
    "getVirtualMachine",
    "renderUserData",
    "getUserData",
    "getLevers",
    "explain",
}
METHODS = [*READING, "killVirtualMachine", "pullLever", "releaseLevers"]


@pytest.fixture
def store(tmp_path):
    store = VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))
    store.record_intents([Intent(VM, EL9, "belle", 4, 8192, 7, f"cloud://grif-cloud/{VM}", "0" * 32, "el9")], NOW)
    return store


@pytest.fixture
def call(store):
    return caller(store, "adm", NOW + timedelta(minutes=1))


def test_the_status_tells_installation_reports_and_counts(call, store):
    unmet = Unmet(7, "belle", 8, Limit.ENDPOINT_MAX_CORES, "200 of 200", EL9)
    store.save_reports([CycleReport(EL9.site, EL9.ce, "belle", NOW, "…", 8, 0, {VMState.PLANNED: 1}, (unmet,))])
    status = call("getStatus")["Value"]
    assert status["installation"] == store.installation()
    assert status["now"] == "2026-11-20T12:01:00+00:00"
    (report,) = status["reports"]
    assert (report["site"], report["at"], report["vms"]) == (EL9.site, "2026-11-20T12:00:00+00:00", {"Planned": 1})
    assert (report["unmet"][0]["limit"], report["unmet"][0]["cores"]) == ("MaxCores", 8)
    assert status["counts"] == [
        {"site": EL9.site, "ce": EL9.ce, "vo": "belle", "state": "Planned", "vms": 1, "cores": 4}
    ]


def test_vms_are_listed_as_plain_values(call):
    (vm,) = call("getVirtualMachines", {"site": "", "state": ["Planned", "Running"]}, 100)["Value"]
    assert (vm["vm_id"], vm["site"], vm["ce"], vm["queue"]) == (VM, *vars(EL9).values())
    assert (vm["state"], vm["outcome"], vm["created_at"]) == ("Planned", None, "2026-11-20T12:00:00+00:00")


@pytest.mark.parametrize(
    "selection",
    [{"state": "Running"}, {"site": "CLOUD.X.fr"}, {"ce": "x"}, {"vo": "t2k.org"}, {"since": "2026-11-20T13:00:00Z"}],
)
def test_a_selection_leaves_out_what_does_not_meet_it(call, selection):
    assert call("getVirtualMachines", {})["Value"]
    assert call("getVirtualMachines", selection)["Value"] == []


@pytest.mark.parametrize(
    ("selection", "limit", "complaint"),
    [
        ({"state": "Sleeping"}, 10, "state.*'Sleeping'.*'Planned'"),
        ({"state": 1}, 10, "state = 1"),
        ({"sites": "CLOUD.X.fr"}, 10, "sites = 'CLOUD.X.fr'.*known are state, site, ce, vo, since, limit"),
        ({"vo": ["belle"]}, 10, "vo.*string"),
        ({"since": "yesterday"}, 10, "since = 'yesterday'"),
        ({"since": "2026-11-20T13:00:00"}, 10, "since.*timezone"),
        ({}, 0, "limit = 0"),
        ({}, 100_000, "limit = 100000"),
        ({}, "ten", "limit = 'ten'"),
        ({}, True, "limit = True"),
        ({"limit": 0}, 10, "limit = 0"),
        ({1: 2}, 10, "string"),
    ],
)
def test_a_selection_that_cannot_be_understood_is_refused_by_name(call, selection, limit, complaint):
    result = call("getVirtualMachines", selection, limit)
    assert not result["OK"]
    assert re.search(complaint, result["Message"])


def test_one_vm_comes_with_history_and_console(call, store):
    store.note(VM, console_tail="login:")
    vm = call("getVirtualMachine", "abcdef")["Value"]
    assert (vm["vm_id"], vm["console_tail"]) == (VM, "login:")
    assert [(step["source"], step["target"]) for step in vm["history"]] == [(None, "Planned")]


@pytest.mark.parametrize("method", ["getVirtualMachine", "killVirtualMachine"])
def test_an_unknown_vm_is_an_error_that_says_how_to_list_them(call, method):
    result = call(method, "fedcba98", *["why"] * (method == "killVirtualMachine"))
    assert not result["OK"]
    assert "fedcba98" in result["Message"]
    assert "dirac-admin-cloud vms" in result["Message"]


def test_a_kill_is_recorded_with_the_callers_name_and_reason(call, store):
    killed = call("killVirtualMachine", VM, "broken disk")["Value"]
    assert (killed["state"], killed["outcome"]) == ("Deleting", "Killed")
    step = store.history(VM)[-1]
    assert (step.actor, step.reason) == ("adm", "killed by adm: broken disk")
    assert store.get(VM).outcome is Outcome.KILLED


def test_a_vm_that_has_ended_is_not_killed(call, store):
    store.move(VM, VMState.PLANNED, VMState.ENDED, NOW, "full", outcome=Outcome.FAILED_TO_START)
    result = call("killVirtualMachine", VM, "")
    assert not result["OK"]
    assert "ended already (FailedToStart)" in result["Message"]


@pytest.mark.parametrize("method", ["renderUserData", "getUserData"])
def test_an_endpoint_that_is_not_configured_cannot_be_rendered(call, cs, method):
    cs({"Resources": {"Sites": {"CLOUD": {}}}})
    result = call(method, "nowhere", "el9", "belle")
    assert not result["OK"]
    assert "nowhere" in result["Message"]


def test_a_database_that_is_away_is_an_error_not_a_crash(call, tmp_path, store):
    store._engine.dispose()
    (tmp_path / "vm.db").unlink()
    (tmp_path / "vm.db").mkdir()
    result = call("getStatus")
    assert not result["OK"]
    assert "does not answer" in result["Message"]


def test_the_methods_are_all_that_the_service_exports():
    exported = [name for name in vars(VirtualMachineManagerHandler) if name.startswith("export_")]
    assert sorted(exported) == sorted(f"export_{method}" for method in METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_exported_method_declares_its_arguments_and_is_known_to_the_client(method):
    assert hasattr(VirtualMachineManagerHandler, f"types_{method}")
    assert hasattr(VirtualMachineManagerClient, method)


def template():
    text = resources.files("JenniferDIRAC.WorkloadManagementSystem").joinpath("ConfigTemplate.cfg").read_text()
    return text, CFG().loadFromBuffer(text)


def test_the_template_authorises_each_exported_method_and_only_operators_to_change_anything():
    authorization = template()[1]["Services"]["VirtualMachineManager"]["Authorization"].getAsDict()
    assert set(authorization) - {"Default"} == set(METHODS)
    assert authorization.pop("Default") == "Operator"
    assert {method for method, who in authorization.items() if who != "Operator"} == READING
    assert {authorization[method] for method in READING} == {"Operator, ServiceAdministrator"}


def test_the_template_names_every_option_of_the_director_with_its_default():
    text, cfg = template()
    options = dict(re.findall(r"^ *(?:# )?(\w+) = ?(\S*)$", text[text.index("##BEGIN CloudDirector") :], re.M))
    assert set(options) == DirectorConfig.options()
    section = options | {"VO": "belle"}
    assert DirectorConfig.read("/x", section, frozenset()) == DirectorConfig.read("/x", {"VO": "belle"}, frozenset())
    assert cfg["Agents"]["CloudDirector"]["PollingTime"] == options["PollingTime"]
