"""A secret shows itself nowhere."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from dataclasses import dataclass
from pprint import pformat
from string import Template

import pytest
from DIRAC.Core.Utilities import DEncode

from JenniferDIRAC.Resources.Cloud.Secret import Secret

SECRET = Secret("hunter2")


@dataclass
class Holder:
    secret: Secret


def in_a_traceback_with_locals():
    try:
        holder = Holder(SECRET)
        raise ValueError(holder, SECRET)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize(
    "text",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>9}",
        f"{SECRET:>20}",
        "{}".format(SECRET),  # noqa: UP032
        f"{Holder(SECRET).secret:^12}",
        "%s" % SECRET,  # noqa: UP031
        "%(secret)r" % vars(Holder(SECRET)),  # noqa: UP031
        Template("$it").substitute(it=SECRET),
        f"{Holder(SECRET)}",
        f"{dataclasses.asdict(Holder(SECRET))}",
        f"{[SECRET]}",
        f"{ {SECRET: 1} }",
        pformat({"deep": [Holder(SECRET)]}),
        json.dumps({"it": SECRET}, default=str),
        in_a_traceback_with_locals(),
    ],
)
def test_no_way_of_printing_shows_it(text):
    assert "hunter2" not in text
    assert "<secret>" in text


def test_a_log_line_does_not_show_it(caplog):
    logging.getLogger("x").error("it is %s and %r", SECRET, {"a": SECRET})
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "way",
    [
        lambda: json.dumps({"proxy": SECRET}),
        lambda: json.dumps({"proxy": SECRET}, default=vars),
        lambda: DEncode.encode({"proxy": SECRET}),
        lambda: vars(SECRET),
        lambda: "it is " + SECRET,
        lambda: "".join([SECRET]),
        lambda: list(SECRET),
        lambda: bytes(SECRET),
        lambda: "%d" % SECRET,  # noqa: UP031
        lambda: SECRET.__getstate__(),
        *(
            lambda protocol=protocol: pickle.dumps({"proxy": Holder(SECRET)}, protocol)
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_it_cannot_be_turned_into_anything_else_by_accident(way):
    with pytest.raises(Exception) as caught:  # noqa: B017  any kind, as long as it is silent
        way()
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


def test_a_copy_is_as_silent():
    for made in (copy.copy(SECRET), copy.deepcopy(Holder(SECRET)).secret):
        assert made == SECRET
        assert str(made) == "<secret>"


def test_who_asks_gets_it():
    assert SECRET.reveal() == "hunter2"
    assert Secret("a") == Secret("a") != Secret("b")


def test_an_empty_one_is_false_as_an_empty_text_is():
    assert SECRET and not Secret("")
