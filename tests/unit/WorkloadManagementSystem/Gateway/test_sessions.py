"""A VM is heard as itself, for as long as it lives, and told when to stop."""

from datetime import timedelta

import pytest
from gateway_world import now

from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import SessionState
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Orders import LifeLimits, orders
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

DAY = timedelta(days=1)
REQUESTS = [
    ("POST", "heartbeat", {"phase": "pilot"}),
    ("POST", "end", {"code": 200}),
    ("GET", "logs/pilot", None),
    ("PUT", "logs/pilot?offset=0", b"x"),
]


@pytest.mark.parametrize(("method", "what", "body"), REQUESTS)
def test_whoever_is_not_the_vm_learns_nothing(world, method, what, body):
    vm, other, silent = world.guest(), world.guest(), world.vm()
    nobody = f"/vm/v1/{'0' * 32}/{what}"
    answers = [
        vm.ask(method, what, body, token=""),
        vm.ask(method, what, body, token=other.session),
        vm.ask(method, what, body, token="x"),
        vm.ask(method, what, body, headers={"Authorization": f"Basic {vm.session}"}, token=""),
        silent.ask(method, what, body),
        world.ask(method, nobody, body, vm.session),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert vm.known.heartbeat == {} and vm.record.said_code is None and world.logs.of(vm.id) == ()


@pytest.mark.parametrize(("method", "what", "body"), REQUESTS)
def test_a_session_that_was_stolen_is_worth_nothing_after_the_vms_end(world, method, what, body):
    vm = world.guest()
    vm.go(VMState.DELETING, VMState.ENDED)
    assert vm.ask(method, what, body).status == 410
    assert vm.ask(method, what, body, token="A" * 43).status == 401
    assert world.logs.of(vm.id) == ()


def test_a_vm_that_is_being_deleted_says_its_last_words(world):
    vm = world.guest()
    vm.go(VMState.DELETING)
    assert vm.put(b"last words").status == 200
    orders = vm.beat().json
    assert orders["drain"] and orders["deadline"] <= orders["now"]
    assert vm.end(100, "asked to stop").status == 204
    assert vm.record.said_code == 100


def test_a_heartbeat_is_kept_as_it_was_told(world):
    vm = world.guest()
    told = {"phase": "pilot", "uptime": 12.5, "load": [1, 0.5, 0.25], "jobs": 1, "disk_mib": 900, "notes": {"a": "b"}}
    assert vm.ask("POST", "heartbeat", told).status == 200
    assert vm.known.heartbeat == told
    assert now() - vm.record.heartbeat_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"phase": "other"},
        {"unknown": 1},
        {"uptime": -1},
        {"uptime": "1"},
        {"load": [1, 2]},
        {"jobs": 1.5},
        {"jobs": True},
        {"disk_mib": 2**60},
        {"notes": {"x": "y" * 201}},
        {"notes": {"x" * 33: "y"}},
        {"notes": {str(n): "" for n in range(17)}},
        {"notes": {"x": 1}},
    ],
)
def test_what_is_not_described_is_refused(world, wrong):
    vm = world.guest()
    answer = vm.beat(**wrong)
    assert answer.status == 422
    assert "unknown" not in answer.json["detail"].replace("an unknown key", "")
    assert vm.known.heartbeat == {}


@pytest.mark.parametrize("body", [b'{"phase": "pilot", "uptime": NaN}', b'{"phase": "pilot", "uptime": 1e999}'])
def test_a_number_that_is_none_is_refused(world, body):
    vm = world.guest()
    assert vm.ask("POST", "heartbeat", body, headers={"Content-Type": "application/json"}).status == 422


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"uptime": ' + b"1" * 60_000 + b"}", b"\xff\xfe", b"{"])
def test_json_that_is_meant_to_break_something_does_not(world, body):
    vm = world.guest()
    assert vm.ask("POST", "heartbeat", body, headers={"Content-Type": "application/json"}).status in (400, 422)
    assert vm.beat().status == 200


def test_a_heartbeat_that_is_a_book_is_refused(world):
    vm = world.guest()
    book = b'{"phase": "pilot", "notes": {"a": "' + b"x" * 65536 + b'"}}'
    assert vm.ask("POST", "heartbeat", book, headers={"Content-Type": "application/json"}).status == 413


def test_a_vm_that_drains_hears_so_and_until_when(world):
    vm = world.guest()
    assert vm.beat().json["drain"] is False
    vm.go(VMState.DRAINING)
    orders = vm.beat().json
    assert orders["drain"] is True
    assert orders["deadline"] == pytest.approx((vm.record.since + DAY).timestamp())
    vm.go(VMState.RUNNING)
    back = vm.beat().json
    assert (back["drain"], back["deadline"]) == (False, None)


def test_the_end_of_its_life_comes_first_if_it_is_nearer():
    begun = now() - 6 * DAY
    vm = SessionState("", VMState.DRAINING, now(), begun)
    limits = LifeLimits(drain_timeout=3 * DAY, max_lifetime=7 * DAY)
    assert orders(vm, limits) == (True, begun + 7 * DAY)


@pytest.mark.parametrize("code", [0, 99, 250, 800, "200", None, True])
def test_an_end_with_a_code_that_hsf_does_not_have_is_refused(world, code):
    vm = world.guest()
    assert vm.end(code).status == 422
    assert vm.record.said_code is None


def test_the_first_end_stands_and_a_repetition_is_answered_the_same(world):
    vm = world.guest()
    assert [vm.end(300, "nothing to do").status, vm.end(700, "no").status] == [204, 204]
    assert (vm.record.said_code, vm.record.said_reason) == (300, "nothing to do")


def test_a_reason_is_kept_as_a_terminal_may_show_it(world):
    vm = world.guest()
    vm.end(700, "\x1b[31mred\x1b[0m\x07 and\nmore \u202e")
    assert vm.record.said_reason == "red  and more"
    assert vm.end(700, "x" * 1001).status == 422
