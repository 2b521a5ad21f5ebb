"""An endpoint and its VM types, as one look at their cloud shows them."""

from __future__ import annotations

from director_world import World

from JenniferDIRAC.ConfigurationSystem.PlannerTerms import key_of
from JenniferDIRAC.Resources.Cloud.Choice import choose
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Limits, Unreachable
from JenniferDIRAC.WorkloadManagementSystem.Director.CloudsSeen import CloudsSeen
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import Demand
from JenniferDIRAC.WorkloadManagementSystem.Director.EndpointAsSeen import endpoint_as_seen, matcher_questions
from JenniferDIRAC.WorkloadManagementSystem.Director.ListingMemory import ListingMemory
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation, Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import CloudUse, VMTypeKey

OURS = "a" * 32


def looked_at(look: Observation | Exception, unusable: str = "", demand: Demand | None = None):
    """The only endpoint of a World as one look saw it."""
    (config,) = World().configs
    clouds = CloudsSeen({key_of(config): look}, OURS)
    return endpoint_as_seen(config, clouds, ListingMemory(), demand or Demand(), unusable)


def offered() -> dict[str, Offering]:
    """What a World's cloud offers: a flavor of 1 core and 2048 MiB."""
    world = World()
    return {"q": Offering(choose(world.configs[0].vm_types[0], world.cloud.catalogue()))}


def test_an_endpoint_whose_cloud_did_not_answer_has_no_list_and_no_quota():
    endpoint = looked_at(Unreachable("away"), unusable="its servers could not be listed: away")
    assert (endpoint.servers, endpoint.cloud) == (None, None)
    assert endpoint.unusable == "its servers could not be listed: away"
    assert [vm_type.matches_known for vm_type in endpoint.vm_types] == [False]


def test_a_vm_type_has_the_size_of_the_flavor_that_the_cloud_offers():
    endpoint = looked_at(Observation((), Limits(max_cores=8, used_cores=2), offered()))
    (vm_type,) = endpoint.vm_types
    assert (vm_type.cores, vm_type.ram_mib, vm_type.unusable, vm_type.matches_known) == (1, 2048, "", True)
    assert (endpoint.servers, endpoint.cloud) == ((), CloudUse(max_cores=8, used_cores=2))


def test_a_vm_type_without_an_offering_or_an_answer_of_the_matcher_is_unusable():
    (config,) = World().configs
    key = VMTypeKey(config.site, config.ce, "q")
    (vm_type,) = looked_at(Observation((), Limits(), {"q": Offering(problem="no such image")})).vm_types
    assert vm_type.unusable == "no such image"
    unanswered = Demand(unanswered={key: "the Matcher: away"})
    (vm_type,) = looked_at(Observation((), Limits(), offered()), demand=unanswered).vm_types
    assert (vm_type.unusable, vm_type.matches_known) == ("the Matcher: away", False)


def test_the_matcher_is_asked_with_the_size_that_the_cs_says_and_else_with_the_flavors():
    (config,) = World().configs
    key = VMTypeKey(config.site, config.ce, "q")
    offerings = {key: offered()["q"]}

    def asked(config, offerings):
        question = matcher_questions([config], offerings)[key]
        return question["NumberOfProcessors"], question.get("MaxRAM")

    assert asked(config, offerings) == (1, 2048)
    assert asked(config, {}) == (1, None)
    (vm_type,) = config.vm_types
    own = vm_type.model_copy(update={"number_of_processors": 8, "max_ram": 16000})
    assert asked(config.model_copy(update={"vm_types": (own,)}), offerings) == (8, 16000)
