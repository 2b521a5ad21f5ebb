"""Levers as operators pull them through the service: a real store, the CS of this process, DIRAC's own encoding."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from service_world import caller
from sqlalchemy import create_engine

from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import LeverKind, Outcome, VMState, VMTypeKey

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EL9 = VMTypeKey("CLOUD.GRIF.fr", "grif", "el9")
VM = "abcdef01" * 4
OTHER = "12345678" * 4
QUEUE = {"Image": "name:el9", "Flavor": "cores>=1", "maxCPUTime": 1440, "NumberOfProcessors": 1, "MaxRAM": 2048}


def ce(**other):
    return {"CEType": "JenniferFake", "VO": ["belle", "t2k.org"], "Queues": {"el9": QUEUE}, **other}


@pytest.fixture
def sites(cs):
    """GRIF, with shares; Napoli for belle only; and a broken endpoint."""
    grif = {"grif": ce(Shares={"belle": 1, "t2k.org": 1})}
    cs(
        {
            "Registry": {"VO": {"belle": {}, "t2k.org": {}, "hyperk.org": {}}},
            "Resources": {
                "Sites": {
                    "CLOUD": {
                        "CLOUD.GRIF.fr": {"CEs": grif},
                        "CLOUD.Broken.de": {"CEs": {"broken": ce(MaxVMs="many")}},
                    },
                    "VCYCLE": {"VCYCLE.Napoli.it": {"CEs": {"napoli": ce(VO="belle")}}},
                }
            },
        }
    )


@pytest.fixture
def store():
    store = VirtualMachineStore(create_engine("sqlite://"))
    napoli = VMTypeKey("VCYCLE.Napoli.it", "napoli", "el9")
    store.record_intents(
        [
            Intent(VM, EL9, "belle", 4, 8192, 7, "cloud://1", "0" * 32, "el9"),
            Intent(OTHER, napoli, "belle", 2, 4096, 7, "cloud://2", "1" * 32, "el9"),
        ],
        NOW,
    )
    return store


@pytest.fixture
def call(sites, store):
    return caller(store, "anna", NOW)


def request(kind="Drain", **other):
    return {"kind": kind, "why": "disk migration"} | other


@pytest.mark.parametrize(
    ("target", "vo", "names", "vms", "cores"),
    [
        ("CLOUD.GRIF.fr", "", ("CLOUD.GRIF.fr", "", "", ""), 1, 4),
        ("CLOUD.GRIF.fr/grif", "", ("CLOUD.GRIF.fr", "grif", "", ""), 1, 4),
        ("grif", "", ("CLOUD.GRIF.fr", "grif", "", ""), 1, 4),
        ("CLOUD.GRIF.fr/grif/el9", "BELLE", ("CLOUD.GRIF.fr", "grif", "el9", "belle"), 1, 4),
        ("CLOUD.GRIF.fr", "t2k.org", ("CLOUD.GRIF.fr", "", "", "t2k.org"), 0, 0),
        ("CLOUD.Broken.de/broken/any", "", ("CLOUD.Broken.de", "broken", "any", ""), 0, 0),
        ("all", "belle", ("", "", "", "belle"), 2, 6),
        ("all", "", ("", "", "", ""), 2, 6),
    ],
)
def test_a_drain_names_what_exists_and_tells_how_many_vms_it_concerns(call, store, target, vo, names, vms, cores):
    pulled = call("pullLever", request(target=target, vo=vo))["Value"]
    assert (pulled["vms"], pulled["cores"]) == (vms, cores)
    (lever,) = store.levers.standing(NOW)
    assert (lever.site, lever.ce, lever.queue, lever.vo) == names
    assert (lever.kind, lever.who, lever.why, lever.until) == (LeverKind.DRAIN, "anna", "disk migration", None)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (request(target="CLOUD.GRIFF.fr"), "no site 'CLOUD.GRIFF.fr'; did you mean CLOUD.GRIF.fr"),
        (request(target="CLOUD.GRIF.fr/griff"), "no endpoint of CLOUD.GRIF.fr 'griff'; did you mean grif"),
        (request(target="CLOUD.GRIF.fr/grif/el8"), "no VM type of CLOUD.GRIF.fr/grif 'el8'; there is el9"),
        (request(target="X"), "no site 'X'; there is CLOUD.Broken.de, CLOUD.GRIF.fr, VCYCLE.Napoli.it"),
        (request(target="a/b/c/d"), "expected all, SITE, SITE/CE or SITE/CE/QUEUE"),
        (request(target=""), "no site ''"),
        (request(target="all", vo="bele"), "no VO 'bele' in /Registry/VO; did you mean belle"),
        (request(target="VCYCLE.Napoli.it", vo="t2k.org"), "no VM type of VCYCLE.Napoli.it serves t2k.org"),
        (request(target="all", why=" "), "a reason is needed"),
        (request(target="all", seconds=60, until="2026-11-21T00:00:00Z"), "one of them is enough"),
        (request(target="all", until="2026-11-20T11:59:00Z"), "2026-11-20 11:59:00 UTC, which is over"),
        (request(target="all", until="2026-11-21T00:00:00"), "until = '2026-11-21T00:00:00'.*timezone"),
        (request(target="all", seconds=0), "seconds = 0"),
        (request("Sleep", target="all"), "kind = 'Sleep'"),
        (request(target="all", who="bert"), "who = 'bert'"),
        (request("Hold", vm="ffffff"), "no VM is known as 'ffffff'"),
        (
            request("Override", target="grif", option="MaxVM", value=1),
            "no option 'MaxVM' to be set; did you mean MaxVMs",
        ),
        (request("Override", target="grif", option="MaxVMs", value=1.5), "MaxVMs is a whole number"),
        (request("Override", target="grif", option="MaxVMs", value=-1), "value = -1"),
        (
            request("Override", target="CLOUD.GRIF.fr/grif/el9", option="MaxVMs", value=1, vo="belle"),
            "not of a VM type",
        ),
        (request("Override", target="grif", option="Share", value=1), "name the endpoint, and the VO by --vo"),
        (request("Override", target="napoli", option="Share", value=1, vo="belle"), "napoli has no Shares"),
    ],
)
def test_a_lever_that_makes_no_sense_is_refused_and_nothing_is_recorded(call, store, wrong, complaint):
    result = call("pullLever", wrong)
    assert not result["OK"]
    assert re.search(complaint, result["Message"]), result["Message"]
    assert store.levers.standing(NOW) == ()


@pytest.mark.parametrize(
    ("wanted", "until"),
    [
        (request("Hold", vm="abcdef"), NOW + timedelta(hours=24)),
        (request("Pause"), NOW + timedelta(hours=24)),
        (request("Pause", seconds=1800), NOW + timedelta(minutes=30)),
        (request("Hold", vm="abcdef", until="2026-11-22T00:00:00+01:00"), datetime(2026, 11, 21, 23, tzinfo=UTC)),
        (request("Drain", target="all"), None),
        (request("Override", target="grif", option="MaxVMs", value=2), None),
    ],
)
def test_holds_and_pauses_end_by_themselves_after_a_day_unless_told_otherwise(call, store, wanted, until):
    assert call("pullLever", wanted)["OK"]
    (lever,) = store.levers.standing(NOW)
    assert lever.until == until


def test_a_hold_takes_the_beginning_of_an_id_and_none_that_is_over(call, store):
    assert call("pullLever", request("Hold", vm="abcdef"))["Value"]["lever"]["vm"] == VM
    store.move(OTHER, VMState.PLANNED, VMState.ENDED, NOW, "full", outcome=Outcome.FAILED_TO_START)
    assert "nothing left to hold" in call("pullLever", request("Hold", vm="123456"))["Message"]


@pytest.mark.parametrize(
    ("option", "value", "target", "vo"),
    [
        ("MaxCores", 8, "CLOUD.GRIF.fr/grif/el9", ""),
        ("SoftMaxVMs", None, "CLOUD.GRIF.fr", "belle"),
        ("MaxVMs", 0, "all", "t2k.org"),
        ("Share", 0.5, "grif", "t2k.org"),
    ],
)
def test_an_override_is_recorded_with_option_and_value(call, store, option, value, target, vo):
    assert call("pullLever", request("Override", target=target, option=option, value=value, vo=vo))["OK"]
    (lever,) = store.levers.standing(NOW)
    assert (lever.option, lever.value, lever.vo) == (option, value, vo)


def test_a_lever_is_taken_back_by_what_it_names(call, store):
    call("pullLever", request(target="CLOUD.GRIF.fr"))
    call("pullLever", request(target="CLOUD.GRIF.fr", vo="belle"))
    back = call("releaseLevers", {"kind": "Drain", "target": "CLOUD.GRIF.fr", "why": "done"}, 0)["Value"]
    assert [lever["vo"] for lever in back] == [""]
    assert [lever.vo for lever in store.levers.standing(NOW)] == ["belle"]
    (_, record) = store.levers.all()
    assert (record.released_by, record.released_why) == ("anna", "done")


def test_a_lever_is_taken_back_by_its_number_and_only_as_what_it_is(call, store):
    number = call("pullLever", request("Pause"))["Value"]["lever"]["id"]
    wrong = call("releaseLevers", {"kind": "Drain"}, number)
    assert f"no drain of the number {number} stands (and no other either)" in wrong["Message"]
    assert call("releaseLevers", {"kind": "Pause"}, number)["OK"]
    assert store.levers.standing(NOW) == ()


def test_a_hold_is_taken_back_although_its_vm_is_being_deleted(call, store):
    call("pullLever", request("Hold", vm="abcdef"))
    call("pullLever", request("Hold", vm="123456"))
    store.request_kill(VM, "adm", "killed by adm", NOW)
    assert store.get(VM).state is VMState.DELETING
    assert [lever["vm"] for lever in call("releaseLevers", {"kind": "Hold", "vm": "abcdef"}, 0)["Value"]] == [VM]
    assert [lever.vm for lever in store.levers.standing(NOW)] == [OTHER]
    assert "no VM is known as 'ffffff'" in call("releaseLevers", {"kind": "Hold", "vm": "ffffff"}, 0)["Message"]


@pytest.mark.parametrize(
    ("pulled", "back"),
    [
        ({"target": "CLOUD.GRIF.fr"}, {"target": "CLOUD.GRIF.fr"}),
        ({"target": "CLOUD.GRIF.fr/grif", "vo": "belle"}, {"target": "grif", "vo": "Belle"}),
        ({"target": "grif"}, {"target": "CLOUD.GRIF.fr/grif/"}),
        ({"target": "grif", "kind": "Override", "option": "MaxVMs"}, {"target": "grif", "option": "MaxVMs"}),
        ({"target": "all", "vo": "belle"}, {"target": "all", "vo": "belle"}),
    ],
)
def test_a_lever_is_taken_back_although_its_place_has_left_the_cs(call, store, cs, pulled, back):
    others = [request(target="CLOUD.GRIF.fr/grif/el9"), request("Override", target="grif", option="MaxCores", value=1)]
    for other in others:
        assert call("pullLever", other)["OK"]
    mine = call("pullLever", request(**pulled))["Value"]["lever"]
    cs({})
    assert call("releaseLevers", {"kind": mine["kind"]} | back, 0)["Value"] == [mine]
    assert len(store.levers.standing(NOW)) == len(others)


def test_what_is_not_pulled_cannot_be_taken_back_and_what_stands_is_told(call):
    call("pullLever", request(target="CLOUD.GRIF.fr"))
    result = call("releaseLevers", {"kind": "Drain", "target": "VCYCLE.Napoli.it"}, 0)
    assert "no such drain stands (lever 1: CLOUD.GRIF.fr)" in result["Message"]


def test_the_standing_levers_are_listed_and_on_request_all_with_how_they_ended(call):
    call("pullLever", request(target="CLOUD.GRIF.fr"))
    call("pullLever", request("Pause"))
    call("releaseLevers", {"kind": "Pause"}, 0)
    listed = call("getLevers")["Value"]
    assert [(lever["id"], lever["kind"], lever["about"], lever["since"]) for lever in listed["levers"]] == [
        (1, "Drain", "CLOUD.GRIF.fr", NOW.isoformat())
    ]
    everything = call("getLevers", 10)["Value"]["levers"]
    assert [(one["lever"]["kind"], one["released_by"]) for one in everything] == [("Pause", "anna"), ("Drain", "")]
    assert "limit = -1" in call("getLevers", -1)["Message"]


def test_why_answers_without_dirac_from_the_records_and_says_what_could_not_be_asked(call):
    vm = call("explain", "abcdef")["Value"]
    assert vm["kind"] == "vm"
    assert vm["sentences"][0].startswith(f"VM {VM} is Planned since 12:00 UTC (0 s): a VM of CLOUD.GRIF.fr/grif/el9")
    assert any(line.startswith("Could not be asked: ") for line in vm["sentences"])
    assert vm["values"]["vm"]["record"]["vm_id"] == VM
    assert "did you mean CLOUD.GRIF.fr" in call("explain", "CLOUD.GRIFF.fr")["Message"]
