"""What the demo leaves up, and what it says then; the demo itself is run in e2e."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.demo import __main__ as demo
from lab.dirac import LabError


class FakeLab:
    """A lab that somebody has claimed, or not."""

    def __init__(self, claimed: bool):
        self.claimed = claimed
        self.root = Path("/home/my lab")
        self.processes = SimpleNamespace()

    def require_down(self):
        pass

    def proxy(self, user, group):
        return self.root / user

    def down(self):
        self.claimed = False


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the demo up to an error; its exit code, its lab, and what it printed."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(error, *words, claimed=True):
        lab = FakeLab(claimed)
        monkeypatch.setattr(demo, "Lab", lambda root: lab)

        def fail(*_):
            raise error

        monkeypatch.setattr(demo.Demo, "run", fail)
        code = demo.main(words)
        return code, lab, capsys.readouterr()

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_failed_demo_takes_its_lab_down(run):
    code, lab, said = run(LabError("no luck"))
    assert (code, lab.claimed) == (1, False)
    assert "no luck" in said.out and "taking everything down" in said.err
    assert "To look around" not in said.out


def test_a_failed_demo_that_should_keep_keeps_and_says_how_to_look_around(run):
    code, lab, said = run(LabError("no luck"), "--keep")
    assert (code, lab.claimed) == (1, True)
    assert "no luck" in said.out
    assert "To look around" in said.out and "DIRAC_ROOT_PATH='/home/my lab'" in said.out


def test_an_interrupted_demo_keeps_nothing(run):
    code, lab, _ = run(KeyboardInterrupt(), "--keep")
    assert (code, lab.claimed) == (130, False)


@pytest.mark.parametrize("error, code", [(LabError("another process has it"), 1), (KeyboardInterrupt(), 130)])
@pytest.mark.parametrize("words", [[], ["--keep"]])
def test_a_demo_that_never_had_the_lab_does_not_take_it_down(run, monkeypatch, error, code, words):
    monkeypatch.setattr(FakeLab, "down", lambda self: pytest.fail("another's lab was taken down"))
    ended, _, said = run(error, *words, claimed=False)
    assert ended == code
    assert str(error) in said.out and "To look around" not in said.out


def test_virtual_machines_that_could_not_be_ended_are_a_problem_of_the_demo(run, monkeypatch):
    def fail(self):
        raise LabError("virtual machines may still run")

    monkeypatch.setattr(FakeLab, "down", fail)
    code, _, said = run(LabError("no luck"), "--json")
    assert code == 1
    assert json.loads(said.out)["problems"] == ["no luck", "virtual machines may still run"]
