"""The database away, the gateway killed, the certificate renewed; and what a gateway does by itself."""

import http.client
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gateway_world import HOUR, Log, World, asked, certificates_in, make_vm, now

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem
from JenniferDIRAC.WorkloadManagementSystem.DB.Tables import GatewaySession
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import BadCertificate, HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Chores import Chore, Chores, Limits, chores_of, over
from JenniferDIRAC.WorkloadManagementSystem.Gateway.PilotOutputs import PilotOutputs
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState


def test_while_the_database_is_away_everybody_is_told_to_come_later(start):
    world = start()
    vm, fresh = world.guest(), world.vm()
    assert world.ask("GET", "/health").json["status"] == "ok"
    world.database_away()
    answers = [world.ask("GET", "/health"), fresh.redeem(), vm.beat(), vm.end(), vm.size(), vm.put(b"x")]
    assert {(answer.status, answer.headers["Retry-After"]) for answer in answers} == {(503, "30")}
    assert all(b"vm.db" not in answer.body for answer in answers)
    world.database_back()
    assert [world.ask("GET", "/health").status, fresh.redeem().status, vm.beat().status] == [200] * 3


def test_an_error_that_nobody_expected_tells_the_vm_nothing_and_the_log_no_secret(start, monkeypatch):
    world = start()
    vm = world.guest()

    def broken(vm_id, heartbeat):
        raise RuntimeError(f"with {vm.session} in its words")

    monkeypatch.setattr(world.store.sessions, "beat", broken)
    answer = vm.beat()
    assert (answer.status, answer.json) == (500, {"detail": "the gateway failed"})
    (line,) = world.log.of("error")
    assert "RuntimeError" in line and "Application.py" in line
    assert vm.session not in world.log.text()


@contextmanager
def killed_at_the_end(directory):
    """A gateway in a process of its own, and its port."""
    program = Path(__file__).with_name("gateway_world.py")
    path = os.pathsep.join([str(Path(__file__).parents[4]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "DIRAC_NO_CFG": "1"}
    process = subprocess.Popen([sys.executable, program, directory], stdout=subprocess.PIPE, env=environment)
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_nothing_that_was_acknowledged_is_lost_when_the_gateway_is_killed_under_load(start, tmp_path, certificates):
    here = start()  # its own gateway is only asked for what is in the directory
    shutil.copytree(certificates, tmp_path / "security", symlinks=True)
    vms = [make_vm(here.store) for _ in range(6)]
    sent, acknowledged = {}, {}
    with killed_at_the_end(tmp_path) as (process, port):
        enough = threading.Semaphore(0)

        def upload(vm_id, ticket, session):
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=here.tls(), timeout=20)
            asked(connection, "POST", f"/vm/v1/{vm_id}/redeem", {"ticket": ticket, "session": session})
            sent[vm_id], acknowledged[vm_id] = b"", 0
            try:
                while True:
                    piece = os.urandom(50_000)
                    sent[vm_id] += piece
                    path = f"/vm/v1/{vm_id}/logs/pilot?offset={acknowledged[vm_id]}"
                    answer = asked(connection, "PUT", path, piece, session)
                    assert answer.status == 200
                    acknowledged[vm_id] = answer.json["size"]
                    enough.release()
            except (OSError, http.client.HTTPException):
                connection.close()

        threads = [threading.Thread(target=upload, args=vm) for vm in vms]
        for thread in threads:
            thread.start()
        for _ in range(60):
            assert enough.acquire(timeout=30)
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join(30)
    assert sum(acknowledged.values()) >= 60 * 50_000
    for vm_id, _, session in vms:
        size = here.ask("GET", f"/vm/v1/{vm_id}/logs/pilot", token=session).json["size"]
        assert size >= acknowledged[vm_id]
        assert here.logs.read(vm_id, "pilot", 0, 2**30) == sent[vm_id][:size]


def test_a_gateway_ends_in_good_order_when_it_is_told_to(start, tmp_path, certificates):
    here = start()
    shutil.copytree(certificates, tmp_path / "security", symlinks=True)
    vm_id, ticket, session = make_vm(here.store)
    with killed_at_the_end(tmp_path) as (process, port):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=here.tls(), timeout=20)
        answer = asked(connection, "POST", f"/vm/v1/{vm_id}/redeem", {"ticket": ticket, "session": session})
        assert answer.status == 200
        process.terminate()
        assert process.wait(20) == 0
        connection.close()


def test_a_renewed_certificate_is_taken_without_a_restart(tmp_path, certificates):
    mine = tmp_path / "mine"
    shutil.copytree(certificates, mine, symlinks=True)
    renewed = certificates_in(tmp_path / "renewed")
    with World(tmp_path, mine) as world:
        world.listener._config.timeout_notify = 0  # it looks every second
        first = served_certificate(world)
        replace(renewed / "hostcert.pem", mine / "hostcert.pem")
        assert within(10, lambda: world.log.of("error"))  # the new certificate, and still the old key
        assert served_certificate(world) == first
        replace(renewed / "hostkey.pem", mine / "hostkey.pem")
        assert within(10, lambda: served_certificate(world) != first)
    assert world.log.of("notice") == ["The host's certificate was renewed"]


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return condition()


