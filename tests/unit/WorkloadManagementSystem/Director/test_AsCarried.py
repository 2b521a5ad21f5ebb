"""What is kept of a plan for whoever asks why: those VMs only that were started, and what stopped the others."""

from dataclasses import replace

import pytest
from director_world import World

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.AsCarried import as_carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Carried import Carried
from JenniferDIRAC.WorkloadManagementSystem.Director.Passes import MAX_PASSES
from JenniferDIRAC.WorkloadManagementSystem.Director.UserDataMaker import UserDataUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Create, Limit, Plan, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint, VMType, VMTypeKey

Q = VMTypeKey("A", "a", "q")


def kept(world: World):
    (plan,) = world.store.plans.last()
    return plan


def test_without_a_pilot_proxy_nothing_was_started_and_why_names_the_reason():
    world = World(jobs=3)
    world.user_data.error = UserDataUnavailable("no proxy of belle: the ProxyManager is away")
    world.cycle()
    plan = kept(world)
    (answer,), (unmet,), (stop,) = plan.answers, plan.unmet, plan.stops
    assert (answer.started, answer.jobs_started, plan.creates) == ({}, 0, ())
    assert (unmet.cores, unmet.limit, unmet.detail) == (3, Limit.ENDPOINT_UNUSABLE, str(world.user_data.error))
    assert (stop.vm_type, stop.vo, stop.detail) == (unmet.vm_type, "belle", unmet.detail)
    assert sum(one.cores for one in world.report().unmet) == 3


@pytest.mark.parametrize(("fault", "started"), [(Fault.REJECT, 2), (Fault.UNREACHABLE, 0)])
def test_a_vm_that_the_cloud_refused_is_no_started_one(fault, started):
    world = World(jobs=3)
    world.cloud.faults.next(Call.CREATE, fault)
    world.cycle()
    (answer,) = kept(world).answers
    assert sum(answer.started.values()) == answer.jobs_started == len(kept(world).creates) == started
    assert world.report().started == started
    assert sum(one.cores for one in kept(world).unmet) == 3 - started
    assert kept(world).unmet[0].limit is Limit.ENDPOINT_UNUSABLE


def test_what_the_last_pass_of_a_cycle_had_no_room_for_is_unmet():
    world = World()
    (config,) = world.configs
    (vm_type,) = config.vm_types
    queues = [f"q{number}" for number in range(MAX_PASSES)]
    alike = tuple(vm_type.model_copy(update={"queue": queue}) for queue in queues)
    world.configs = (config.model_copy(update={"vm_types": alike}),)
    world.wait_for_jobs(1)
    keys = frozenset(VMTypeKey(config.site, config.ce, queue) for queue in queues)
    (queue,) = world.dirac.queues
    world.dirac.queues = [replace(queue, matches=keys)]
    world.cloud.faults.next(Call.CREATE, Fault.NO_OFFERING, times=MAX_PASSES)
    world.cycle()
    (answer,), (unmet,) = kept(world).answers, kept(world).unmet
    assert (answer.started, unmet.cores, unmet.limit) == ({}, 1, Limit.NO_ROOM)


def test_a_plan_that_was_overtaken_started_nothing_and_its_jobs_are_counted_by_what_each_vm_takes():
    plan = Plan(
        creates=(Create(Q, "belle", 8, 0, 1),) * 2,
        answers=(Answer(1, "belle", 8, 2, started={Q: 2}, jobs_started=8),),
        stops=(Stopped(Q, "belle", Limit.MAX_CREATES_PER_CYCLE, "two at a time"),),
    )
    endpoints = (Endpoint(Q.endpoint, (VMType(Q, 8, fills_cores=True),)),)
    told = as_carried(plan, Carried((), {(Q.endpoint, "belle"): "another director was faster"}), endpoints)
    assert told.unmet == (Unmet(1, "belle", 16, Limit.ENDPOINT_UNUSABLE, "another director was faster", Q),)
    assert [stop.detail for stop in told.stops] == ["another director was faster", "two at a time"]


def test_a_plan_that_was_carried_out_is_kept_as_it_was():
    world = World(jobs=3)
    plan = world.cycle()
    assert (kept(world).answers, kept(world).unmet, kept(world).creates) == (plan.answers, (), plan.creates)


def test_an_endpoint_that_cannot_be_listed_is_kept_as_unusable_although_nothing_is_wanted():
    world = World("CLOUD.A.fr", "CLOUD.B.fr")
    world.cloud.faults.next(Call.LIST, Fault.UNREACHABLE)
    world.cycle()
    ((place, why),) = kept(world).unusable.items()
    assert place == "CLOUD.A.fr/cloud.a.fr-ce" and "connection refused" in why
