"""Whole cycles in which a cloud, DIRAC, the database or the director itself fails."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import World, hidden_servers

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AuthenticationFailed,
    ServerStatus,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import PilotFacts
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.PilotFollower import VANISHED_GRACE
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Limit
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, TaskQueue, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryDatabase import MemoryDatabase
from JenniferDIRAC.WorkloadManagementSystem.Simulator.MemoryStore import MemoryStore


def test_nothing_is_sent_when_the_intent_cannot_be_recorded():
    world = World()
    world.wait_for_jobs(1)

    def gone(*_, **__):
        raise StoreUnavailable("the database does not answer")

    world.store.record_intents = gone
    with pytest.raises(StoreUnavailable):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 0


def test_a_server_made_by_a_director_that_died_before_recording_it_is_adopted_not_doubled():
    world = World()
    world.wait_for_jobs(1)
    world.director._executor.record_outcomes = lambda: None
    world.cycle(0)
    assert world.the_vm().state is VMState.PLANNED
    world.restart()
    world.cycle(40)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1
    record = world.the_vm()
    assert record.state is VMState.BOOTING
    assert record.server_id == world.cloud.list_servers()[0].id
    assert record.pilot_reference in world.dirac.stamps


def test_an_ambiguous_create_that_made_a_server_is_adopted():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.wait_for_jobs(1)
    world.cycle()
    assert world.the_vm().state is VMState.PLANNED
    world.cycle()
    assert (world.the_vm().state, world.cloud.calls[Call.CREATE]) == (VMState.REQUESTED, 1)


def test_an_ambiguous_create_that_made_nothing_ends_and_is_made_anew():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_NOT_MADE)
    world.wait_for_jobs(1)
    for _ in range(20):
        world.cycle()
    states = sorted((record.state.value, record.outcome) for record in world.store.select())
    assert ("Ended", Outcome.FAILED_TO_START) in states
    assert len(world.cloud.list_servers()) == 1


def test_a_full_cloud_is_asked_again_after_a_while():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.REFUSE)
    world.wait_for_jobs(1)
    world.cycle()
    assert (world.the_vm().outcome, world.the_vm().no_room) == (Outcome.FAILED_TO_START, True)
    world.cycle(600)
    assert world.cloud.calls[Call.CREATE] == 1
    world.cycle()
    assert len(world.cloud.list_servers()) == 1


def test_a_rejected_request_stops_its_vm_type_for_a_while_and_names_the_reason():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.REJECT)
    world.wait_for_jobs(1)
    world.cycle()
    assert world.the_vm().outcome is Outcome.REJECTED
    plan = world.cycle()
    assert (plan.creates, plan.unmet[0].limit) == ((), Limit.BACKOFF)


def test_a_missing_image_is_named_and_nothing_is_tried():
    world = World(image="name:nowhere")
    world.wait_for_jobs(1)
    plan = world.cycle()
    assert plan.creates == ()
    assert "nowhere" in plan.unmet[0].detail
    assert world.store.select() == ()


def test_user_data_that_cannot_be_made_records_no_intent_and_is_reported():
    world = World()
    world.user_data.error = UserDataUnavailable("template el9, line 3: 'squid' is undefined")
    world.wait_for_jobs(1)
    world.cycle()
    assert world.store.select() == ()
    assert world.report().problem == "template el9, line 3: 'squid' is undefined"
    assert world.report().started == 0


def test_a_listing_that_breaks_off_changes_no_record():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    before = world.the_vm()
    world.cloud.faults.next(Call.LIST, Fault.LOSE_LIST, times=5)
    for _ in range(5):
        world.cycle()
    assert world.the_vm() == before


def test_one_empty_listing_ends_nothing_and_two_do():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
    world.cycle()
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    world.cloud.vanish(world.the_vm().server_id)
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    world.cycle()
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.VANISHED)


def test_a_vanished_vm_gives_its_pilot_up_so_that_dirac_can_see_to_the_job():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    reference = world.the_vm().pilot_reference
    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], state=PilotState.RUNNING, jobs=1)
    world.wait_for_jobs(0)
    world.cycle()
    world.cloud.vanish(world.the_vm().server_id)
    world.cycle()
    world.cycle(VANISHED_GRACE.total_seconds())
    assert world.the_vm().outcome is Outcome.VANISHED
    assert world.dirac.ends == {}  # its server may come back
    world.cycle()
    assert world.dirac.ends[reference][0] == "Aborted"


def test_a_server_that_comes_back_with_its_pilot_at_work_is_left_to_finish():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    reference = world.the_vm().pilot_reference
    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], state=PilotState.RUNNING, jobs=1)
    world.wait_for_jobs(0)
    world.cycle()
    with hidden_servers(world.cloud, lists=2):
        for _ in range(2):
            world.cycle()
    for _ in range(2):
        world.cycle()
    assert world.the_vm().outcome is Outcome.VANISHED
    assert len(world.cloud.list_servers()) == 1
    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], state=PilotState.FINISHED)
    world.cycle()
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_a_delete_that_the_cloud_ignores_is_repeated():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED)
    world.store.request_kill(world.the_vm().vm_id, "adm", "why not", world.now)
    world.cycle()
    assert len(world.cloud.list_servers()) == 1
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_while_the_matcher_is_away_nothing_starts_and_running_vms_are_looked_after():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.dirac.away.add("Matcher")
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    assert any("Matcher: connection refused" in warning for warning in world.log.warnings)
    world.dirac.away.clear()
    world.wait_for_jobs(2)
    world.cycle()
    assert len(world.cloud.list_servers()) == 2


def test_a_matcher_that_answers_for_one_site_only_gets_no_vm_doubled_there():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    world.wait_for_jobs(1)
    world.cycle()
    world.dirac.unanswered_sites = {world.the_vm().vm_type.site}
    world.cycle()
    assert len(world.store.select()) == 1


def test_a_cloud_that_does_not_tell_its_flavors_gets_no_vm_doubled_elsewhere():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    world.wait_for_jobs(1)
    world.cycle()
    site = world.the_vm().vm_type.site
    (cloud,) = (cloud for key, cloud in world.clouds.items() if key.site == site)
    cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE)
    world.dirac.queues = [
        replace(queue, matches=frozenset(key for key in queue.matches if key.site != site))
        for queue in world.dirac.queues
    ]
    world.cycle()
    assert len(world.store.select()) == 1


def test_pilots_are_registered_as_soon_as_pilotmanager_is_back():
    world = World()
    world.dirac.away.add("PilotManager")
    world.wait_for_jobs(1)
    world.cycle()
    assert world.dirac.stamps == {}
    world.dirac.away.clear()
    world.cycle()
    assert list(world.dirac.stamps) == [world.the_vm().pilot_reference]


def test_a_cloud_that_hangs_costs_the_others_nothing_but_the_patience():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    hanging = next(iter(world.clouds))
    released = threading.Event()
    world.clouds[hanging].list_servers = lambda: released.wait(30) and ()
    world.director._observer._looks = Looks(world.director._workers, deadline=2)
    world.wait_for_jobs(1)
    try:
        plan = world.cycle()
        assert [create.vm_type.endpoint for create in plan.creates] == [key for key in world.clouds if key != hanging]
        world.cycle()
        assert any("'list servers' for" in warning for warning in world.log.warnings)
    finally:
        released.set()


def test_a_server_in_error_is_deleted_and_its_fault_is_the_reason():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.NO_CAPACITY)
    world.wait_for_jobs(1)
    world.cycle(60)
    assert world.cloud.list_servers()[0].status is ServerStatus.ERROR
    world.cycle()
    assert "No valid host was found" in world.the_vm().outcome_reason


def test_a_server_that_appears_after_its_intent_was_given_up_is_deleted():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.cloud.faults.next(Call.LIST, None)
    world.wait_for_jobs(1)
    world.cycle()
    world.wait_for_jobs(0)
    with hidden_servers(world.cloud, lists=20):
        for _ in range(20):
            world.cycle()
    assert world.the_vm().state is VMState.ENDED
    assert len(world.cloud._servers()) == 1
    world.cycle()
    assert world.cloud._servers() == ()


def test_a_list_that_suddenly_lacks_most_servers_ends_nothing_and_starts_nothing():
    world = World()
    world.wait_for_jobs(4)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(8)
    with hidden_servers(world.cloud, lists=6):
        for _ in range(6):
            world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}
    assert world.cloud.calls[Call.CREATE] == 4
    assert "4 of 4 servers are missing" in world.report().line
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 8


def test_while_the_matcher_is_away_the_report_says_so():
    world = World()
    world.dirac.away.add("Matcher")
    world.cycle()
    assert "the Matcher: connection refused" in world.report().problem


def test_results_that_could_not_be_recorded_are_recorded_when_the_database_is_back():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.REJECT)
    world.wait_for_jobs(1)
    move_all = world.store.move_all

    def gone(steps):
        if steps:
            raise StoreUnavailable("gone")
        return ()

    world.store.move_all = gone
    with pytest.raises(StoreUnavailable):
        world.cycle()
    world.store.move_all = move_all
    world.cycle()
    assert world.the_vm().outcome is Outcome.REJECTED


def test_an_unexpected_failure_of_one_delete_keeps_nothing_else_from_being_done():
    world = World()
    world.wait_for_jobs(2)
    world.cycle(60)
    world.wait_for_jobs(0)
    first, second = sorted(world.store.select(), key=lambda record: record.vm_id)
    for record in (first, second):
        world.store.request_kill(record.vm_id, "adm", "enough", world.now)
    delete, broken = world.cloud.delete_server, world.store.get(first.vm_id).server_id

    def fail_for_one(server_id):
        if server_id == broken:
            raise PermissionError("not yours")
        delete(server_id)

    world.cloud.delete_server = fail_for_one
    world.cycle()
    assert [server.id for server in world.cloud.list_servers()] == [broken]
    assert any("not yours" in warning for warning in world.log.warnings)


def test_a_pilot_whose_end_could_not_be_told_is_ended_later():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.store.request_kill(world.the_vm().vm_id, "adm", "enough", world.now)
    world.cycle()
    world.dirac.away.add("PilotManager")
    for _ in range(3):
        world.cycle()
    assert world.the_vm().state is VMState.ENDED
    assert world.dirac.ends == {}
    world.dirac.away.clear()
    world.cycle()
    assert world.dirac.ends[world.the_vm().pilot_reference][0] == "Deleted"


def at_work_while_dirac_knows_no_pilots(says_hello: bool) -> World:
    """A VM that was made and began to work while PilotManager was away, which it is for forty minutes."""
    world = World()
    world.dirac.away.add("PilotManager")
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    if says_hello:
        world.cloud.write_console(world.the_vm().server_id, f"@jennifer {world.the_vm().vm_id} hello uptime=20\n")
    for _ in range(40):
        world.cycle(60)
    world.dirac.away.clear()
    return world


@pytest.mark.parametrize("says_hello", [True, False])
def test_a_vm_whose_pilot_could_not_be_entered_is_not_ended_for_its_silence(says_hello):
    world = at_work_while_dirac_knows_no_pilots(says_hello)
    back_since = world.now
    for _ in range(world.policy.registration_timeout // timedelta(minutes=1)):
        world.cycle(60)
    assert world.the_vm().outcome is None
    assert world.the_vm().pilot_entered_at == back_since


def test_a_vm_that_took_its_job_before_its_pilot_was_entered_is_not_idle():
    world = at_work_while_dirac_knows_no_pilots(says_hello=True)
    for _ in range(2 * world.policy.idle_timeout // timedelta(minutes=1)):
        world.cycle(60)
        assert world.dirac.pilots[world.the_vm().pilot_reference] == PilotFacts(PilotState.RUNNING, 0)
    assert world.the_vm().state is VMState.RUNNING


def test_that_a_pilot_was_entered_is_recorded_in_a_later_cycle_when_the_database_went_away():
    world = World()
    world.wait_for_jobs(1)
    note_all = world.store.note_all

    def gone(news):
        if news:
            raise StoreUnavailable("gone")

    world.store.note_all = gone
    with pytest.raises(StoreUnavailable):
        world.cycle()
    world.store.note_all = note_all
    assert (len(world.dirac.pilots), world.the_vm().pilot_entered_at) == (1, None)
    world.cycle(0)
    assert world.the_vm().pilot_entered_at == world.now


def test_the_pilot_of_an_open_intent_is_entered_because_its_server_may_be_there():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.wait_for_jobs(1)
    world.cycle()
    assert world.the_vm().state is VMState.PLANNED
    assert world.the_vm().pilot_reference in world.dirac.pilots


def lose_a_record(world: World, database: MemoryDatabase) -> str:
    """One of two VMs at work is forgotten, and the director comes to know in a cycle; the one that is kept."""
    database.clock = lambda: world.now
    world.wait_for_jobs(2)
    world.cycle(60)
    world.cycle()
    for record in world.store.select():
        world.cloud.write_console(record.server_id, f"@jennifer {record.vm_id} hello\n")
    world.wait_for_jobs(0)
    lost, kept = sorted(database.live)
    database.lose(lost)
    with pytest.raises(StoreUnavailable, match=f"a record is lost.*{lost}"):
        world.cycle()
    return kept


def test_a_record_that_is_lost_costs_one_cycle_and_its_server_is_a_stray():
    database = MemoryDatabase()
    world = World(store=MemoryStore(database))
    kept = lose_a_record(world, database)
    world.cycle()
    assert (list(database.live), database.live[kept].state) == ([kept], VMState.RUNNING)
    assert len(world.cloud.list_servers()) == 2


@pytest.mark.parametrize("whole_lists", [0, 1])
def test_a_stray_that_short_lists_hide_still_takes_its_room(whole_lists):
    database = MemoryDatabase()
    world = World(store=MemoryStore(database))
    world.configs = tuple(config.model_copy(update={"max_vms": 2}) for config in world.configs)
    lose_a_record(world, database)
    for _ in range(whole_lists):
        world.cycle()
    world.wait_for_jobs(5)
    for _ in range(3):
        world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
        world.cycle()
    assert len(world.cloud.list_servers()) == 2


def test_an_account_that_cannot_be_read_does_not_keep_vms_from_being_started():
    world = World()

    def refuse():
        raise AuthenticationFailed("403")

    world.cloud.account = refuse
    world.wait_for_jobs(1)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_a_create_that_is_throttled_keeps_the_next_look_away_too():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.THROTTLE, seconds=200)
    world.wait_for_jobs(1)
    world.cycle()
    looks = world.cloud.calls[Call.LIST]
    world.cycle()
    assert world.cloud.calls[Call.LIST] == looks
    assert "too many requests" in world.log.warnings[-1]


def test_a_delete_that_is_throttled_keeps_everything_else_away():
    world = World()
    world.wait_for_jobs(3)
    world.cycle(60)
    world.cycle()
    for record in world.store.select():
        world.cloud.stop(record.server_id)
    world.wait_for_jobs(0)
    world.wait_for_jobs(1, id=2)
    before = world.cloud.calls.copy()
    world.cloud.faults.next(Call.DELETE, Fault.THROTTLE, seconds=200)
    world.cycle()
    world.cycle()
    sent = world.cloud.calls - before
    assert (sent[Call.DELETE], sent[Call.CREATE], sent[Call.LIST]) == (1, 0, 1)


def test_a_console_that_is_throttled_costs_no_list_and_keeps_everything_else_away():
    world = World()
    world.wait_for_jobs(3)
    world.cycle(60)
    before = world.cloud.calls.copy()
    world.wait_for_jobs(5)
    world.cloud.faults.next(Call.CONSOLE, Fault.THROTTLE, seconds=200)
    world.cycle()
    sent = world.cloud.calls - before
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}, "the list counts"
    assert (sent[Call.CONSOLE], sent[Call.CREATE]) == (1, 0)
    assert len(world.store.select()) == 3, "no intent is recorded for what cannot be sent"
    assert "too many requests" in world.report().line


def test_a_credential_that_may_list_and_not_create_is_not_tried_again_and_again():
    world = World()
    world.wait_for_jobs(5)
    world.cloud.faults.next(Call.CREATE, Fault.UNAUTHORISED, times=9)
    for _ in range(10):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_a_lack_of_room_for_one_vm_type_keeps_no_other_from_being_asked_for():
    world = World()
    (config,) = world.configs
    (small,) = config.vm_types
    world.configs = (config.model_copy(update={"vm_types": (small, small.model_copy(update={"queue": "p"}))}),)
    keys = [VMTypeKey(config.site, config.ce, queue) for queue in "qp"]
    world.dirac.queues = [TaskQueue(number, "belle", 2, 1, frozenset({key})) for number, key in enumerate(keys)]
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING)
    world.cycle()
    made = [record.vm_type for record in world.store.select() if record.server_id]
    assert len(made) == 2 and len(set(made)) == 1


def test_servers_are_looked_after_while_the_cloud_does_not_tell_what_it_has():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cloud.faults.next(Call.CATALOGUE, Fault.UNREACHABLE, times=2)
    world.wait_for_jobs(2)
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    assert "what the cloud has is not known" in world.report().line


def test_where_every_other_look_fails_a_vm_that_never_speaks_is_ended_in_time():
    """As at a cloud where one delete hangs in every cycle, and keeps the next look away."""
    world = World()
    world.wait_for_jobs(1)
    world.cycle()
    world.wait_for_jobs(0)
    for _ in range(world.policy.registration_timeout // timedelta(minutes=1)):
        world.cloud.faults.next(Call.LIST, Fault.UNREACHABLE)
        world.cycle(30)
        world.cycle(30)
    world.cycle(60)
    world.cycle()
    assert world.the_vm().outcome is Outcome.NEVER_REPORTED


def test_what_was_resolved_is_recorded_even_if_nobody_knows_whether_the_vm_was_made():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.wait_for_jobs(1)
    world.cycle()
    world.cycle()
    assert world.the_vm().state is not VMState.PLANNED
    assert (world.the_vm().image, world.the_vm().flavor) == ("i1", "f1")


def test_vms_that_short_lists_in_a_row_lack_are_asked_for_by_name():
    world = World()
    world.wait_for_jobs(4)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.cloud.faults.next(Call.LIST, Fault.SHORT_LIST, times=3)
    for _ in range(3):
        world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}
    assert world.cloud.calls[Call.FIND] == 2  # of one list; a server that was found lacks nothing in the next


def test_a_server_that_cannot_be_asked_for_is_not_believed_gone():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.wait_for_jobs(0)
    world.cycle()
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=2)
    world.cloud.faults.next(Call.FIND, Fault.UNREACHABLE)
    for _ in range(2):
        world.cycle()
    assert world.the_vm().state is VMState.BOOTING
