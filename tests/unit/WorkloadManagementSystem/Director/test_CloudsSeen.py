"""What the looks of a cycle say together."""

from __future__ import annotations

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, Limits, Server, ServerStatus, Unreachable
from JenniferDIRAC.WorkloadManagementSystem.Director.CloudsSeen import CloudsSeen
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Observation, Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, ServerState, VMTypeKey

VM, OTHER_VM = "e" * 32, "f" * 32
OURS, THEIRS = "a" * 32, "b" * 32
A, B = EndpointKey("A", "a"), EndpointKey("B", "b")


def server(number: int, installation: str, vm: str, **other) -> Server:
    identity = Identity(installation, vm, "belle", 4)
    return Server(f"s{number}", identity.name, ServerStatus.ACTIVE, identity.metadata, **other)


def test_of_all_listings_those_servers_are_ours_that_say_so():
    listing = (server(1, OURS, VM), server(2, THEIRS, OTHER_VM), Server("s3", "somebody's", ServerStatus.ACTIVE))
    clouds = CloudsSeen({A: Observation(listing, Limits(), {}), B: Unreachable("away")}, OURS)
    assert [(one.id, one.vm, one.state) for one in clouds.ours[A]] == [("s1", VM, ServerState.ACTIVE)]
    assert clouds.vms == {VM}
    assert B not in clouds.ours, "a list that could not be had is no empty one"


def test_what_each_cloud_tells_is_found_by_vm_and_by_vm_type():
    offering = Offering(problem="no such image")
    clouds = CloudsSeen(
        {
            A: Observation((), Limits(), {"q": offering}, consoles={VM: "hello"}),
            B: Observation((server(1, OURS, OTHER_VM, lacks_room=True),), Limits(), {}),
        },
        OURS,
    )
    assert clouds.offerings == {VMTypeKey("A", "a", "q"): offering}
    assert clouds.consoles == {VM: "hello"}
    assert clouds.without_room == {OTHER_VM}
