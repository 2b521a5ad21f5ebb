"""A VM whose user-data bring no program boots, gets it from a real gateway for its ticket, and tells its end there."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from one_vm import whole_life

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/WorkloadManagementSystem/Gateway"))
import gateway_world  # noqa: E402

from JenniferDIRAC.Resources.Cloud.Secret import Secret  # noqa: E402
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import render_user_data, sealed_content  # noqa: E402
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import (  # noqa: E402
    GatewayAccess,
    PilotProxy,
    VMContext,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState  # noqa: E402
from lab.common.certificates import make_certificates  # noqa: E402


@pytest.fixture
def gateway(tmp_path):
    security = tmp_path / "security"
    make_certificates(security, tmp_path / "users", (), "DNS:gateway.here.org,IP:127.0.0.1")
    with gateway_world.World(tmp_path, security) as world:
        yield world


@pytest.fixture
def context(gateway):
    ca = (gateway.certificates / "certificates/lab-ca.pem").read_text()
    url = f"https://gateway.here.org:{gateway.port}"
    return VMContext(
        vm_id="",
        name="jennifer-minimal",
        site="CLOUD.Here.org",
        ce="ours",
        queue="q",
        vo="belle",
        pilot_reference="jennifer://ours/1",
        pilot_stamp="0123abcd",
        pilot_argv=(),
        pilot_env={},
        pilot_file_urls=("file:/no/pilot/here",),
        credential=PilotProxy(Secret("hunter2\n")),
        max_lifetime=timedelta(hours=1),
        extra_hosts=("10.0.2.2 gateway.here.org",),
        gateway=GatewayAccess(url, gateway_world.new_ticket(), timedelta(minutes=10), ca),
        template="minimal",
    )


def test_the_program_comes_for_the_ticket_and_its_words_go_to_the_gateway(gateway, context, tmp_path, monkeypatch):
    sealed = sealed_content(context, render_user_data(context))
    monkeypatch.setattr(gateway_world, "ENVELOPE", sealed)
    monkeypatch.setattr(gateway_world, "new_ticket", lambda: context.gateway.ticket)
    vm_id, ticket, _ = gateway_world.make_vm(gateway.store, VMState.BOOTING)
    user_data = render_user_data(replace(context, vm_id=vm_id))
    state = tmp_path / "cloud"
    state.mkdir()
    console = whole_life(state, user_data, vm_id)
    record = gateway.store.get(vm_id)
    assert record.said_code == 500, console
    assert "/no/pilot/here" in record.said_reason or "pilot" in record.said_reason
    (log,) = (tmp_path / "logs").glob(f"**/*{vm_id}*/jennifer*")
    assert f"@jennifer {vm_id} hello" in log.read_text()
    assert f"@jennifer {vm_id} hello" in console
    assert not [secret for secret in (ticket, "hunter2") if secret in console + log.read_text()]
