"""What is new of a VM, for its record, and the VM as the planner takes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import START

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.VMAsSeen import Sighting, news_of, vm_as_seen
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport, PilotState, VMState, VMTypeKey

VM = "e" * 32
NOW = START + timedelta(hours=1)
RECORD = VMRecord(
    vm_id=VM,
    vm_type=VMTypeKey("A", "a", "q"),
    vo="belle",
    cores=4,
    ram_mib=8192,
    state=VMState.BOOTING,
    since=START,
    created_at=START,
    pilot_reference=f"cloud://a/{VM}",
    pilot_stamp="stamp",
    task_queue=7,
    template="el9",
    server_id="s1",
)


HELLO = f"@jennifer {VM} hello"
END = f'{HELLO}\n@jennifer {VM} end code=300 reason="no work"'


@pytest.mark.parametrize(
    ("record", "seen", "news"),
    [
        (RECORD, Sighting(), {}),
        (RECORD, Sighting(PilotFacts(PilotState.WAITING, 0), console="Booting", missed=2, drifted="image"), {}),
        (RECORD, Sighting(PilotFacts(PilotState.RUNNING, 1)), {"jobs": 1, "matched_at": NOW}),
        (replace(RECORD, jobs=2), Sighting(PilotFacts(PilotState.RUNNING, 1)), {}),
        (RECORD, Sighting(PilotFacts(PilotState.FINISHED, 0)), {"pilot_finished_at": NOW}),
        (replace(RECORD, pilot_finished_at=START), Sighting(PilotFacts(PilotState.FINISHED, 0)), {}),
        (RECORD, Sighting(console=HELLO), {"first_word_at": NOW}),
        (replace(RECORD, first_word_at=START), Sighting(console=HELLO), {}),
        (
            RECORD,
            Sighting(console=END),
            {"first_word_at": NOW, "said_code": 300, "said_reason": "no work", "pilot_finished_at": NOW},
        ),
        (replace(RECORD, said_code=200, first_word_at=START), Sighting(console=END), {"pilot_finished_at": NOW}),
        (RECORD, Sighting(lacks_room=True), {"no_room": True}),
        (replace(RECORD, no_room=True), Sighting(lacks_room=True), {}),
    ],
)
def test_what_is_noted_of_a_vm_is_what_its_record_does_not_hold_yet(record, seen, news):
    assert news_of(record, seen, NOW) == news
    assert news_of(replace(record, **news), seen, NOW + timedelta(minutes=1)) == {}, "nothing is news twice"


def test_the_planner_sees_what_is_new_as_if_the_record_held_it():
    seen = Sighting(PilotFacts(PilotState.FINISHED, 3), END, missed=1, drifted="image", lacks_room=True)
    news = news_of(RECORD, seen, NOW)
    vm = vm_as_seen(RECORD, seen, news)
    assert (vm.jobs, vm.spoke, vm.pilot_finished_at, vm.no_room) == (3, True, NOW, True)
    assert vm.said == EndReport(300, "no work")
    assert (vm.pilot, vm.missed, vm.drifted) == (PilotState.FINISHED, 1, "image")
    assert vm == vm_as_seen(replace(RECORD, **news), seen, {})


def test_of_a_vm_of_which_nothing_was_seen_the_record_speaks():
    vm = vm_as_seen(replace(RECORD, jobs=2, no_room=True), Sighting(), {})
    assert (vm.id, vm.vm_type, vm.server_id, vm.jobs, vm.no_room) == (VM, RECORD.vm_type, "s1", 2, True)
    assert (vm.pilot, vm.spoke, vm.said, vm.missed) == (PilotState.UNKNOWN, False, None, 0)
