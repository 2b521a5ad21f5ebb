"""Whole cycles: observe, plan, record intents, act, record outcomes."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from director_world import START, World, booting, started

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import LimitOptions
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    Expiry,
    Identity,
    Network,
    ServerRequest,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.Director import RefusedToStart
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import MAX_CONSOLES
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, PilotState, VMState


def end_word(vm: str, code: int, reason: str) -> str:
    return f'@jennifer {vm} hello\n@jennifer {vm} end code={code} reason="{reason}"\n'


def test_a_waiting_job_gets_one_vm_that_works_and_is_cleared_away():
    world = started()
    assert world.the_vm().state is VMState.REQUESTED
    world.cycle()
    assert world.the_vm().state is VMState.BOOTING
    reference = world.the_vm().pilot_reference
    assert world.dirac.stamps == {reference: world.the_vm().pilot_stamp}

    world.pilot_becomes(PilotState.RUNNING, jobs=1)
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
    world = World(jobs=1)
    world.cloud.networks = (Network("n1", "private", subnets=("10.0.0.0/24",)), Network("n2", "bare"))
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
    world = World(jobs=1)
    for _ in range(10):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1


def test_the_intent_is_recorded_before_the_create_is_sent():
    world = World(jobs=1)
    seen_by_the_cloud = []
    create = world.cloud.create_server
    world.cloud.create_server = lambda request: (seen_by_the_cloud.append(world.the_vm().state), create(request))[1]
    world.cycle()
    assert seen_by_the_cloud == [VMState.PLANNED]


def test_a_pilot_registered_after_its_vm_spoke_is_entered_as_running():
    world = World(jobs=1)
    world.dirac.away.add("PilotManager")
    world.cycle(60)
    world.cloud.write_console(world.the_vm().server_id, f"@jennifer {world.the_vm().vm_id} hello\n")
    world.cycle()
    world.dirac.away.clear()
    world.cycle()
    assert world.dirac.pilots[world.the_vm().pilot_reference].state is PilotState.RUNNING


def test_a_killed_vm_is_deleted_in_the_next_cycle_and_its_pilot_with_it():
    world = booting()
    world.store.request_kill(world.the_vm().vm_id, "adm", "killed by adm: no reason", world.now)
    for _ in range(3):
        world.cycle()
    assert world.cloud.list_servers() == ()
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.KILLED)
    assert world.dirac.ends[world.the_vm().pilot_reference][0] == "Deleted"


def test_a_site_out_of_the_mask_gets_nothing_and_the_reason_is_named():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=1)
    closed = next(iter(world.clouds))
    world.dirac.unusable = {closed: "site CLOUD.A.fr is Banned in the site mask"}
    world.cycle()
    assert world.clouds[closed].calls[Call.CREATE] == 0
    assert world.the_vm().endpoint != closed


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


def test_after_a_back_off_there_is_one_probe_and_no_more():
    world = World(jobs=5)
    world.cloud.faults.next(Call.CREATE, Fault.DIES_AT_ONCE, times=9)
    world.cycle(60)
    for _ in range(50):
        world.cycle()
    assert world.cloud.calls[Call.CREATE] == 6


def test_a_vm_that_said_its_end_and_stays_up_is_deleted():
    world = booting()
    world.cloud.write_console(world.the_vm().server_id, end_word(world.the_vm().vm_id, 300, "nothing to do"))
    world.cycle(60)
    assert len(world.cloud.list_servers()) == 1
    for _ in range(int(world.policy.poweroff_timeout.total_seconds() / 60) + 1):
        world.cycle(60)
    assert world.cloud.list_servers() == ()
    assert world.the_vm().outcome is Outcome.NO_WORK


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


def test_the_console_of_a_vm_that_never_said_its_end_is_kept():
    world = booting()
    world.cloud.stop(world.the_vm().server_id, "Kernel panic - not syncing")
    world.cycle()
    assert "Kernel panic" in world.store.console_tail(world.the_vm().vm_id)


def test_a_pause_of_the_director_times_nothing_out():
    world = booting()
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


def test_a_vo_has_no_more_than_its_limit_over_all_endpoints():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    world.profiles["belle"] = ProfileConfig(max_vms=1)
    world.wait_for_jobs(5)
    world.wait_for_jobs(5, vo="t2k.org", id=2)
    world.cycle()
    assert Counter(record.vo for record in world.store.select()) == {"belle": 1, "t2k.org": 5}
    assert "VOMaxVMs" in world.report().line


def test_a_quota_domain_limits_the_endpoints_that_name_it_together():
    world = World("CLOUD.A.fr", "CLOUD.B.fr", jobs=5)
    world.configs = tuple(config.model_copy(update={"quota_domain": "grif"}) for config in world.configs)
    world.config = world.config.model_copy(update={"quota_domains": {"grif": LimitOptions(max_cores=3)}})
    world.cycle()
    assert len(world.store.select()) == 3
    assert "QuotaDomainMaxCores" in world.report().line


def test_a_vo_whose_profile_is_broken_is_refused_alone():
    world = World()
    problem = ConfigProblem("/Operations/belle/Cloud/MaxVM", "an option that exists", "MaxVM, which does not")

    def read_profile(vo):
        if vo == "belle":
            raise ConfigError([problem])
        return ProfileConfig()

    world.director._read_profile = read_profile
    world.wait_for_jobs(1)
    world.wait_for_jobs(1, vo="t2k.org", id=2)
    world.cycle()
    assert [record.vo for record in world.store.select()] == ["t2k.org"]
    assert "/Operations/belle/Cloud/MaxVM" in world.report().line
