"""The cloud in memory keeps the contract, and fails when it is told to."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    AuthenticationFailed,
    Flavor,
    Identity,
    Image,
    Leftover,
    Limits,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    ServerNotFound,
    ServerRequest,
    ServerStatus,
    Throttled,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import MENU, Call, FakeEndpoint, Fault, Faults

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
FLAVOR, IMAGE = Flavor("f2", "two", cores=2, ram_mib=4096), Image("i1", "el9")


class Clock:
    """A clock that a test sets; its sleep is what makes time pass."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cloud(clock):
    return FakeEndpoint(
        clock=clock, sleep=clock.sleep, flavors=(FLAVOR,), images=(IMAGE,), boot_time=timedelta(seconds=30)
    )


def request(vm="b" * 32, **other):
    values = {"image": IMAGE, "flavor": FLAVOR, "user_data": b"#cloud-config"}
    return ServerRequest(Identity("a" * 32, vm, "belle", 2), **{**values, **other})


def statuses(cloud):
    return [server.status for server in cloud.list_servers()]


def test_a_server_builds_and_becomes_active_by_the_clock(cloud, clock):
    made = cloud.create_server(request())
    assert (made.status, made.cores, made.ram_mib) == (ServerStatus.BUILDING, 2, 4096)
    clock.sleep(29)
    assert statuses(cloud) == [ServerStatus.BUILDING]
    clock.sleep(1)
    assert statuses(cloud) == [ServerStatus.ACTIVE]


def test_a_server_bears_the_identity_it_was_asked_for_with(cloud):
    cloud.create_server(request())
    (listed,) = cloud.list_servers()
    assert listed.identity == request().identity
    assert cloud.find_server(request().identity.name) == listed
    assert cloud.find_server("another") is None


def test_a_delete_is_idempotent(cloud):
    made = cloud.create_server(request())
    cloud.delete_server(made.id)
    cloud.delete_server(made.id)
    assert cloud.list_servers() == ()


def test_the_quota_counts_foreign_servers_and_refuses_in_numbers(clock):
    cloud = FakeEndpoint(clock=clock, flavors=(FLAVOR,), images=(IMAGE,), limits=Limits(max_cores=4))
    cloud.add_foreign("somebody's", cores=1)
    cloud.create_server(request())
    assert (cloud.limits().used_instances, cloud.limits().used_cores, cloud.limits().max_cores) == (2, 3, 4)
    with pytest.raises(QuotaExceeded, match="quota of 4 cores: 3 in use, 2 more wanted"):
        cloud.create_server(request("c" * 32))


@pytest.mark.parametrize(
    "wrong",
    [{"image": Image("i9", "gone")}, {"flavor": replace(FLAVOR, id="f9")}, {"user_data": b"x" * 50000}],
)
def test_a_wrong_request_is_rejected_and_makes_nothing(cloud, wrong):
    with pytest.raises(Rejected):
        cloud.create_server(request(**wrong))
    assert cloud.list_servers() == ()


def test_a_foreign_server_has_no_identity_of_ours(cloud):
    foreign = cloud.add_foreign("somebody's")
    assert foreign.identity is None and foreign.status is ServerStatus.ACTIVE
    assert cloud.list_servers() == (foreign,)


def test_a_server_that_switches_itself_off_leaves_its_console(cloud):
    made = cloud.create_server(request())
    cloud.write_console(made.id, "booting\n")
    cloud.stop(made.id, console="300 no more work\n")
    assert statuses(cloud) == [ServerStatus.STOPPED]
    assert cloud.console_log(made.id) == "booting\n300 no more work\n"
    assert cloud.console_log(made.id, max_bytes=5) == "work\n"


def test_what_is_not_there_is_not_found(cloud):
    made = cloud.create_server(request())
    cloud.vanish(made.id)
    assert cloud.list_servers() == ()
    for call in (cloud.console_log, cloud.vanish, cloud.stop):
        with pytest.raises(ServerNotFound):
            call(made.id)


def test_the_catalogue_holds_what_can_be_asked_for(cloud):
    assert (cloud.catalogue().flavors, cloud.catalogue().images) == ((FLAVOR,), (IMAGE,))


def test_calls_are_counted_and_requests_kept(cloud):
    cloud.create_server(request())
    cloud.list_servers()
    cloud.list_servers()
    assert cloud.calls == {Call.CREATE: 1, Call.LIST: 2}
    assert cloud.requests == [request()]


# Faults


def call(cloud, what):
    arguments = {
        Call.CREATE: (request(),),
        Call.FIND: ("name",),
        Call.DELETE: ("server-0001",),
        Call.CONSOLE: ("server-0001",),
        Call.LEFTOVERS: (("server-0001",),),
        Call.DELETE_LEFTOVER: (Leftover("port", "p", "server-0001"),),
    }
    return getattr(cloud, what.value)(*arguments.get(what, ()))


@pytest.mark.parametrize("what", Call)
@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.UNAUTHORISED, AuthenticationFailed), (Fault.THROTTLE, Throttled), (Fault.UNREACHABLE, Unreachable)],
)
def test_every_call_can_be_refused_throttled_and_lost(cloud, what, fault, error):
    cloud.create_server(request())
    before = cloud.list_servers()
    cloud.faults.next(what, fault)
    with pytest.raises(error):
        call(cloud, what)
    assert cloud.list_servers() == before


