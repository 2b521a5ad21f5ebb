"""A secret shows itself nowhere."""

import json
import logging
from dataclasses import dataclass

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.Secret import Secret

SECRET = Secret("hunter2")


@dataclass
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "text", [str(SECRET), repr(SECRET), f"{SECRET}", f"{SECRET!r:>9}", f"{Holder(SECRET)}", f"{[SECRET]}"]
)
def test_no_way_of_printing_shows_it(text):
    assert "hunter2" not in text
    assert "<secret>" in text


def test_a_log_line_does_not_show_it(caplog):
    logging.getLogger("x").error("it is %s and %r", SECRET, {"a": SECRET})
    assert "hunter2" not in caplog.text


def test_it_cannot_be_written_as_json_by_accident():
    with pytest.raises(TypeError) as caught:
        json.dumps({"proxy": SECRET})
    assert "hunter2" not in str(caught.value)


def test_who_asks_gets_it():
    assert SECRET.reveal() == "hunter2"
    assert Secret("a") == Secret("a") != Secret("b")
