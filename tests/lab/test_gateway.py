"""The gateway on the lab's services, as VMs, operators and DIRAC's own commands find it."""

import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lab_world import store

from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest, new_ticket, seal
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

PLACE = VMTypeKey("CLOUD.GRIF.fr", "grif-qemu", "el-1core")
ENVELOPE = {"settings": {"pilot_user": "dirac"}, "credential": {"kind": "proxy", "pem": "hunter2"}}


class Guest:
    """A VM that has a ticket, as far as the gateway can tell."""

    def __init__(self, lab):
        self.id, self.ticket, self.session = uuid.uuid4().hex, new_ticket(), new_ticket().reveal()
        self._url = f"https://{lab.address}:{lab.ports.gateway}/vm/v1/{self.id}"
        self._trust = ssl.create_default_context(cafile=str(lab.ca_file))
        self.reference = f"cloud://grif-qemu/{self.id}"
        intent = Intent(self.id, PLACE, "belle", 1, 1024, 1, self.reference, uuid.uuid4().hex)
        store().record_intents([intent], datetime.now(UTC))
        sealed = seal(self.ticket, ENVELOPE)
        store().sessions.keep(self.id, digest(self.ticket.reveal()), sealed, timedelta(minutes=10))
        from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices

        DiracServices().register_pilot(self.reference, intent.pilot_stamp, "belle", PLACE, "Submitted")

    def redeem(self):
        return self.ask("POST", "/redeem", {"ticket": self.ticket.reveal(), "session": self.session})

    def ask(self, method, path, document=None, body=None):
        """Status and answer."""
        data = body if document is None else json.dumps(document).encode()
        headers = {"Authorization": f"Bearer {self.session}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._trust) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture
def guest(lab, dirac):
    return Guest(lab)


def until(done, seconds=60):
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return value


def test_a_vm_gets_its_envelope_once_and_what_it_tells_is_known_to_director_and_operators(guest, tell):
    status, answer = guest.redeem()
    assert (status, answer["envelope"]) == (200, ENVELOPE)
    heartbeat = {"phase": "pilot", "load": [1.0, 0.5, 0.2], "notes": {"cvmfs": "DIRECT"}}
    assert guest.ask("POST", "/heartbeat", heartbeat)[0] == 200
    assert guest.redeem()[0] == 403
    record = store().get(guest.id)
    assert record.first_word_at and record.heartbeat_at
    shown = " ".join(tell("show", guest.id).split())
    assert "redeemed at" in shown and "1 times, last at" in shown and "brought again" in shown
    assert "cvmfs: DIRECT" in shown
    assert "hunter2" not in shown and guest.session not in shown


def test_a_drained_vm_is_told(guest, tell):
    guest.redeem()
    beat = {"phase": "pilot"}
    assert guest.ask("POST", "/heartbeat", beat)[1]["drain"] is False
    from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

    store().move(guest.id, VMState.PLANNED, VMState.DRAINING, datetime.now(UTC), "an operator wants it")
    answer = guest.ask("POST", "/heartbeat", beat)[1]
    assert answer["drain"] is True
    assert answer["deadline"] > answer["now"]


def test_operators_read_a_vms_logs_with_the_admin_command(guest, tell, mistake):
    mistake(("logs", guest.id), 1, "sent no log yet; its console may tell")
    guest.redeem()
    assert guest.ask("PUT", "/logs/pilot?offset=0", body=b"the pilot's \x1b[31mred words\n") == (200, {"size": 27})
    assert guest.ask("PUT", "/logs/jennifer?offset=0", body=b"hello\n")[0] == 200
    assert "the pilot's" in tell("logs", guest.id) and "\x1b" not in tell("logs", guest.id)
    assert tell("logs", guest.id, "jennifer") == "hello\n"
    listed = json.loads(tell("logs", guest.id, "--list", "--json"))
    assert [(log["label"], log["size"]) for log in listed["logs"]] == [("jennifer", 6), ("pilot", 27)]
    mistake(("logs", guest.id, "../jennifer"), 1, "it sent: jennifer, pilot")


def test_a_log_is_followed_until_its_vm_has_ended(guest, lab):
    guest.redeem()
    guest.ask("PUT", "/logs/pilot?offset=0", body=b"one\n")
    command = [Path(sys.executable).parent / "dirac-admin-cloud", "logs", guest.id, "--follow"]
    environment = lab.environment(X509_USER_PROXY=str(lab.proxy("adm", "dirac_admin")))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout.readline() == "one\n"
            guest.ask("PUT", "/logs/pilot?offset=4", body=b"two\n")
            assert following.stdout.readline() == "two\n"
            end(guest)
            assert following.wait(30) == 0
        finally:
            following.kill()


def test_the_pilots_output_is_found_by_diracs_own_command(guest, lab, tmp_path):
    guest.redeem()
    guest.ask("PUT", "/logs/pilot?offset=0", body=b"what the pilot said\n")
    guest.ask("PUT", "/logs/jennifer?offset=0", body=b"what the VM said\n")
    assert guest.ask("POST", "/end", {"code": 200, "reason": "done"})[0] == 204
    assert store().get(guest.id).said_reason == "done"
    end(guest)
    command = [Path(sys.executable).parent / "dirac-admin-get-pilot-output", guest.reference]
    environment = lab.environment(X509_USER_PROXY=str(lab.proxy("adm", "dirac_admin")))

    def got():
        subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return list(tmp_path.glob("pilot_*/std.out"))

    (output,) = until(got)
    assert output.read_text() == "what the pilot said\n"
    assert "what the VM said" in output.with_name("std.err").read_text()


def test_a_vm_that_never_spoke_leaves_its_console(guest, lab, tell):
    store().note(guest.id, console_tail="Kernel panic - not syncing")
    end(guest)
    assert "Kernel panic" in tell("console", guest.id)

    from DIRAC.WorkloadManagementSystem.DB.PilotAgentsDB import PilotAgentsDB

    result = until(lambda: (one := PilotAgentsDB().getPilotOutput(guest.reference))["OK"] and one)
    assert "Kernel panic" in result["Value"]["StdErr"]


def test_the_proxy_of_a_vm_is_limited_and_of_the_pilots_group(dirac):
    from DIRAC.Core.Security.X509Chain import X509Chain

    from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices

    chain = X509Chain()
    assert chain.loadChainFromString(DiracServices().pilot_proxy("t2k.org", timedelta(hours=1)).reveal())["OK"]
    assert chain.isLimitedProxy()["Value"] is True
    assert chain.getDIRACGroup()["Value"] == "t2k_pilot"
    assert 3600 <= chain.getRemainingSecs()["Value"] <= 3600 + 600


def test_a_stolen_session_is_worth_nothing_when_the_vm_has_ended(guest):
    guest.redeem()
    end(guest)
    assert guest.ask("POST", "/heartbeat", {"phase": "pilot"})[0] == 410
    assert guest.ask("PUT", "/logs/pilot?offset=0", body=b"x")[0] == 410


def test_while_the_database_is_away_a_vm_is_told_to_come_again_and_then_it_can(guest, lab):
    guest.redeem()
    with lab.away("mariadbd"):
        assert guest.ask("POST", "/heartbeat", {"phase": "pilot"})[0] == 503
    until(lambda: guest.ask("POST", "/heartbeat", {"phase": "pilot"})[0] == 200)


def end(guest):
    from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

    now = datetime.now(UTC)
    store().request_kill(guest.id, "adm", "over", now)
    store().move(guest.id, VMState.DELETING, VMState.ENDED, now, "gone")
