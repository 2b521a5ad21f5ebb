"""Levers and reasons as an operator types them, on the real service, with a real director and real jobs."""

import json
import os
import signal
from datetime import UTC, datetime

import pytest
from lab_world import live, servers, store, submit

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from lab.dirac import jobs

GRIF, NAPOLI = "CLOUD.GRIF.fr", "VCYCLE.Napoli.it"


def sites() -> set[str]:
    return {record.vm_type.site for record in live()}


def test_a_drained_site_gets_no_vm_its_vms_drain_and_undrain_brings_them_back(dirac, director, tell):
    submit("belle", "belle")
    director.cycle()
    assert sites() == {GRIF, NAPOLI}
    for record in live():  # as if each were at work
        store().move(record.vm_id, record.state, VMState.RUNNING, datetime.now(UTC), "it spoke")
        store().note(record.vm_id, jobs=1)
    shown = tell("drain", GRIF, "--reason", "disk migration", "--for", "2h")
    assert "It concerns 1 VM with 1 core now." in shown
    submit("t2k.org", "t2k.org")
    director.cycle()
    new = [record for record in live() if record.vo == "t2k.org"]
    assert {record.vm_type.site for record in new} == {NAPOLI}
    states = {record.vm_type.site: record.state for record in live() if record.vo == "belle"}
    assert states == {GRIF: VMState.DRAINING, NAPOLI: VMState.RUNNING}
    assert "drained by adm until" in tell("why", GRIF)
    (line,) = [report.line for report in store().reports() if (report.site, report.vo) == (GRIF, "belle")]
    assert "drained by adm until" in line and "disk migration" in line

    assert "is taken back" in tell("undrain", GRIF)
    director.cycle()
    assert {record.state for record in live() if record.vo == "belle"} == {VMState.RUNNING}


def test_a_drained_vo_gets_nothing_and_the_others_do(dirac, director, tell):
    tell("drain", "all", "--vo", "t2k.org", "-m", "their CVMFS is down")
    submit("belle", "t2k.org")
    director.cycle()
    assert [record.vo for record in live()] == ["belle"]
    assert "drained by adm: their CVMFS is down" in tell("why")


def test_a_held_vm_is_left_alone_until_it_is_released(dirac, director, tell):
    submit("belle")
    director.cycle()
    (record,) = live()
    assert "until" in tell("hold", record.vm_id[:8], "-m", "look at its disk", "--for", "1h")
    store().move(record.vm_id, record.state, VMState.RUNNING, datetime.now(UTC), "it spoke")
    store().note(record.vm_id, said_code=300, said_reason="no work")
    (process,) = dirac.virtual_machines()
    os.kill(int(process.split()[-1]), signal.SIGKILL)  # it switched itself off
    director.cycle()
    assert store().get(record.vm_id).state is VMState.RUNNING
    assert "nothing ends it before: held by adm until" in tell("why", record.vm_id)
    tell("release", record.vm_id[:8])
    director.cycle()
    assert store().get(record.vm_id).state in (VMState.DELETING, VMState.ENDED)


def test_an_override_counts_from_the_next_cycle_on_and_restore_ends_it(dirac, director, tell):
    for place in (f"{GRIF}/grif-qemu", NAPOLI):
        tell("override", place, "MaxVMs", "0", "-m", "cooling")
    (job,) = submit("belle")
    director.cycle()
    assert servers(dirac) == []
    why = tell("why", str(job))
    assert "1 core of it gets nothing" in why
    assert "MaxVMs 0 reached" in why and "set by adm: cooling" in why
    assert "0 of 0 VMs" in tell("why", GRIF)
    tell("restore", f"{GRIF}/grif-qemu", "MaxVMs")
    director.cycle()
    assert sites() == {GRIF}


def test_a_pause_stops_everything_and_says_so_everywhere(dirac, director, tell):
    tell("pause", "--for", "30m", "-m", "new release")
    (job,) = submit("belle")
    director.cycle()
    assert servers(dirac) == []
    for target in ([], [str(job)]):
        assert "paused by adm until" in tell("why", *target)
    assert "paused by adm until" in "".join(report.line for report in store().reports())
    assert "new release" in tell("levers")
    tell("resume", "-m", "released")
    assert "No lever stands." in tell("levers")
    assert "by adm: released" in tell("levers", "--all")
    director.cycle()
    assert len(servers(dirac)) == 1


def test_why_a_job_that_no_vm_type_matches(dirac, director, tell):
    job = jobs.submit("belle", "#!/bin/sh\ntrue\n", processors=4)
    jobs.wait_for([job], {"Waiting"}, 30)
    director.cycle()
    why = tell("why", str(job))
    assert f"Job {job} of alice in belle_user is Waiting" in why
    assert "1 job waits, of 4 processors" in why
    assert "None of the 2 VM types matches." in why
    for place in (f"{GRIF}/grif-qemu/el-1core", f"{NAPOLI}/napoli-qemu/el-1core"):
        assert f"{place}: the jobs want 4 processors, it offers 1." in why


def test_why_a_job_whose_vm_boots(dirac, director, tell):
    (job,) = submit("belle")
    for _ in range(2):
        director.cycle()
    why = tell("why", str(job))
    assert "1 VM is on its way for it at" in why
    assert "Of 2 VM types, 2 match" in why
    (record,) = live()
    assert "awaited" in tell("why", record.vm_id)
    explained = json.loads(tell("why", str(job), "--json"))
    assert (explained["kind"], explained["not_asked"]) == ("job", [])
    assert explained["values"]["queue"]["coming"][0]["vm"] == record.vm_id


def test_why_nothing_and_what_is_not_there(dirac, director, tell, command):
    director.cycle()
    assert tell("why") == "Nothing waits: no task queue has jobs for any VM type.\n"
    assert "DIRAC knows no job 999999." in tell("why", "999999")
    assert f"{GRIF}/grif-qemu is usable: its site and its CE are Active." in tell("why", GRIF)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("why", "CLOUD.GRIFF.fr"), 1, "did you mean CLOUD.GRIF.fr"),
        (("why", "abcdef0"), 1, "dirac-admin-cloud vms"),
        (("drain", "CLOUD.GRIFF.fr", "-m", "x"), 1, "did you mean CLOUD.GRIF.fr"),
        (("drain", GRIF), 2, "reason"),
        (("drain", GRIF, "-m", "x", "--vo", "bele"), 1, "did you mean belle"),
        (("drain", GRIF, "-m", "x", "--for", "2 h"), 2, "30m"),
        (("drain", GRIF, "-m", "x", "--until", "tonight"), 2, "2026-11-20T18:00"),
        (("undrain",), 2, "--lever"),
        (("undrain", GRIF), 1, "no such drain stands"),
        (("hold", "abcdef0", "-m", "x"), 1, "dirac-admin-cloud vms"),
        (("override", GRIF, "MaxVM", "3", "-m", "x"), 1, "did you mean MaxVMs"),
        (("override", GRIF, "MaxVMs", "few", "-m", "x"), 2, "'none' for no limit"),
        (("override", GRIF, "Share", "3", "-m", "x", "--vo", "belle"), 1, "has no Shares"),
        (("resume",), 1, "no such pause stands"),
    ],
)
def test_mistakes_are_answered_with_what_to_do_and_pull_no_lever(dirac, mistake, words, code, said):
    mistake(words, code, said)
    assert store().levers.standing(datetime.now(UTC)) == ()
