"""Logs arrive whole and in order, whatever breaks on the way."""

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Gateway import Away
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Uploads import CHUNK_BYTES, Uploads

TEXT = bytes(range(256)) * 10000  # two and a half chunks


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "pilot.log").write_bytes(TEXT)
    (tmp_path / "words.log").write_bytes(b"hello\n")
    return {"pilot": tmp_path / "pilot.log", "jennifer": tmp_path / "words.log", "cloud-init": tmp_path / "none"}


@pytest.fixture
def uploads(gateway, console, logs):
    return Uploads(gateway, console, logs)


def test_every_log_arrives_in_chunks(uploads, gateway_server):
    uploads.send()
    assert gateway_server.logs == {"pilot": TEXT, "jennifer": b"hello\n"}
    assert max(gateway_server.chunks) == CHUNK_BYTES == 1024 * 1024


def test_what_is_new_arrives_the_next_time(uploads, gateway_server, logs):
    uploads.send()
    with logs["jennifer"].open("ab") as file:
        file.write(b"more\n")
    logs["cloud-init"].write_bytes(b"late")
    uploads.send()
    assert gateway_server.logs == {"pilot": TEXT, "jennifer": b"hello\nmore\n", "cloud-init": b"late"}
    asked = len(gateway_server.requests)
    uploads.send()
    assert len(gateway_server.requests) == asked


@pytest.mark.parametrize("what", [429, 507, 500, 503, 408, "cut", "lose"])
def test_a_log_goes_on_where_it_broke_off(uploads, gateway_server, what):
    for _ in range(3):
        gateway_server.faults = [("logs", what, 1)]
        with pytest.raises(Away):
            uploads.send()
    uploads.send()
    assert gateway_server.logs == {"pilot": TEXT, "jennifer": b"hello\n"}


def test_a_line_that_is_too_slow_gets_smaller_chunks(uploads, gateway_server):
    gateway_server.faults = [("logs", 408, 2)]
    for _ in range(2):
        with pytest.raises(Away):
            uploads.send()
    uploads.send()
    assert max(gateway_server.chunks) == CHUNK_BYTES // 4


@pytest.mark.parametrize("has", [0, 5, len(TEXT)])
def test_the_gateways_size_counts(uploads, gateway_server, has):
    uploads.send()
    del gateway_server.logs["pilot"][has:]
    uploads._logs[0].offset = 7
    uploads.send()
    assert gateway_server.logs["pilot"] == TEXT


def test_a_gateway_that_has_more_than_there_is_gets_no_more(uploads, gateway_server, console):
    gateway_server.logs["pilot"] = bytearray(TEXT + b"of another VM")
    uploads.send()
    assert gateway_server.logs["jennifer"] == b"hello\n"
    assert any("more of the log pilot" in note for note in console.notes)


def test_what_is_enough_for_now_leaves_the_rest_for_later(uploads, gateway_server):
    answers = iter([False, True, True])
    uploads.send(lambda: next(answers))
    assert gateway_server.chunks == [CHUNK_BYTES]
    uploads.send()
    assert gateway_server.logs == {"pilot": TEXT, "jennifer": b"hello\n"}


def test_a_full_log_stops_alone(uploads, gateway_server, console, logs):
    gateway_server.room = CHUNK_BYTES + 10
    uploads.send()
    assert len(gateway_server.logs["pilot"]) == CHUNK_BYTES
    assert gateway_server.logs["jennifer"] == b"hello\n"
    assert any("413: the log is full" in note for note in console.notes)
    asked = len(gateway_server.requests)
    uploads.send()
    assert len(gateway_server.requests) == asked


def test_a_gateway_that_gets_no_further_is_left_alone_for_a_while(uploads, gateway_server, gateway, monkeypatch):
    monkeypatch.setattr(gateway, "append", lambda label, offset, data: offset)
    with pytest.raises(Away, match="gets no further than 0 bytes"):
        uploads.send()


def test_a_log_that_grows_for_ever_is_sent_as_far_as_it_was(uploads, gateway, logs, monkeypatch):
    append = gateway.append

    def grow(label, offset, data):
        with logs["jennifer"].open("ab") as file:
            file.write(b"again\n")
        return append(label, offset, data)

    monkeypatch.setattr(gateway, "append", grow)
    uploads.send()