@pytest.mark.parametrize(
    ("fault", "error", "servers"),
    [
        (Fault.REFUSE, QuotaExceeded, 0),
        (Fault.REJECT, Rejected, 0),
        (Fault.NO_OFFERING, NoCapacity, 0),
        (Fault.AMBIGUOUS_NOT_MADE, AmbiguousOutcome, 0),
        (Fault.AMBIGUOUS_MADE, AmbiguousOutcome, 1),
    ],
)
def test_a_create_that_fails_makes_a_server_only_in_the_one_ambiguous_case(cloud, fault, error, servers):
    cloud.faults.next("create_server", fault)
    with pytest.raises(error):
        cloud.create_server(request())
    assert len(cloud.list_servers()) == servers
    assert (cloud.find_server(request().identity.name) is not None) == bool(servers)


@pytest.mark.parametrize(
    ("fate", "during", "then", "at_last"),
    [
        (Fault.NO_CAPACITY, ServerStatus.BUILDING, ServerStatus.ERROR, ServerStatus.ERROR),
        (Fault.NEVER_ACTIVE, ServerStatus.BUILDING, ServerStatus.BUILDING, ServerStatus.BUILDING),
        (Fault.DIES_AT_ONCE, ServerStatus.BUILDING, ServerStatus.STOPPED, ServerStatus.STOPPED),
        (Fault.VANISH, ServerStatus.BUILDING, ServerStatus.ACTIVE, None),
    ],
)
def test_a_server_can_be_born_to_fail(cloud, clock, fate, during, then, at_last):
    cloud.faults.next(Call.CREATE, fate)
    cloud.create_server(request())
    for expected in (during, then, at_last):
        assert statuses(cloud) == ([] if expected is None else [expected])
        clock.sleep(30)


def test_a_server_in_error_tells_the_clouds_own_fault(cloud, clock):
    cloud.faults.next(Call.CREATE, Fault.NO_CAPACITY)
    cloud.create_server(request())
    clock.sleep(30)
    (failed,) = cloud.list_servers()
    assert (failed.fault, failed.lacks_room) == ("No valid host was found.", True)


def test_a_listing_can_break_off_or_come_back_empty_or_short(cloud):
    for vm in "bcde":
        cloud.create_server(request(vm * 32))
    cloud.faults.next(Call.LIST, Fault.LOSE_LIST)
    cloud.faults.next(Call.LIST, Fault.EMPTY_LIST)
    cloud.faults.next(Call.LIST, Fault.SHORT_LIST)
    with pytest.raises(Unreachable):
        cloud.list_servers()
    assert [len(cloud.list_servers()) for _ in range(3)] == [0, 2, 4]


def test_a_delete_can_be_ignored(cloud):
    made = cloud.create_server(request())
    cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED)
    cloud.delete_server(made.id)
    assert len(cloud.list_servers()) == 1


def test_a_delete_can_leave_a_port_behind(cloud):
    left, clean = cloud.create_server(request()), cloud.create_server(request("c" * 32))
    cloud.faults.next(Call.DELETE, Fault.LEAVE_PORT)
    for server in (left, clean):
        cloud.delete_server(server.id)
    (port,) = cloud.leftovers((left.id, clean.id))
    assert port.server_id == left.id
    assert cloud.leftovers((clean.id,)) == ()
    cloud.delete_leftover(port)
    cloud.delete_leftover(port)
    assert cloud.leftovers((left.id,)) == ()


def test_a_slow_answer_sleeps_by_the_injected_clock_and_then_comes(cloud, clock):
    cloud.faults.next(Call.LIST, Fault.SLOW, seconds=45)
    assert cloud.list_servers() == ()
    assert clock.now == START + timedelta(seconds=45)


def test_throttling_says_when_to_come_back(cloud):
    cloud.faults.next(Call.LIST, Fault.THROTTLE, seconds=7)
    with pytest.raises(Throttled) as raised:
        cloud.list_servers()
    assert raised.value.retry_after == 7


def test_faults_come_in_their_order_for_as_many_calls_as_asked():
    faults = Faults()
    faults.next(Call.LIST, Fault.UNREACHABLE, times=2)
    faults.next(Call.LIST, None)
    faults.next(Call.LIST, Fault.EMPTY_LIST)
    taken = [faults.take(Call.LIST) for _ in range(5)]
    assert [each and each.fault for each in taken] == [
        Fault.UNREACHABLE,
        Fault.UNREACHABLE,
        None,
        Fault.EMPTY_LIST,
        None,
    ]
    assert faults.take(Call.CREATE) is None


def test_drawn_faults_keep_their_rate_and_repeat_with_the_seed():
    def history(seed):
        faults = Faults({(Call.LIST, Fault.UNREACHABLE): 0.25}, random.Random(seed).random)
        return [faults.take(Call.LIST) is not None for _ in range(1000)]

    assert history(1) == history(1) != history(2)
    assert 200 < sum(history(1)) < 300


def test_a_fault_that_a_call_cannot_have_is_refused():
    with pytest.raises(ValueError, match="list_servers cannot have the fault REJECT; it can have EMPTY_LIST, "):
        Faults().next(Call.LIST, Fault.REJECT)
    with pytest.raises(ValueError, match="source of random numbers"):
        Faults({(Call.LIST, Fault.SLOW): 0.1})


def test_every_fault_is_on_the_menu_of_some_call():
    assert set().union(*MENU.values()) == set(Fault)
