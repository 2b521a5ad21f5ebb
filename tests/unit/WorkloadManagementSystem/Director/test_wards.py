"""Endpoints that leave the CS, or whose section is broken, while they have VMs."""

from __future__ import annotations

from datetime import timedelta

from director_world import World, endpoint_of, started
from sqlalchemy import select, text

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig, VOLimits
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigProblem
from JenniferDIRAC.ConfigurationSystem.TemplateParts import Layer, TemplatePart
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import EndpointConfiguration
from JenniferDIRAC.WorkloadManagementSystem.Director.Wards import WardKeeper
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Outcome, VMState

BROKEN = ConfigProblem("/Resources/Sites/CLOUD/CLOUD.A.fr/CEs/cloud.a.fr-ce/MaxVMs", "a whole number", "many")


def leaves_the_cs(world: World) -> None:
    world.configs = ()


def breaks(world: World) -> None:
    world.configs, world.problems = (), (BROKEN,)


def with_a_vm() -> World:
    world = started()
    world.cycle()
    return world


def test_the_vms_of_an_endpoint_that_left_the_cs_are_looked_after_to_their_end():
    world = with_a_vm()
    world.wait_for_jobs(5)
    leaves_the_cs(world)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 1
    assert world.report().problem == "it is no longer in the CS"
    assert any("CLOUD.A.fr/cloud.a.fr-ce still has VMs" in words for words in world.log.warnings)
    world.kill()
    for _ in range(3):
        world.cycle()
    assert world.cloud.list_servers() == ()
    assert (world.the_vm().state, world.the_vm().outcome) == (VMState.ENDED, Outcome.KILLED)


def test_the_vms_of_an_endpoint_whose_section_is_broken_are_looked_after_with_the_last_good_one():
    world = with_a_vm()
    breaks(world)
    world.cloud.stop(world.the_vm().server_id)
    for _ in range(3):
        world.cycle()
    assert world.the_vm().state is VMState.ENDED
    world.cycle()
    assert {report.problem for report in world.store.reports() if report.site} == {str(BROKEN)}


def test_a_director_that_starts_anew_knows_the_last_good_configuration():
    world = with_a_vm()
    breaks(world)
    world.restart()
    looks = world.cloud.calls[Call.LIST]
    world.cycle()
    assert world.cloud.calls[Call.LIST] == looks + 1
    assert world.report().problem == str(BROKEN)


def test_a_second_director_does_not_look_at_what_left_the_cs_where_the_first_one_does():
    world = with_a_vm()
    leaves_the_cs(world)
    world.cycle()
    looks = world.cloud.calls[Call.LIST]
    world.another_director().cycle()
    assert world.cloud.calls[Call.LIST] == looks


def test_what_has_left_the_cs_and_has_no_vms_any_more_is_forgotten():
    world = with_a_vm()
    assert len(world.store.configs.kept()) == 1
    leaves_the_cs(world)
    world.cycle()
    assert len(world.store.configs.kept()) == 1
    world.cloud.stop(world.the_vm().server_id)
    for _ in range(4):
        world.cycle()
    assert world.store.configs.kept() == {}
    world.log.warnings.clear()
    world.cycle()
    assert world.log.warnings == []


def test_what_a_director_forgot_while_another_started_vms_there_is_known_again():
    """The CS reaches two directors at different times."""
    config, kept = endpoint_of("CLOUD.A.fr"), World().store.configs
    with_vms, there, gone = frozenset({key_of(config)}), CloudSites((config,), ()), CloudSites((), ())
    early, late = WardKeeper(kept), WardKeeper(kept)
    for director in (early, late):
        director.wards(there, frozenset())
    early.wards(gone, frozenset())
    late.wards(there, with_vms)
    assert early.wards(gone, with_vms).lost == with_vms
    late.wards(gone, with_vms)
    assert early.wards(gone, with_vms).configs == {key_of(config): config}


def test_an_endpoint_that_comes_back_is_used_again():
    world = with_a_vm()
    configs = world.configs
    leaves_the_cs(world)
    world.cycle()
    world.configs = configs
    world.wait_for_jobs(2)
    world.cycle()
    assert world.cloud.calls[Call.CREATE] == 2


def test_vms_of_which_no_good_configuration_is_known_are_told():
    world = with_a_vm()
    leaves_the_cs(world)
    world.restart()
    with world.store._engine.begin() as connection:
        connection.execute(text("UPDATE EndpointConfigurations SET document = '{}'"))
    world.cycle()
    world.cycle()
    assert [words for words in world.log.warnings if "nobody looks after them" in words] == [
        "CLOUD.A.fr/cloud.a.fr-ce still has VMs, and no good configuration of it is known: nobody looks after them"
    ]
    assert world.the_vm().state is VMState.BOOTING


def test_a_configuration_comes_back_as_it_was_kept(tmp_path):
    world = World()
    vm_type = VMTypeConfig(
        site="CLOUD.A.fr",
        ce="ce",
        queue="q",
        vos=frozenset({"belle", "t2k.org"}),
        cpu_time=86400,
        wall_time=timedelta(hours=30),
        image="os_distro=almalinux, os_version>=9",
        flavor="cores>=4",
        networks=("name:a", "b"),
        max_vms=3,
        whole_node=True,
        template_parts=(TemplatePart(Layer.SITE, "swap"), TemplatePart(Layer.VM_TYPE, "/etc/ours.j2")),
    )
    config = EndpointConfig(
        site="CLOUD.A.fr",
        ce="ce",
        ce_type="JenniferQEMU",
        vm_types=(vm_type,),
        max_cores=0,
        image_directory=tmp_path,
        shares={"belle": 0.5},
        vo_limits={"belle": VOLimits(max_vms=2)},
    )
    world.store.configs.keep([config])
    assert world.store.configs.kept() == {EndpointKey("CLOUD.A.fr", "ce"): config}


def test_what_another_version_kept_is_read_without_what_this_one_does_not_know():
    world = World()
    config = endpoint_of("CLOUD.A.fr")
    world.store.configs.keep([config])
    with world.store._database.transaction() as session:
        row = session.scalars(select(EndpointConfiguration)).one()
        row.document = row.document.replace(b"{", b'{"cvmfs_proxy": "squid.a.fr:3128", ', 1)
    assert world.store.configs.kept() == {key_of(config): config}


def test_a_row_that_nobody_can_read_costs_no_other_its_vms():
    world = World()
    good = endpoint_of("CLOUD.A.fr")
    world.store.configs.keep([good, endpoint_of("CLOUD.B.fr")])
    with world.store._database.transaction() as session:
        for row in session.scalars(select(EndpointConfiguration)).all():
            if row.site == "CLOUD.B.fr":
                row.document = b'{"vm_types": 5}'
    assert world.store.configs.kept() == {key_of(good): good}
