"""The ticket is redeemed once, however long that takes, and nothing of it stays."""

import pytest
from gateway_server import TICKET
from guest_directory import VM_ID

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Ends import Ended
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Gateway import Gateway
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Redemption import redeem


@pytest.fixture
def begin(gateway_server, ca, clock, console, tmp_path):
    """A function that redeems the ticket of a VM that has just booted; gives its settings."""
    ticket = tmp_path / "etc/jennifer/ticket"
    ticket.parent.mkdir(parents=True)
    ticket.write_text(TICKET + "\n")

    def begin(**settings):
        told = {"url": gateway_server.url, "ca": ca.pem, "ticket": "/etc/jennifer/ticket"}
        settings = {"vm_id": VM_ID, "gateway": told, **settings}
        gateway = Gateway(told, VM_ID, clock)
        redeem(gateway, settings, str(tmp_path), clock, console, clock.monotonic())
        return settings

    return begin


def test_the_gateways_settings_go_over_the_files(begin, gateway_server):
    gateway_server.envelope["settings"] = {"pilot_user": "pilot", "max_lifetime": 5, "vm_id": "other", "gateway": {}}
    settings = begin(max_lifetime=9, boot_patience=1)
    assert (settings["pilot_user"], settings["max_lifetime"], settings["boot_patience"]) == ("pilot", 5, 1)
    assert settings["credential"] == {"kind": "proxy", "pem": "hunter2\n"}
    assert settings["vm_id"] == VM_ID
    assert settings["gateway"]["url"] == gateway_server.url


def test_the_ticket_is_gone_when_it_was_redeemed(begin, tmp_path):
    begin()
    assert not (tmp_path / "etc/jennifer/ticket").exists()


@pytest.mark.parametrize("what", [503, 429, 404, "cut", "lose"])
def test_a_gateway_that_is_away_at_first_is_asked_again(begin, gateway_server, console, what):
    gateway_server.faults = [("redeem", what, 3)]
    assert begin()["credential"]
    assert sum("the gateway is away" in note for note in console.notes) == 1


def test_it_is_waited_for_as_long_as_it_asks(begin, gateway_server, clock):
    gateway_server.faults, gateway_server.retry_after = [("redeem", 503, 1)], "200"
    begin()
    assert clock.waits == [200]


@pytest.mark.parametrize("patience", [900, 60])
def test_patience_ends(begin, gateway_server, clock, patience):
    gateway_server.away_until = 10**9
    with pytest.raises(Ended, match="cannot redeem the ticket at the gateway .* HTTP status 503") as caught:
        begin(boot_patience=patience)
    assert caught.value.code == 500
    assert clock.passed == pytest.approx(patience, abs=1)


def test_the_last_of_its_patience_is_used_though_the_gateway_asks_to_wait_longer(begin, gateway_server, clock):
    gateway_server.faults, gateway_server.retry_after = [("redeem", 503, 2)], "600"
    begin(boot_patience=900)
    assert clock.waits == [600, 300]


def test_a_refusal_is_final_and_clear(begin, gateway_server, clock, tmp_path):
    gateway_server.session = "somebody else's"
    with pytest.raises(Ended, match="the gateway refused the ticket") as caught:
        begin()
    assert caught.value.code == 500
    assert clock.passed == 0


def test_no_ticket_is_told(begin, tmp_path):
    (tmp_path / "etc/jennifer/ticket").unlink()
    with pytest.raises(Ended, match="no ticket"):
        begin()


@pytest.mark.parametrize(("off", "told"), [(0, False), (29, False), (-29, False), (31, True), (-4000, True)])
def test_a_clock_that_is_off_is_set_and_that_is_said(begin, clock, console, off, told):
    clock.off = off
    begin()
    assert clock.off == pytest.approx(0 if told else off)
    assert any("the clock was" in note for note in console.notes) == told


def test_a_clock_that_cannot_be_set_is_said(begin, clock, console, monkeypatch):
    def refuse(_):
        raise PermissionError("not here")

    clock.off = 100
    monkeypatch.setattr(clock, "set", refuse)
    begin()
    assert any("+100 s off, and cannot be set" in note for note in console.notes)