def replace(source, target):
    shutil.copy(source, target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)


def served_certificate(world):
    return ssl.get_server_certificate(("127.0.0.1", world.port), timeout=10)


@pytest.mark.parametrize("what", ["missing", "empty", "passphrase"])
def test_a_certificate_that_cannot_be_used_is_named(certificates, tmp_path, what):
    key = tmp_path / "key.pem"
    if what == "empty":
        key.touch()
    if what == "passphrase":
        command = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", certificates / "hostkey.pem", "-out", key]
        subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(BadCertificate, match="key.pem" if what != "passphrase" else "passphrase"):
        HostCertificate(certificates / "hostcert.pem", key)


# What it does by itself


def chores(world, log=None, certificate=None):
    limits = Limits(lambda: DirectorConfig.read("x", {"VO": "belle", "DrainTimeout": "60"}))
    log = log or world.log
    outputs = PilotOutputs(world.store, world.logs, None, log.warn)  # no VM has ended, so DIRAC is not asked
    made = chores_of(
        world.store, world.logs, limits, outputs, certificate or world.certificate, timedelta(days=14), "here:9164", log
    )
    return {chore.name: chore for chore in made}, limits


def test_a_gateway_says_that_it_is_there_and_forgets_what_is_of_no_use(start):
    world = start()
    late = world.vm(valid_for=-HOUR)
    made, limits = chores(world)
    for chore in made.values():
        chore.do()
    assert world.store.sessions.gateway_since() is not None
    assert limits().drain_timeout == timedelta(seconds=60)
    with world.store._database.transaction() as session:
        assert session.get(GatewaySession, late.id).sealed is None


def test_only_vms_whose_life_is_over_or_that_nobody_knows_lose_their_logs(start):
    world = start()
    living, ended = world.vm(), world.vm(state=VMState.ENDED)
    ids = [living.id, ended.id, "0" * 32, *(f"{n:032x}" for n in range(1, 1200))]
    assert over(world.store, ids) == frozenset(ids) - {living.id}


def test_a_chore_that_fails_is_told_once_and_its_recovery_too(start):
    world = start()
    log = Log()
    made, _ = chores(world, log)
    here = made["Saying that the gateway is there"]
    worker = Chores(made.values(), log)
    world.database_away()
    failed = worker.turn(here)
    failed = worker.turn(here, failed)
    world.database_back()
    assert worker.turn(here, failed) is False
    assert len(log.of("warn")) == 1 and "does not answer" in log.of("warn")[0]
    assert log.of("notice") == ["Saying that the gateway is there works again"]


def test_chores_go_on_by_themselves_until_they_are_stopped():
    done, log = threading.Semaphore(0), Log()

    def fail():
        done.release()
        raise StoreUnavailable("away")

    worker = Chores([Chore("it", timedelta(milliseconds=5), fail)], log)
    worker.start()
    for _ in range(3):
        assert done.acquire(timeout=10)
    worker.stop()
    assert log.of("warn") == ["it failed, and is tried again away"]


def test_a_wrong_section_of_the_director_changes_no_time_out():
    def wrong():
        raise ConfigError([ConfigProblem("DrainTimeout", "a number", "x")])

    answers = iter([lambda: DirectorConfig.read("x", {"VO": "b", "MaxLifetime": "60"}), wrong])
    limits = Limits(lambda: next(answers)())
    limits.renew()
    with pytest.raises(ConfigError):
        limits.renew()
    assert limits().max_lifetime == timedelta(seconds=60)


def test_a_killed_vm_is_over_for_the_gateway_too(start):
    world = start()
    vm = world.guest()
    world.store.request_kill(vm.id, "adm", "a test", now())
    assert vm.beat().json["drain"] is True
    world.store.move(vm.id, VMState.DELETING, VMState.ENDED, now(), "gone", outcome=Outcome.KILLED)
    assert vm.beat().status == 410


class Certificate:
    """One that is valid for so long."""

    def __init__(self, left):
        self._left = left

    def left(self, now):
        if self._left <= timedelta():
            raise BadCertificate("certificate host.pem ended: renew it")
        return self._left


def test_a_certificate_that_is_about_to_end_is_told_of_and_one_that_has_ended_is_no_gateway(start):
    world = start()
    log = Log()
    made, _ = chores(world, log, Certificate(timedelta(days=3)))
    made["Looking at the host's certificate"].do()
    assert "ends in 3 days" in str(vars(log))
    ended, _ = chores(world, log, Certificate(timedelta()))
    assert Chores(ended.values(), log).turn(ended["Saying that the gateway is there"])
    assert world.store.sessions.gateway_since() is None


def test_how_long_a_certificate_lasts_is_read_from_its_file(certificates):
    certificate = HostCertificate(certificates / "hostcert.pem", certificates / "hostkey.pem")
    left = certificate.left(datetime.now(UTC))
    assert timedelta(days=18) < left <= timedelta(days=20)
    with pytest.raises(BadCertificate, match="hostcert.pem ended at .*: renew it"):
        certificate.left(datetime.now(UTC) + timedelta(days=21))
