"""Logs on disk without HTTP: what is deleted when, how they are read, what a terminal gets to see."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from gateway_world import MIB, Clock
from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import LogFiles, html_of_log, printable_log
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import LogStore, Quotas, WrongOffset

DAY, HOUR = 86400, 3600
NOW = 1_800_000_000.0
FORTNIGHT = timedelta(days=14)
A, B, C, D = ("a" * 32, "ab" + "b" * 30, "c" * 32, "d" * 32)


@pytest.fixture
def store(tmp_path):
    return LogStore(tmp_path / "logs", Quotas(MIB, 4, MIB, 1000), 1024 * MIB, now=Clock(NOW))


def log_of(store, vm, size, age):
    """A log that was last written to so many seconds ago."""
    store.append(vm, "pilot", 0, b"x" * size)
    path = store.root / vm[:2] / vm / "pilot.log"
    os.utime(path, (NOW - age, NOW - age))


def kept(store):
    return {vm for vm in (A, B, C, D) if store.of(vm)}


def everyone(vm_ids):
    return vm_ids


def test_an_ended_vms_logs_are_deleted_when_they_are_old(store):
    log_of(store, A, 1, 15 * DAY)
    log_of(store, B, 1, 13 * DAY)
    cleared = store.clear(everyone, FORTNIGHT)
    assert (kept(store), cleared.vms, cleared.left) == ({B}, 1, 1)
    assert not (store.root / "aa" / A).exists()


def test_those_of_a_vm_that_lives_are_kept_however_old(store):
    log_of(store, A, 1, 15 * DAY)
    store.clear(lambda vm_ids: set(vm_ids) - {A}, FORTNIGHT)
    assert kept(store) == {A}


def test_when_room_is_short_the_oldest_go_first(store):
    log_of(store, A, 400, 2 * DAY)
    log_of(store, B, 300, 3 * DAY)
    log_of(store, C, 300, 1 * DAY)
    assert store.clear(everyone, FORTNIGHT).left == 700
    assert kept(store) == {A, C}


def test_what_was_written_to_within_the_hour_stays_even_then(store):
    log_of(store, A, 500, HOUR / 2)
    log_of(store, B, 450, HOUR * 2)
    log_of(store, C, 50, HOUR / 2)
    cleared = store.clear(everyone, FORTNIGHT)
    assert kept(store) == {A, C}
    assert cleared.problems == ()


def test_an_operator_hears_when_there_is_nothing_to_delete_and_no_room(store):
    log_of(store, A, 950, HOUR / 2)
    assert "near the limit" in store.clear(everyone, FORTNIGHT).problems[0]


def test_what_was_deleted_makes_room(store):
    log_of(store, A, 1000, DAY)
    store.clear(everyone, FORTNIGHT)
    assert store.append(B, "pilot", 0, b"x" * 1000) == 1000


def test_what_another_process_left_counts(store):
    log_of(store, A, 900, 0)
    again = LogStore(store.root, Quotas(MIB, 4, MIB, 1000), MIB)
    with pytest.raises(Exception, match="no room"):
        again.append(B, "pilot", 0, b"x" * 101)
    assert again.append(A, "pilot", 900, b"x" * 100) == 1000


def test_a_directory_that_is_no_vms_is_left_alone(store):
    for strange in ("lost+found", "aa/other", "zz/" + "z" * 32):
        (store.root / strange).mkdir(parents=True)
        (store.root / strange / "pilot.log").write_text("x")
    store.clear(everyone, timedelta(0))
    assert len(list(store.root.rglob("pilot.log"))) == 3


def test_something_that_cannot_be_deleted_is_told_and_stops_nothing(store):
    log_of(store, A, 1, 15 * DAY)
    log_of(store, C, 1, 15 * DAY)
    (store.root / "aa" / A / "planted").mkdir()
    cleared = store.clear(everyone, FORTNIGHT)
    assert A in cleared.problems[0]
    assert kept(store) <= {A}


def test_a_link_is_deleted_and_not_what_it_leads_to(store, tmp_path):
    log_of(store, A, 1, 15 * DAY)
    (tmp_path / "victim").write_text("precious")
    (store.root / "aa" / A / "jennifer.log").symlink_to(tmp_path / "victim")
    store.clear(everyone, FORTNIGHT)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (store.root / "aa" / A).exists()


def test_a_vm_may_begin_again_after_its_directory_was_deleted(store):
    log_of(store, A, 1, 15 * DAY)
    store.clear(everyone, FORTNIGHT)
    assert store.append(A, "pilot", 0, b"new") == 3


def test_whoever_comes_while_another_process_writes_waits_for_it(store):
    entered, go = threading.Event(), threading.Event()

    class Slow(LogStore):
        def _check(self, *what):
            super()._check(*what)
            entered.set()
            assert go.wait(10)

    slow = Slow(store.root, Quotas(MIB, 4, MIB, MIB), 1024 * MIB)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow.append, A, "pilot", 0, b"first")
        assert entered.wait(10)
        second = pool.submit(store.append, A, "pilot", 0, b"second")
        wait([second], timeout=0.3)
        go.set()
        assert first.result() == 5
        with pytest.raises(WrongOffset):
            second.result()
    assert store.read(A, "pilot", 0, 99) == b"first"


def test_another_process_reads_what_was_written(store):
    store.append(A, "pilot", 0, b"one\ntwo\nthree\n")
    store.append(A, "jennifer", 0, b"hello")
    reader = LogFiles(store.root)
    assert [(log.label, log.size) for log in reader.of(A)] == [("jennifer", 5), ("pilot", 14)]
    assert reader.read(A, "pilot", 4, 4) == b"two\n"
    assert reader.read(A, "pilot", 14, 10) == b""
    assert reader.tail(A, "pilot", 8) == b"three\n"
    assert reader.tail(A, "pilot", 100) == b"one\ntwo\nthree\n"
    assert (reader.of(B), reader.size(B, "pilot"), reader.tail(B, "pilot", 9)) == ((), 0, b"")


@pytest.mark.parametrize(
    "vm", ["", "..", "a" * 31, "a" * 33, "A" * 32, "a" * 31 + "\n", "a" * 32 + "\n", "/" + "a" * 31]
)
def test_what_is_no_vms_id_is_no_path(store, vm):
    with pytest.raises(ValueError, match="VM's id"):
        store.append(vm, "pilot", 0, b"x")
    with pytest.raises(ValueError, match="VM's id"):
        store.read(vm, "pilot", 0, 1)


@pytest.mark.parametrize("label", ["", ".", "..", "a/b", "A", "-a", "a.b", "a\n", "\x00", "a" * 33, "é"])
def test_what_is_no_label_is_no_path(store, label):
    with pytest.raises(ValueError, match="label"):
        store.append(A, label, 0, b"x")
    with pytest.raises(ValueError, match="label"):
        store.size(A, label)


def test_the_offset_that_is_refused_tells_the_right_one(store):
    store.append(A, "pilot", 0, b"abc")
    with pytest.raises(WrongOffset) as refused:
        store.append(A, "pilot", 2, b"x")
    assert refused.value.size == 3


def test_a_log_is_shown_without_what_a_terminal_would_act_upon():
    evil = b"\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\r\n\tin\x08dented \x9b1m\xe2\x80\xae!\x1b]0;open\nnext\x1b"
    assert printable_log(evil) == "red\n        in dented \N{REPLACEMENT CHARACTER}1m !\nnext"


def test_a_log_is_shown_as_text_in_a_page():
    shown = html_of_log(b"<script>alert('x')</script>\n\"&\"")
    assert shown == "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;\n&quot;&amp;&quot;"


@given(st.binary(max_size=300))
def test_no_log_is_too_strange_to_be_shown(data):
    for line in printable_log(data).split("\n"):
        assert line.isprintable()
    assert not re.search("[<>\"']", html_of_log(data))
