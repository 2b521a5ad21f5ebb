"""The search for secrets finds what it is to find: without that, a test that finds none has shown nothing."""

import base64
import json
from urllib.parse import quote

import pytest
from needles import Needles, forms, key_lines, tokens

SECRET = "gLx+4/Qm9=zT0_w-K8 hZ7e"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(f"{i:>02}+/" * 16 for i in range(3)) + "\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def needles():
    found = Needles()
    found.add("a password", SECRET)
    found.add("a key", *key_lines(KEY))
    return found


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("after", ["", "z", "yz"])
@pytest.mark.parametrize(
    "written",
    [
        str.encode,
        lambda text: json.dumps({"it": text}).encode(),
        lambda text: quote(text).encode(),
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.urlsafe_b64encode(text.encode()),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
    ],
)
def test_a_secret_is_found_however_it_is_written(needles, written, before, after):
    assert needles.in_data(b"<<" + written(before + SECRET + after) + b">>") == {"a password"}


@pytest.mark.parametrize("text", [KEY, KEY.replace("\n", ""), KEY.replace("\n", "\\n"), KEY.split("\n")[2]])
def test_a_key_is_found_with_and_without_its_line_ends_and_by_any_of_its_lines(needles, text):
    assert needles.in_data(text.encode()) == {"a key"}
    assert needles.in_data(base64.b64encode(b"x" + text.encode())) == {"a key"}


def test_what_is_near_is_not_found(needles):
    assert needles.in_data(SECRET[:-1].encode() + KEY[:60].encode()) == set()


def test_files_are_named_and_the_secret_is_not(needles, tmp_path):
    (tmp_path / "log").write_text(f"it is {SECRET}")
    (tmp_path / "other").write_text("it is not")
    assert needles.in_files([tmp_path / "log", tmp_path / "other"]) == {str(tmp_path / "log"): {"a password"}}


def test_what_is_too_short_or_nothing_at_all_is_no_needle(needles):
    for secrets in (["short"], []):
        with pytest.raises(AssertionError):
            needles.add("a word", *secrets)


def test_words_in_the_form_of_a_ticket_are_found():
    token = "a_-" * 14 + "b"
    assert tokens(f"x {token}\n'{token}x' {token[1:]}".encode()) == {token}
    assert all(len(form) >= 20 for form in forms(token))
