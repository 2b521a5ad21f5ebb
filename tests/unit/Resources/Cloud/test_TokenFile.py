"""A refresh token on disk is read with care, used by one at a time, and never lost."""

import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from JenniferDIRAC.Resources.Cloud.SafeHTTP import LoginImpossible
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.Resources.Cloud.TokenFile import TokenFile, TokenFileError, state_file


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "token", "first\n")


def test_a_token_is_read_without_the_white_space_around_it(path):
    write(path, "  abc.def-1~2 \n\n")
    assert TokenFile(path).read() == Secret("abc.def-1~2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("one\ntwo\n", "expected one line without spaces"),
        ("refresh_token: one", "expected one line without spaces"),
        ("to\x00ken", "is no refresh token"),
        ("tökén", "is no refresh token"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_without_its_content(path, text, says):
    write(path, text)
    with pytest.raises(TokenFileError, match=says) as refused:
        TokenFile(path).read()
    assert str(path) in str(refused.value)
    assert "one\n" not in str(refused.value) and "refresh_token: one" not in str(refused.value)


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(TokenFileError, match="none does not exist; write the refresh token into it and chmod 600"):
        TokenFile(tmp_path / "none").read()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_may_use_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(TokenFileError, match=f"has mode {mode:o}.*chmod 600 {path}"):
        TokenFile(path).read()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_an_error_at_once(tmp_path, make):
    make(tmp_path / "token")
    with pytest.raises(TokenFileError, match="is no file"):
        TokenFile(tmp_path / "token").read()


def test_a_successor_takes_the_files_place_and_only_its_owner_reads_it(path):
    with TokenFile(path).hold() as held:
        assert held.value == Secret("first")
        held.replace(Secret("second"))
        assert path.read_text() == "second\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == [".token.lock", "token"]


def test_whoever_reads_meanwhile_sees_the_old_token_or_the_new_one_and_never_a_part(path):
    """The new one comes by a rename: the file that was opened before stays what it was."""
    with open(path) as opened_before, TokenFile(path).hold() as held:
        held.replace(Secret("second"))
        assert opened_before.read() == "first\n"


def test_a_symbolic_link_to_the_file_stays_one(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    with TokenFile(link).hold() as held:
        held.replace(Secret("second"))
    assert link.is_symlink() and path.read_text() == "second\n"


def test_without_a_successor_the_file_stays_as_it_is(path):
    before = path.stat()
    with TokenFile(path).hold():
        pass
    assert (path.stat().st_ino, path.read_text()) == (before.st_ino, "first\n")


def test_a_full_disk_shows_before_the_token_is_used(path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    used = []
    with (
        pytest.raises(TokenFileError, match="no room beside it for the next token: No space left"),
        TokenFile(path).hold() as held,
    ):
        used.append(held.value)
    assert used == []
    assert sorted(file.name for file in path.parent.iterdir()) == [".token.lock", "token"]


def test_a_successor_that_is_no_token_is_refused_and_the_old_one_stays(path):
    with TokenFile(path).hold() as held, pytest.raises(TokenFileError):
        held.replace(Secret("two words"))
    assert path.read_text() == "first\n"


def test_what_a_killed_process_left_is_in_nobodys_way(path):
    write(path.with_name(".token.new"), "half a tok")
    with TokenFile(path).hold() as held:
        held.replace(Secret("second"))
    assert path.read_text() == "second\n"


def test_a_second_holder_waits_for_the_first_and_gets_the_successor(path):
    holding, go_on, got = threading.Event(), threading.Event(), []

    def second():
        # "sleep" is called only while somebody else has the token
        with TokenFile(path, sleep=lambda seconds: (holding.set(), go_on.wait(30))).hold() as held:
            got.append(held.value)

    thread = threading.Thread(target=second)
    with TokenFile(path).hold() as held:
        thread.start()
        assert holding.wait(30)
        held.replace(Secret("second"))
    go_on.set()
    thread.join(30)
    assert got == [Secret("second")]


def test_a_holder_that_never_lets_go_is_an_error_after_four_minutes(path):
    waited = []
    with (
        TokenFile(path).hold(),
        pytest.raises(LoginImpossible, match="held by another process for 240 s"),
        TokenFile(path, sleep=waited.append).hold(),
    ):
        pass
    assert sum(waited) == pytest.approx(240)


def test_a_killed_holder_lets_go(path):
    program = (
        "import sys, time; from pathlib import Path; from JenniferDIRAC.Resources.Cloud.TokenFile import TokenFile\n"
        "with TokenFile(Path(sys.argv[1])).hold():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
    with TokenFile(path).hold() as held:
        assert held.value == Secret("first")


def test_what_root_makes_beside_the_file_belongs_to_the_files_owner(path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda descriptor, *owner: given.append(owner))
    owner = (path.stat().st_uid, path.stat().st_gid)
    with TokenFile(path).hold():
        pass
    assert given == [owner, owner]  # the lock, and what the successor is written into


def test_a_first_token_serves_until_there_is_a_file(tmp_path):
    path = tmp_path / "state/tokens/abc"
    file = TokenFile(path, Secret("inline"))
    assert file.read() == Secret("inline") and not path.parent.exists()
    with file.hold() as held:
        assert held.value == Secret("inline")
        held.replace(Secret("second"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert TokenFile(path, Secret("inline")).read() == Secret("second")


def test_a_state_directory_that_cannot_be_made_is_an_error_that_names_the_ways_out(tmp_path):
    (tmp_path / "state").write_text("a file")
    with (
        pytest.raises(TokenFileError, match="set XDG_STATE_HOME, or use refresh_token_file"),
        TokenFile(tmp_path / "state/tokens/abc", Secret("inline")).hold(),
    ):
        pass


def test_each_issuer_client_and_token_has_a_state_file_of_its_own_that_does_not_show_the_token(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    files = {
        state_file(*key[:2], Secret(key[2]))
        for key in [("a", "b", "c"), ("a", "b", "d"), ("a", "d", "c"), ("d", "b", "c"), ("ab", "", "c")]
    }
    assert len(files) == 5
    assert {file.parent for file in files} == {tmp_path / "jenniferdirac/tokens"}
    assert "secret-token" not in str(state_file("a", "b", Secret("secret-token")))
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(state_file("a", "b", Secret("c"))).startswith("/home/somebody/.local/state/jenniferdirac/tokens/")
