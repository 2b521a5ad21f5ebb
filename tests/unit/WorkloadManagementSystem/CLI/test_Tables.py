"""What operators are shown of VMs."""

from datetime import UTC, datetime

import pytest
from rich.console import Console
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from JenniferDIRAC.WorkloadManagementSystem.CLI import Tables
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Service.VirtualMachineManagerHandler import VirtualMachineManager

KEY = VMTypeKey("CLOUD.GRIF.fr", "grif", "el9-4core")


@pytest.fixture
def manager():
    """With two VMs, of which nobody noted what the second was told."""
    store = VirtualMachineStore(create_engine("sqlite://", poolclass=StaticPool))
    store.record_intents(
        [
            Intent(str(number) * 32, KEY, "belle", 4, 8192, 7, f"cloud://grif/{number}", "0", "el9", version)
            for number, version in enumerate(("el9@3f2a91c0", ""))
        ],
        datetime(2026, 11, 20, tzinfo=UTC),
    )
    return VirtualMachineManager(store)


def shown(table, value):
    console = Console(record=True, width=200)
    table(value, console)
    return console.export_text()


def test_vms_are_listed_with_their_version(manager):
    lines = [line for line in shown(Tables.vms, manager.virtual_machines({}, 10)).splitlines() if "belle" in line]
    assert ["el9@3f2a91c0" in line for line in lines] == [False, True]


def test_one_vm_is_shown_with_its_version(manager):
    assert "version of its context  el9@3f2a91c0" in shown(Tables.vm, manager.virtual_machine("0" * 32))
    assert "version" not in shown(Tables.vm, manager.virtual_machine("1" * 32))


def test_the_version_is_one_of_the_values_for_json(manager):
    assert {one["version"] for one in manager.virtual_machines({}, 10)} == {"el9@3f2a91c0", ""}
