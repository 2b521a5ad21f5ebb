"""A ticket is redeemed once, by its own VM, in time; whoever else brings one learns nothing and is seen."""

import json
from datetime import timedelta

import pytest
from gateway_world import ENVELOPE, HOUR
from sqlalchemy import text

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

ANOTHER = "B" * 43
REFUSED = {"detail": "the ticket was refused"}


def test_an_answer_that_was_lost_is_given_again_in_the_same_session_until_the_vm_has_spoken(world):
    vm = world.vm()
    assert vm.redeem().json["envelope"] == ENVELOPE
    assert vm.redeem().json["envelope"] == ENVELOPE
    vm.beat()
    assert vm.redeem().status == 403


def test_a_ticket_that_is_brought_again_is_refused_logged_and_shown(world):
    vm = world.guest()
    answer = vm.redeem(session=ANOTHER)
    assert (answer.status, answer.json) == (403, REFUSED)
    assert "brought again" in vm.known.refused_why
    (line,) = [line for line in world.log.of("warn") if vm.id in line]
    assert "127.0.0.1" in line and "brought again" in line
    assert vm.beat().status == 200  # the one that came first goes on


def test_the_ticket_of_another_vm_is_refused(world):
    vm, other = world.vm(), world.vm()
    assert vm.redeem(ticket=other.ticket).status == 403
    assert "not its own" in vm.known.refused_why
    assert other.redeem().status == 200


def test_an_expired_ticket_is_refused(world):
    vm = world.vm(valid_for=-timedelta(seconds=1))
    assert vm.redeem().status == 403
    assert "too late" in vm.known.refused_why


@pytest.mark.parametrize("state", [VMState.DELETING, VMState.ENDED])
def test_a_ticket_is_refused_when_the_vms_life_is_over(world, state):
    assert world.vm(state=state).redeem().status == 403


def test_every_refusal_reads_the_same(world):
    used, late, vm = world.guest(), world.vm(valid_for=-HOUR), world.vm()
    unknown = world.ask("POST", f"/vm/v1/{'0' * 32}/redeem", {"ticket": vm.ticket, "session": vm.session})
    answers = [used.redeem(session=ANOTHER), late.redeem(), vm.redeem(ticket=ANOTHER), unknown]
    assert [(answer.status, answer.json) for answer in answers] == [(403, REFUSED)] * 4
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize("wrong", ["short", "x" * 44, "!" * 43, 7, None, ["a"]])
def test_what_is_no_ticket_is_refused_and_not_repeated(world, wrong):
    vm = world.vm()
    answer = vm.redeem(ticket=wrong)
    assert answer.status == 422
    assert vm.ticket not in answer.json["detail"] and vm.session not in answer.json["detail"]
    if wrong:
        assert str(wrong) not in answer.json["detail"].replace("shorter", "")


def test_a_ticket_in_the_wrong_place_is_not_repeated(world):
    vm = world.vm()
    bodies = [{vm.ticket: 1, "session": vm.session}, {"ticket": {"ticket": vm.ticket}, "session": vm.session}]
    for body in bodies:
        answer = world.ask("POST", f"/vm/v1/{vm.id}/redeem", body)
        assert answer.status == 422
        assert vm.ticket.encode() not in answer.body
    broken = json.dumps(bodies[0])[:-5]
    torn = world.ask("POST", f"/vm/v1/{vm.id}/redeem", broken, headers={"Content-Type": "application/json"})
    assert torn.status == 422
    assert vm.ticket.encode() not in torn.body


def test_an_answer_with_a_credential_is_kept_by_no_cache(world):
    assert world.vm().redeem().headers["Cache-Control"] == "no-store"


def test_neither_log_nor_database_holds_a_secret(start):
    world = start()
    vm = world.guest()
    vm.redeem(session=ANOTHER)
    vm.redeem(ticket=vm.ticket + "=")
    vm.beat()
    vm.beat(token=vm.session)
    world.ask("GET", f"/vm/v1/{vm.ticket}/logs/{vm.session}?offset={vm.ticket}", None, vm.session)
    world.ask("GET", f"/{vm.ticket}", None, vm.session)
    world.database_away()
    vm.beat()
    world.database_back()
    with world.store._engine.connect() as connection:
        rows = [str(list(connection.execute(text(f"SELECT * FROM {table}")))) for table in tables(connection)]
    told = world.log.text() + "".join(rows)
    assert vm.id in told
    for secret in (vm.ticket, vm.session, ENVELOPE["credential"]["pem"]):
        assert secret not in told


def tables(connection):
    return list(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
