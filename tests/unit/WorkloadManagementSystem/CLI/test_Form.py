"""Where a value comes from, and what a user can answer."""

import io

import pytest
from rich.console import Console

from JenniferDIRAC.WorkloadManagementSystem.CLI.Form import Form, Question


@pytest.fixture
def terminal(monkeypatch):
    """A form on a terminal whose user gives these answers; ``.shown()`` is what he saw."""

    def start(*answers: str) -> Form:
        left = list(answers)
        monkeypatch.setattr("builtins.input", lambda *prompt: left.pop(0))
        form = Form(Console(file=io.StringIO(), width=200))
        form.shown = form.console.file.getvalue
        return form

    return start


IMAGE = Question("--image", "what the VMs boot", suggested="name:el9", choices=[("name:el9", "new"), ("i2", "old")])


def test_an_option_wins_over_all_else_and_nobody_is_asked(terminal):
    question = Question("--max-vms", "limit", given=" 5 ", stands="7", suggested="9")
    assert terminal().get(question) == "5"
    assert Form().get(question) == "5"


def test_what_stands_in_the_cs_wins_over_a_suggestion():
    question = Question("--image", "what the VMs boot", stands="i2", suggested="name:el9")
    assert Form().get(question) == "i2"
    assert Form(assume=True).get(question) == "i2"


def test_a_suggestion_is_taken_only_by_leave_or_when_it_is_obvious():
    form = Form()
    assert form.get(IMAGE) == ""
    assert form.missing == ["--image: what the VMs boot, for instance --image 'name:el9'"]
    assert Form(assume=True).get(IMAGE) == "name:el9"
    assert Form().get(Question("--queue", "name", suggested="el9-1core", obvious=True)) == "el9-1core"


def test_what_nobody_knows_is_missing_unless_it_is_not_needed():
    form = Form(assume=True)
    assert form.get(Question("--vo", "VOs")) == ""
    assert form.get(Question("--max-vms", "limit", required=False)) == ""
    assert form.missing == ["--vo: VOs"]


def test_an_empty_answer_takes_the_suggestion(terminal):
    form = terminal("")
    assert form.get(IMAGE) == "name:el9"
    assert "[--image]" in form.shown() and "old" in form.shown()


@pytest.mark.parametrize(
    ("answer", "value"), [("2", "i2"), ("i7", "i7"), (" name:x ", "name:x"), ("3", "3"), ("0", "0")]
)
def test_a_number_of_the_list_stands_for_what_is_listed(terminal, answer, value):
    assert terminal(answer).get(IMAGE) == value


def test_several_may_be_picked_where_several_make_sense(terminal):
    question = Question("--vo", "VOs", choices=[("belle", ""), ("t2k.org", "")], several=True)
    assert terminal("2, 1,other").get(question) == "t2k.org, belle, other"
    flavor = Question("--flavor", "size", choices=[("f1", ""), ("f2", "")])
    assert terminal("cores>=1, ram>=2").get(flavor) == "cores>=1, ram>=2"


def test_a_wrong_answer_is_explained_and_asked_again(terminal):
    question = Question("--max-cpu-time", "minutes", check=lambda text: "" if text.isdecimal() else "a whole number")
    form = terminal("a day", "", "60")
    assert form.get(question) == "60"
    assert "a whole number" in form.shown() and "a value is needed" in form.shown()


def test_choices_cannot_steer_the_terminal(terminal):
    form = terminal("1")
    form.get(Question("--image", "image", choices=[("i1", "\x1b[2J[red]gone[/red]")]))
    assert "\x1b" not in form.shown() and "[red]gone" in form.shown()


def test_a_number_that_stands_in_the_cs_is_not_taken_for_one_of_the_list(terminal):
    flavors = [("1", "tiny"), ("3", "small"), ("name:m1.large", "large")]
    question = Question("--flavor", "their size", stands="3", choices=flavors)
    assert terminal("").get(question) == "3"
    assert terminal("1").get(question) == "1"
    assert terminal("3").get(question) == "3"
    assert terminal("2").get(question) == "3"


def test_what_stands_can_be_removed_unless_it_is_needed(terminal):
    question = Question("--max-vms", "limit", stands="7", required=False)
    form = terminal("none")
    assert form.get(question) == ""
    assert "'none' removes it" in form.shown()
    assert terminal("").get(question) == "7"
    assert terminal("none").get(Question("--image", "what the VMs boot", suggested="name:el9")) == "none"
