"""Whole cycles: observe, plan, record intents, act, record outcomes."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from director_world import START, World

from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    AuthenticationFailed,
    Expiry,
    Identity,
    Limits,
    Network,
    ServerRequest,
    ServerStatus,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import RefusedToStart
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointWorker import LONGEST_PAUSE, EndpointWorker
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import LONGEST_SILENCE, ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Looks import Looks
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import MAX_CONSOLES, Observation
from JenniferDIRAC.WorkloadManagementSystem.Director.PilotFollower import VANISHED_GRACE
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import (
    Limit,
    Outcome,
    PilotState,
    TaskQueue,
    VMState,
    VMTypeKey,
)


def end_word(vm: str, code: int, reason: str) -> str:
    return f'@jennifer {vm} hello\n@jennifer {vm} end code={code} reason="{reason}"\n'


def test_a_waiting_job_gets_one_vm_that_works_and_is_cleared_away():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    assert world.the_vm().state is VMState.REQUESTED
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    reference = world.the_vm().pilot_reference
    assert world.dirac.stamps == {reference: world.the_vm().pilot_stamp}

    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], state=PilotState.RUNNING, jobs=1)
    world.wait_for_jobs(0)
    world.cycle()
    assert (world.the_vm().state, world.the_vm().jobs) == (VMState.RUNNING, 1)

    (server,) = world.cloud.list_servers()
    world.cloud.stop(server.id, end_word(world.the_vm().vm_id, 200, "all done"))
    world.cycle()
    assert world.cloud.list_servers() == ()
    world.cycle()
    world.cycle()
    ended = world.the_vm()
    assert (ended.state, ended.outcome, ended.code) == (VMState.ENDED, Outcome.WORKED, 200)
    assert "all done" in ended.outcome_reason
    assert world.dirac.ends[reference][0] == "Done"
    assert "hello" in world.store.console_tail(ended.vm_id)


def test_what_the_words_of_the_cs_were_resolved_to_is_recorded_with_the_vm():
    world = World()
    world.cloud.networks = (Network("n1", "private", subnets=("10.0.0.0/24",)), Network("n2", "bare"))
    world.wait_for_jobs(1)
    world.cycle()
    assert (world.the_vm().image, world.the_vm().flavor, world.the_vm().networks) == ("i1", "f1", "n1")
    assert world.cloud.requests[0].networks == (Network("n1", "private", subnets=("10.0.0.0/24",)),)


def test_at_a_cloud_that_bears_it_several_creates_are_under_way_at_once():
    world = World()
    world.cloud.parallel_requests = 3
    together, create = threading.Barrier(3), world.cloud.create_server

    def create_in_company(request):
        together.wait(10)  # passes only when three are here
        return create(request)

    world.cloud.create_server = create_in_company
    world.wait_for_jobs(3)
    world.cycle()
    assert [record.state for record in world.store.select()] == [VMState.REQUESTED] * 3


def test_a_booting_vm_is_not_doubled_while_its_job_still_waits():
    world = World()
    world.wait_for_jobs(1)
    for _ in range(10):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_the_intent_is_recorded_before_the_create_is_sent():
    world = World()
    world.wait_for_jobs(1)
    seen_by_the_cloud = []
    create = world.cloud.create_server
    world.cloud.create_server = lambda request: (seen_by_the_cloud.append(world.the_vm().state), create(request))[1]
    world.cycle()
    assert seen_by_the_cloud == [VMState.PLANNED]


def test_nothing_is_sent_when_the_intent_cannot_be_recorded():
    world = World()
    world.wait_for_jobs(1)

    def gone(*_):
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


def test_a_full_cloud_is_no_fault_of_the_vm_type():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.REFUSE)
    world.wait_for_jobs(1)
    world.cycle()
    assert world.the_vm().outcome is Outcome.FAILED_TO_START
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
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=2)
    for _ in range(4):
        world.cycle()
    assert world.the_vm().outcome is Outcome.VANISHED
    assert len(world.cloud.list_servers()) == 1
    world.dirac.pilots[reference] = replace(world.dirac.pilots[reference], state=PilotState.FINISHED)
    world.cycle()
    world.cycle()
    assert world.cloud.list_servers() == ()


def test_a_pilot_registered_after_its_vm_spoke_is_entered_as_running():
    world = World()
    world.dirac.away.add("PilotManager")
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cloud.write_console(world.the_vm().server_id, f"@jennifer {world.the_vm().vm_id} hello\n")
    world.cycle()
    world.dirac.away.clear()
    world.cycle()
    assert world.dirac.pilots[world.the_vm().pilot_reference].state is PilotState.RUNNING


def test_a_killed_vm_is_deleted_in_the_next_cycle_and_its_pilot_with_it():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.store.request_kill(world.the_vm().vm_id, "adm", "killed by adm: no reason", world.now)
    for _ in range(3):
        world.cycle()
    assert world.cloud.list_servers() == ()
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.KILLED)
    assert world.dirac.ends[world.the_vm().pilot_reference][0] == "Deleted"


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


def test_a_site_out_of_the_mask_gets_nothing_and_the_reason_is_named():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    closed = next(iter(world.clouds))
    world.dirac.unusable = {closed: "site CLOUD.A.fr is Banned in the site mask"}
    world.wait_for_jobs(1)
    world.cycle()
    assert world.clouds[closed].calls[Call.CREATE] == 0
    assert world.the_vm().endpoint != closed


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


def test_servers_of_another_installation_are_counted_and_never_touched():
    world = World()
    request = ServerRequest(
        Identity("f" * 32, "e" * 32, "belle", 1), world.cloud.images[0], world.cloud.flavors[0], b"#cloud-config\n"
    )
    stranger = world.cloud.create_server(request)
    world.cloud.add_foreign("somebody's desktop")
    for _ in range(3):
        world.cycle(86400)
    assert stranger.id in {server.id for server in world.cloud.list_servers()}
    assert world.cloud.calls[Call.DELETE] == 0


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
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=20)
    world.wait_for_jobs(1)
    world.cycle()
    world.wait_for_jobs(0)
    for _ in range(20):
        world.cycle()
    assert world.the_vm().state is VMState.ENDED
    assert len(world.cloud._servers()) == 1
    world.cycle()
    assert world.cloud._servers() == ()


def test_after_a_back_off_there_is_one_probe_and_no_more():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.DIES_AT_ONCE, times=9)
    world.wait_for_jobs(5)
    world.cycle(60)
    for _ in range(50):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 6


def test_a_vm_that_said_its_end_and_stays_up_is_deleted():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.cloud.write_console(world.the_vm().server_id, end_word(world.the_vm().vm_id, 300, "nothing to do"))
    world.cycle(60)
    assert len(world.cloud.list_servers()) == 1
    for _ in range(int(world.policy.poweroff_timeout.total_seconds() / 60) + 1):
        world.cycle(60)
    assert world.cloud.list_servers() == ()
    assert world.the_vm().outcome is Outcome.NO_WORK


def test_a_list_that_suddenly_lacks_most_servers_ends_nothing_and_starts_nothing():
    world = World()
    world.wait_for_jobs(4)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(8)
    world.cloud.faults.next(Call.LIST, Fault.EMPTY_LIST, times=6)
    for _ in range(6):
        world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.BOOTING}
    assert world.cloud.calls[Call.CREATE] == 4
    assert "4 of 4 servers are missing" in world.report().line
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 8


def test_more_silent_vms_than_consoles_are_read_in_a_cycle_are_all_heard_in_time():
    world = World()
    world.config = world.config.model_copy(update={"max_booting": 60, "max_creates_per_cycle": 60})
    world.wait_for_jobs(MAX_CONSOLES + 10)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    for record in world.store.select():
        world.cloud.write_console(record.server_id, f"@jennifer {record.vm_id} hello\n")
    world.cycle()
    world.cycle()
    assert {record.state for record in world.store.select()} == {VMState.RUNNING}


def test_a_cs_without_an_endpoint_is_survived_and_other_problems_are_told_once():
    world = World()
    world.configs = ()
    world.problems = (ConfigProblem("/Resources/Sites", "a section", "nothing"),)
    world.cycle()
    world.cycle()
    assert world.log.errors == ["An endpoint is disabled by its configuration " + str(world.problems[0])]


def test_a_broken_endpoint_has_a_report_of_its_own_and_the_others_work():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    world.configs = world.configs[1:]
    world.problems = (ConfigProblem("/Resources/Sites/CLOUD/CLOUD.A.fr/CEs/a/MaxVMs", "a whole number", "many"),)
    world.wait_for_jobs(1)
    world.cycle()
    assert len(world.store.select()) == 1
    broken = [report for report in world.store.reports() if report.site == "CLOUD.A.fr"]
    assert {report.vo for report in broken} == {"belle", "t2k.org", "hyperk.org"}
    assert "a whole number" in broken[0].problem


def test_a_vo_without_a_credential_is_refused_alone():
    world = World()
    world.dirac.without_credential = {"t2k.org"}
    world.wait_for_jobs(1, "belle", id=1)
    world.wait_for_jobs(1, "t2k.org", id=2)
    world.cycle()
    assert [record.vo for record in world.store.select()] == ["belle"]
    assert "credential of t2k.org" in world.report("t2k.org").problem


def test_demand_that_no_endpoint_can_serve_is_reported_all_the_same():
    world = World()
    world.wait_for_jobs(3, "belle", processors=64)
    world.cycle()
    assert sum(unmet.cores for report in world.store.reports() for unmet in report.unmet) == 192


def test_while_the_matcher_is_away_the_report_says_so():
    world = World()
    world.dirac.away.add("Matcher")
    world.cycle()
    assert "the Matcher: connection refused" in world.report().problem


def test_results_that_could_not_be_recorded_are_recorded_when_the_database_is_back():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.REJECT)
    world.wait_for_jobs(1)
    move = world.store.move
    world.store.move = lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("gone"))
    with pytest.raises(StoreUnavailable):
        world.cycle()
    world.store.move = move
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


def test_the_console_of_a_vm_that_never_said_its_end_is_kept():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.cloud.stop(world.the_vm().server_id, "Kernel panic - not syncing")
    world.cycle()
    assert "Kernel panic" in world.store.console_tail(world.the_vm().vm_id)


def test_a_pause_of_the_director_times_nothing_out():
    world = World()
    world.wait_for_jobs(1)
    world.cycle(60)
    world.cycle()
    world.wait_for_jobs(0)
    world.now += timedelta(hours=6)
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING


def test_a_broken_setup_is_refused_at_the_start():
    world = World()
    world.dirac.refusal = "/DIRAC/VirtualOrganization is set"
    with pytest.raises(RefusedToStart, match="VirtualOrganization"):
        world.director.check_setup()


def test_a_credential_that_soon_ends_is_told_once_a_day_and_an_alarm_in_its_last_week():
    world = World()
    end = world.now + timedelta(days=29)
    world.cloud.account = lambda: Account(expiries=(Expiry("application credential", end), Expiry("token", None)))
    world.cycle()
    assert world.log.warnings == [] == world.log.errors
    for _ in range(2):
        world.now = end - timedelta(days=27, hours=12)
        world.cycle()
    (warning,) = world.log.warnings
    assert "CLOUD.A.fr" in warning and "application credential ends in 27 days" in warning
    world.now = end - timedelta(days=6, hours=12)
    world.cycle()
    (alarm,) = world.log.errors
    assert "ends in 6 days" in alarm
    world.now = end + timedelta(days=1)
    world.cycle()
    assert "application credential ended on 2026-01-30" in world.log.errors[-1]


def test_an_account_is_asked_for_once_an_hour_and_not_once_a_cycle():
    world, asked = World(), []
    world.cloud.account = lambda: asked.append(world.now) or Account()
    for _ in range(7):
        world.cycle(600)
    assert asked == [START, START + timedelta(hours=1)]


def test_an_account_that_cannot_be_read_does_not_keep_vms_from_being_started():
    world = World()

    def refuse():
        raise AuthenticationFailed("403")

    world.cloud.account = refuse
    world.wait_for_jobs(1)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def worker_whose_first_look_meets(fault: Fault, clock: Clock, seconds: float | None = None):
    """A worker, and the clouds that it made."""
    made: list[FakeEndpoint] = []

    def make() -> FakeEndpoint:
        made.append(FakeEndpoint())
        if len(made) == 1:
            made[0].faults.next(Call.LIST, fault, seconds=seconds)
        return made[-1]

    return EndpointWorker("e", make, clock), made


def look(worker: EndpointWorker):
    future = worker.start("list", lambda cloud: cloud.list_servers())
    return future.exception(10) or future.result()


def test_a_cloud_that_refused_the_credential_is_left_alone_and_then_connected_with_the_mended_one():
    clock = Clock()
    worker, made = worker_whose_first_look_meets(Fault.UNAUTHORISED, clock)
    assert isinstance(look(worker), AuthenticationFailed)
    clock.now += LONGEST_PAUSE - 1
    refused = look(worker)
    assert isinstance(refused, AuthenticationFailed) and "not tried for another 1 s" in str(refused)
    assert len(made) == 1, "a log-in that fails in every cycle could lock the account"
    clock.now += 1
    assert look(worker) == () == look(worker)
    assert len(made) == 2


def test_a_cloud_that_asks_to_slow_down_is_left_alone_for_as_long():
    clock = Clock()
    worker, made = worker_whose_first_look_meets(Fault.THROTTLE, clock, seconds=60)
    assert isinstance(look(worker), Throttled)
    clock.now += 59
    assert isinstance(look(worker), Throttled)
    assert made[0].calls[Call.LIST] == 1
    clock.now += 1
    assert look(worker) == ()
    assert len(made) == 1


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


def test_a_task_whose_thread_cannot_be_started_does_not_block_the_endpoint(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    worker = EndpointWorker("e", FakeEndpoint)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert isinstance(look(worker), Unreachable)
    assert look(worker) == ()


def test_a_look_that_fails_is_no_break_in_watching_and_a_long_silence_is():
    memory, now = ListingMemory(), START
    seen = Observation((), Limits(), {})
    for _ in range(20):
        memory.see(seen, False, (), now)
        memory.see(Unreachable("slow"), False, (), now + timedelta(minutes=1))
        now += timedelta(minutes=2)
    assert memory.since == START
    memory.see(Unreachable("hangs"), False, (), now + LONGEST_SILENCE)
    assert memory.since is None
    memory.see(seen, False, (), now + timedelta(minutes=11))
    assert memory.since == now + timedelta(minutes=11)


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


def test_the_longest_pause_that_a_cloud_is_given_is_no_break_in_watching():
    assert timedelta(seconds=LONGEST_PAUSE) + timedelta(minutes=2) < LONGEST_SILENCE


def test_what_was_resolved_is_recorded_even_if_nobody_knows_whether_the_vm_was_made():
    world = World()
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.wait_for_jobs(1)
    world.cycle()
    world.cycle()
    assert world.the_vm().state is not VMState.PLANNED
    assert (world.the_vm().image, world.the_vm().flavor) == ("i1", "f1")
