"""From Nova's, Glance's and Neutron's JSON to values, and back."""

from datetime import UTC, datetime

import pytest

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Flavor,
    Identity,
    Image,
    Leftover,
    Limits,
    Network,
    ServerRequest,
    ServerStatus,
)
from JenniferDIRAC.Resources.Cloud.OpenStackRecords import (
    NO_NETWORK,
    create_body,
    image_of,
    key_pairs_of,
    leftover_of,
    limits_of,
    network_of,
    server_of,
    when,
    zones_of,
)

REQUEST = {
    "identity": Identity("a" * 32, "b" * 32, "belle", 4),
    "image": Image("image-id", "el9"),
    "flavor": Flavor("flavor-id", "m4", 4, 8192),
    "user_data": b"#cloud-config\n",
}


def body(microversion=(2, 69), **changes):
    return create_body(ServerRequest(**REQUEST | changes), microversion)["server"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("BUILD", ServerStatus.BUILDING),
        ("REBUILD", ServerStatus.BUILDING),
        ("ACTIVE", ServerStatus.ACTIVE),
        ("REBOOT", ServerStatus.ACTIVE),
        ("HARD_REBOOT", ServerStatus.ACTIVE),
        ("PASSWORD", ServerStatus.ACTIVE),
        ("MIGRATING", ServerStatus.ACTIVE),
        ("RESIZE", ServerStatus.ACTIVE),
        ("VERIFY_RESIZE", ServerStatus.ACTIVE),
        ("REVERT_RESIZE", ServerStatus.ACTIVE),
        ("SHUTOFF", ServerStatus.STOPPED),
        ("SHELVED", ServerStatus.STOPPED),
        ("SHELVED_OFFLOADED", ServerStatus.STOPPED),
        ("ERROR", ServerStatus.ERROR),
        ("SOFT_DELETED", ServerStatus.DELETING),
        ("DELETED", ServerStatus.DELETING),
        ("PAUSED", ServerStatus.UNKNOWN),
        ("SUSPENDED", ServerStatus.UNKNOWN),
        ("RESCUE", ServerStatus.UNKNOWN),
        ("UNKNOWN", ServerStatus.UNKNOWN),
        ("a word of tomorrow", ServerStatus.UNKNOWN),
        (None, ServerStatus.UNKNOWN),
    ],
)
def test_each_status_of_nova_has_its_own(status, expected):
    assert server_of({"id": "1", "name": "n", "status": status}, {}).status is expected


@pytest.mark.parametrize("task", ["deleting", "soft-deleting"])
def test_what_is_being_deleted_is_so_whatever_its_status(task):
    told = {"id": "1", "name": "n", "status": "ACTIVE", "OS-EXT-STS:task_state": task}
    assert server_of(told, {}).status is ServerStatus.DELETING


def test_a_flavor_is_read_where_it_stands_and_looked_up_where_it_does_not():
    known = {"f": Flavor("f", "m4", 4, 8192)}
    for flavor, expected in (({"vcpus": 2, "ram": 4096}, (2, 4096)), ({"id": "f"}, (4, 8192)), ({"id": "g"}, (0, 0))):
        server = server_of({"id": "1", "name": "n", "flavor": flavor}, known)
        assert (server.cores, server.ram_mib) == expected


def test_a_fault_is_on_one_line():
    assert server_of({"id": "1", "name": "n", "fault": {"message": "No\nhost. "}}, {}).fault == "No host."


@pytest.mark.parametrize(
    ("status", "message", "lacks_room"),
    [
        ("ERROR", "No valid host was found. ", True),
        ("ERROR", "No valid host was found. There are not enough hosts available.", True),
        (
            "ERROR",
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying",
            True,
        ),
        ("ERROR", "Build of instance aborted: Volume did not finish being created", False),
        ("ERROR", None, False),
        ("ACTIVE", "No valid host was found. ", False),  # of a resize: the server runs
    ],
)
def test_a_server_that_failed_for_want_of_room_says_so(status, message, lacks_room):
    told = {"id": "1", "name": "n", "status": status, "fault": {"message": message, "code": 500}}
    assert server_of(told, {}).lacks_room is lacks_room


