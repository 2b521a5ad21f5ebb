"""Logs are appended to and to nothing else, within bounds, wherever a VM would like them to go."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway_world import MIB, WIDE, Quotas

from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import MAX_CHUNK

KIB = 1024


def bounded(**quotas):
    return Quotas(**{"file": WIDE.file, "files": WIDE.files, "vm": WIDE.vm, "total": WIDE.total} | quotas)


def kept(world, vm, label="pilot"):
    return world.logs.read(vm.id, label, 0, 2**30)


def test_a_log_goes_on_where_it_ended_and_nowhere_else(world):
    vm = world.guest()
    vm.put(b"abc")
    for offset in (0, 2, 4, 2**40):
        answer = vm.put(b"xyz", offset)
        assert (answer.status, answer.json) == (409, {"size": 3})
    assert vm.put(b"def", 3).json == {"size": 6}
    assert vm.size().json == {"size": 6}
    assert kept(world, vm) == b"abcdef"


def test_a_log_that_does_not_begin_at_its_beginning_is_not_begun(world):
    vm = world.guest()
    assert (vm.put(b"x", 5).status, vm.put(b"x", 5).json) == (409, {"size": 0})
    assert world.logs.of(vm.id) == ()


@pytest.mark.parametrize("offset", ["-1", "x", "", "1e3", str(2**60), "0x0", "%00"])
def test_what_is_no_offset_is_refused(world, offset):
    assert world.guest().put(b"x", offset).status == 422


def test_every_log_has_its_own_name_and_every_vm_its_own_logs(world):
    vm, other = world.guest(), world.guest()
    vm.put(b"mine")
    vm.put(b"console", label="jennifer")
    other.put(b"theirs")
    assert [(log.label, log.size) for log in world.logs.of(vm.id)] == [("jennifer", 7), ("pilot", 4)]
    assert (kept(world, vm), kept(world, other)) == (b"mine", b"theirs")


def test_any_bytes_are_kept_as_they_are(world):
    vm, data = world.guest(), bytes(range(256)) * 4096
    assert len(data) == MAX_CHUNK
    assert vm.put(data).json == {"size": MAX_CHUNK}
    assert kept(world, vm) == data


def test_a_piece_that_is_too_large_is_refused_whole(world):
    vm = world.guest()
    assert vm.put(b"x" * (MAX_CHUNK + 1)).status == 413
    assert vm.size().json == {"size": 0}
    assert vm.put(b"x").status == 200


def test_a_log_that_is_full_takes_no_more(start):
    world = start(quotas=bounded(file=10 * KIB))
    vm = world.guest()
    assert vm.put(b"x" * 10 * KIB).status == 200
    assert vm.put(b"x", 10 * KIB).status == 413
    assert vm.size().json == {"size": 10 * KIB}
    assert vm.put(b"x", label="jennifer").status == 200


def test_a_vm_that_has_all_its_space_gets_no_more_and_others_do(start):
    world = start(quotas=bounded(vm=10 * KIB))
    vm, other = world.guest(), world.guest()
    assert vm.put(b"x" * 6 * KIB).status == 200
    assert vm.put(b"x" * 6 * KIB, label="jennifer").status == 413
    assert vm.put(b"x" * 4 * KIB, label="jennifer").status == 200
    assert vm.put(b"x", 6 * KIB).status == 413
    assert other.put(b"x" * 6 * KIB).status == 200


def test_of_ten_thousand_logs_a_vm_gets_as_many_as_it_may_have(start):
    world = start(quotas=bounded(files=16))
    vm = world.guest()
    connection = world.logs
    taken = [n for n in range(60) if vm.put(b"x", label=f"log-{n}").status == 200]
    assert taken == list(range(16))
    refused = 0
    for n in range(10_000):
        try:
            connection.append(vm.id, f"more-{n}", 0, b"x")
        except Exception as error:
            refused += "may have 16 logs" in str(error)
    assert refused == 10_000
    assert len(os.listdir(world.root / "logs" / vm.id[:2] / vm.id)) == 16


def test_when_the_whole_directory_is_full_vms_are_told_to_come_later(start):
    world = start(quotas=bounded(total=10 * KIB))
    vm, other = world.guest(), world.guest()
    assert vm.put(b"x" * 8 * KIB).status == 200
    answer = other.put(b"x" * 4 * KIB)
    assert (answer.status, answer.headers["Retry-After"]) == (507, "300")
    assert other.put(b"x" * 2 * KIB).status == 200


def test_what_was_refused_takes_no_room(start):
    world = start(quotas=bounded(total=10 * KIB))
    vm = world.guest()
    for _ in range(9):
        assert vm.put(b"x" * 6 * KIB, 7).status == 409
    assert vm.put(b"x" * 10 * KIB).status == 200


def test_a_vm_that_sends_too_much_at_a_time_is_told_when_to_come(start):
    world = start(rate=MIB)
    vm, other = world.guest(), world.guest()
    full = b"x" * MAX_CHUNK
    assert [vm.put(full, n * MIB).status for n in range(8)] == [200] * 8
    answer = vm.put(full, 8 * MIB)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert other.put(full).status == 200
    world.clock.at += 1
    assert vm.put(full, 8 * MIB).status == 200
    assert vm.put(full, 9 * MIB).status == 429


def test_a_slow_rate_lets_a_full_piece_through_in_the_end(start):
    world = start(rate=KIB)
    vm = world.guest()
    assert vm.put(b"x" * MAX_CHUNK).status == 200
    answer = vm.put(b"x" * MAX_CHUNK, MAX_CHUNK)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1024")
    world.clock.at += 1024
    assert vm.put(b"x" * MAX_CHUNK, MAX_CHUNK).status == 200


def test_of_two_who_write_the_same_log_at_once_one_is_first(world):
    vm = world.guest()
    pieces = [bytes([65 + n]) * 50_000 for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(vm.put, pieces))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 15
    assert kept(world, vm) in pieces


def test_a_vm_with_many_uploads_at_once_is_slowed(world):
    vm = world.guest()
    head = f"PUT /vm/v1/{vm.id}/logs/pilot?offset=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vm.session}\r\n"
    held = [world.raw() for _ in range(4)]
    try:
        for connection in held:
            connection.sendall(f"{head}Content-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode())
        assert all(connection.recv(100).startswith(b"HTTP/1.1 100") for connection in held)  # their bodies are awaited
        answer = vm.put(b"x")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    finally:
        for connection in held:
            connection.close()
    assert world.guest().put(b"x").status == 200


@pytest.mark.parametrize(
    "planted",
    [
        lambda path, victim: path.symlink_to(victim),
        lambda path, victim: path.hardlink_to(victim),
        lambda path, victim: os.mkfifo(path),
        lambda path, victim: path.mkdir(),
    ],
    ids=["symlink", "hard link", "pipe", "directory"],
)
def test_what_was_planted_in_place_of_a_log_is_not_written_to(world, planted):
    vm, victim = world.guest(), world.root / "victim"
    victim.write_bytes(b"")
    vm.put(b"x", label="jennifer")
    planted(world.root / "logs" / vm.id[:2] / vm.id / "pilot.log", victim)
    assert vm.put(b"evil").status in (409, 507)
    assert vm.size().status == 507
    assert victim.read_bytes() == b""
    assert vm.id in world.log.text()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_directory_that_was_replaced_by_a_link_is_not_followed(start, depth):
    world = start()
    vm, elsewhere = world.guest(), world.root / "elsewhere"
    elsewhere.mkdir()
    place = world.root / "logs" / vm.id[:2]
    if depth == 2:
        place.mkdir()
        place /= vm.id
    place.symlink_to(elsewhere)
    assert vm.put(b"evil").status == 507
    assert list(elsewhere.iterdir()) == []


def test_a_full_disk_leaves_the_log_as_it_was(world, monkeypatch):
    vm = world.guest()
    vm.put(b"abc")
    write = os.write
    calls = iter([lambda fd, data: write(fd, data[:2]), _no_space])
    monkeypatch.setattr(os, "write", lambda fd, data: next(calls)(fd, data) if len(data) < 9 else write(fd, data))
    try:
        world.logs.append(vm.id, "pilot", 3, b"defg")
        raise AssertionError("it was taken")
    except Exception as error:
        assert "no room" in str(error)
    monkeypatch.undo()
    assert kept(world, vm) == b"abc"
    assert vm.put(b"def", 3).json == {"size": 6}


def _no_space(*_):
    raise OSError(28, "No space left on device")
