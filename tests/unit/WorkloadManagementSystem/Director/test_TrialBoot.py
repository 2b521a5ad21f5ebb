"""A trial is followed to its first word, and its server is deleted whatever happens."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Flavor, Identity, Image, ServerRequest
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.Director.TrialBoot import Stage, TrialBoot, console_tail

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
VM = "1" * 32
REQUEST = ServerRequest(
    Identity("0" * 32, VM, "belle", 1), Image("i1", "el9"), Flavor("f1", "small", 1, 2048, 10), b"#cloud-config\n"
)


class World:
    """A fake cloud whose time passes while somebody sleeps, and a trial in it.

    ``plan``: what happens when so many seconds have gone by.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cloud = FakeEndpoint(clock=self.now, sleep=self.sleep, boot_time=timedelta(seconds=10))
        self.plan: dict[float, Callable[[], None]] = {}
        self.told: list[Stage] = []
        self.stopping = False
        self.trial = TrialBoot(
            self.cloud,
            REQUEST,
            lambda stage, seconds: self.told.append(stage),
            lambda: self.stopping,
            lambda: self.seconds,
            self.sleep,
        )

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment in [moment for moment in self.plan if moment <= self.seconds]:
            self.plan.pop(moment)()

    def says(self, word: str) -> Callable[[], None]:
        return lambda: self.cloud.write_console("server-0001", f"kernel\x1b[2J\n@jennifer {VM} {word}\n")

    def run(self, timeout: float = 100):
        result = self.trial.run(timeout)
        assert self.cloud.list_servers() == ()
        return result


@pytest.fixture
def world() -> World:
    return World()


def test_a_vm_that_speaks_and_fetches_its_pilot_is_followed_through_all_stages(world):
    world.plan = {30: world.says("hello uptime=9"), 40: world.says("pilot-start disk_mib=1")}
    result = world.run()
    assert result.problem == ""
    assert world.told == [Stage.REQUESTED, Stage.ACTIVE, Stage.FIRST_WORD, Stage.PILOT_FETCHED, Stage.GONE]
    assert result.reached[Stage.ACTIVE] == 10
    assert result.reached[Stage.FIRST_WORD] == 30
    assert result.reached[Stage.PILOT_FETCHED] == 40


def test_a_silent_vm_fails_after_the_timeout_with_its_console(world):
    world.plan = {20: lambda: world.cloud.write_console("server-0001", "no bootable device")}
    result = world.run(timeout=60)
    assert "no first word in time" in result.problem and "ACTIVE" in result.problem
    assert result.console == "no bootable device"
    assert list(result.reached) == [Stage.REQUESTED, Stage.ACTIVE, Stage.GONE]


def test_the_words_of_another_vm_are_not_its_own(world):
    world.plan = {20: lambda: world.cloud.write_console("server-0001", f"@jennifer {'2' * 32} hello\n")}
    assert "no first word" in world.run(timeout=60).problem


def test_a_vm_that_cannot_fetch_its_pilot_fails_with_what_it_said(world):
    world.plan = {20: world.says("hello"), 90: world.says('end code=500 reason="cannot fetch the pilot"')}
    result = world.run()
    assert "code 500: cannot fetch the pilot" in result.problem
    assert Stage.FIRST_WORD in result.reached


def test_a_vm_that_speaks_and_then_hangs_fails_too(world):
    world.plan = {20: world.says("hello")}
    assert "did not fetch the pilot" in world.run().problem


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.NO_CAPACITY, "No valid host was found"),
        (Fault.NEVER_ACTIVE, "its server is BUILDING"),
        (Fault.DIES_AT_ONCE, "stopped without a word"),
        (Fault.VANISH, "disappeared"),
        (Fault.REFUSE, "quota"),
        (Fault.REJECT, "refuses"),
        (Fault.AMBIGUOUS_NOT_MADE, "503 to the create request"),
    ],
)
def test_what_the_cloud_does_to_it_is_told(world, fault, said):
    world.cloud.faults.next(Call.CREATE, fault)
    result = world.run()
    assert said in result.problem
    assert not result.left_behind


def test_a_server_that_was_made_in_spite_of_an_error_is_followed_and_deleted(world):
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_MADE)
    world.plan = {30: world.says("hello"), 31: world.says("pilot-start")}
    assert world.run().problem == ""


def test_a_server_that_appears_late_is_deleted_though_the_trial_is_over(world):
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_NOT_MADE)
    world.plan = {30: lambda: world.cloud.create_server(REQUEST)}
    assert "no server showed up" in world.run(timeout=20).problem


def test_a_server_that_does_not_show_up_is_not_waited_for_nor_called_requested(world):
    world.cloud.faults.next(Call.CREATE, Fault.AMBIGUOUS_NOT_MADE)
    followed = []
    world.plan = {seconds: lambda: followed.append(world.trial._server) for seconds in (100, 400)}
    result = world.run(timeout=900)
    assert "503 to the create request" in result.problem
    assert world.seconds < 400 and followed == [None]
    assert world.told == [] and not result.left_behind


@pytest.mark.parametrize("call", [Call.FIND, Call.CONSOLE])
def test_a_cloud_that_fails_now_and_then_ends_no_trial(world, call):
    world.cloud.faults.next(call, Fault.UNREACHABLE, times=4)
    world.plan = {30: world.says("hello"), 31: world.says("pilot-start")}
    assert world.run().problem == ""


def test_deleting_goes_on_until_the_cloud_does_it(world):
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED, times=3)
    world.cloud.faults.next(Call.DELETE, Fault.UNREACHABLE, times=3)
    world.plan = {30: world.says("hello"), 31: world.says("pilot-start")}
    result = world.run()
    assert not result.left_behind
    assert world.cloud.calls[Call.DELETE] > 6


def test_a_server_that_is_listed_again_after_it_was_gone_is_deleted_again(world):
    made = []

    def appear():
        made.append(world.cloud.create_server(REQUEST))

    world.plan = {30: world.says("hello"), 31: world.says("pilot-start"), 35: appear}
    assert not world.run().left_behind
    assert made


def test_a_server_that_cannot_be_deleted_is_told_by_name(world):
    world.cloud.faults.next(Call.DELETE, Fault.DELETE_IGNORED, times=1000)
    world.plan = {30: world.says("hello"), 31: world.says("pilot-start")}
    result = world.trial.run(100)
    assert result.left_behind
    assert result.name == REQUEST.identity.name
    assert Stage.GONE not in result.reached


def test_an_interrupted_trial_is_deleted(world):
    def interrupt():
        world.stopping = True

    world.plan = {5: interrupt}
    result = world.run()
    assert result.problem == "interrupted"
    assert world.seconds < 30


def test_an_error_of_ours_deletes_the_server_before_it_shows(world):
    def fail():
        raise RuntimeError("a mistake")

    world.plan = {20: fail}
    with pytest.raises(RuntimeError):
        world.trial.run(100)
    assert world.cloud.list_servers() == ()


def test_the_tail_of_a_console_begins_at_a_line():
    text = "first\n" + "x" * 4100 + "\nlast\n"
    assert console_tail(text) == "last\n"
    assert console_tail("short") == "short"