@pytest.mark.parametrize(
    ("device", "owner", "left"),
    [
        ("s1", "compute:nova", True),
        ("s1", "compute:None", True),
        ("s2", "compute:nova", False),  # another server's
        ("", "", False),
        ("s1", "network:dhcp", False),
        (None, None, False),
    ],
)
def test_a_port_is_left_behind_when_nova_made_it_for_a_server_of_ours_that_is_gone(device, owner, left):
    told = {"id": "p", "device_id": device, "device_owner": owner}
    assert leftover_of(told, {"s1", "s9"}) == (Leftover("port", "p", "s1") if left else None)


@pytest.mark.parametrize("missing", ["id", "name"])
def test_a_server_of_which_nobody_can_say_whose_it_is_is_none(missing):
    with pytest.raises(KeyError):
        server_of({word: "x" for word in ("id", "name") if word != missing}, {})


@pytest.mark.parametrize("odd", [None, 5, "text", [], {}, [None], {"message": None}, float("inf")])
def test_odd_values_spoil_no_server(odd):
    words = ("flavor", "fault", "metadata", "created", "status", "OS-EXT-STS:task_state")
    server = server_of({"id": "1", "name": "n"} | dict.fromkeys(words, odd), {})
    assert (server.id, server.cores) == ("1", 0)
    assert server_of({"id": "1", "name": "n", "flavor": {"vcpus": odd}}, {}).cores in (0, 5)


def test_an_image_has_as_properties_what_is_not_glances_own():
    told = {"id": "i", "name": None, "status": "active", "min_ram": 1, "os_distro": "almalinux", "os_version": 9.5}
    image = image_of(told | {"created_at": "2029-12-31T23:00:00Z", "owner": "o", "kernel_id": None})
    assert image == Image(
        "i", "", datetime(2029, 12, 31, 23, tzinfo=UTC), "o", {"os_distro": "almalinux", "os_version": "9.5"}, 1
    )


def test_a_network_has_its_own_subnets():
    subnets = [{"network_id": "n", "cidr": "10.0.0.0/24"}, {"network_id": "m", "cidr": "10.1.0.0/24"}]
    told = {"id": "n", "name": "wan", "router:external": True, "shared": False}
    assert network_of(told, subnets) == Network("n", "wan", True, False, ("10.0.0.0/24",))


def test_no_limit_is_none_and_what_is_not_told_is_no_limit():
    assert limits_of({"maxTotalCores": -1, "maxTotalInstances": 0, "totalCoresUsed": 3}) == Limits(
        max_instances=0, used_cores=3
    )


def test_only_zones_that_are_up_can_be_chosen():
    up, down = {"zoneName": "a", "zoneState": {"available": True}}, {"zoneName": "b", "zoneState": {"available": False}}
    assert zones_of({"availabilityZoneInfo": [up, down, None, {}]}) == ("a",)


def test_key_pairs_are_wrapped_twice():
    assert key_pairs_of({"keypairs": [{"keypair": {"name": "k"}}, None, {"keypair": None}]}) == ("k",)
    assert key_pairs_of({}) == ()


@pytest.mark.parametrize(
    ("told", "time"),
    [
        ("2030-01-01T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01T00:00:00.000000", datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01T01:00:00+01:00", datetime(2030, 1, 1, tzinfo=UTC)),
        (None, None),
        ("tomorrow", None),
    ],
)
def test_times_are_utc(told, time):
    assert when(told) == time


def test_a_small_request_has_what_marks_the_server_and_no_more():
    assert body() == {
        "name": f"jennifer-aaaaaaaa-{'b' * 32}",
        "imageRef": "image-id",
        "flavorRef": "flavor-id",
        "metadata": REQUEST["identity"].metadata,
        "user_data": "I2Nsb3VkLWNvbmZpZwo=",
        "config_drive": True,
        "networks": "auto",
        "tags": ["jennifer", "a" * 32],
    }


@pytest.mark.parametrize(
    ("microversion", "networks", "expected"),
    [
        ((2, 36), (), None),
        ((2, 37), (), "auto"),
        ((2, 69), (NO_NETWORK,), "none"),
        ((2, 1), (Network("n", "N"), Network("m", "M")), [{"uuid": "n"}, {"uuid": "m"}]),
    ],
)
def test_networks_are_told_as_the_microversion_can(microversion, networks, expected):
    assert body(microversion, networks=networks).get("networks") == expected


def test_words_that_a_microversion_does_not_know_are_left_out():
    told = {"description": "x" * 300}
    assert {"tags", "description"} & body((2, 18), **told).keys() == set()
    assert {"tags", "description"} & body((2, 51), **told).keys() == {"description"}
    assert len(body((2, 19), **told)["description"]) == 255
