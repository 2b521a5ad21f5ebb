"""What a director in the lab is given, and what it made of it: jobs, records, servers and pilots."""

import sys
from pathlib import Path

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from lab.dirac import jobs
from lab.dirac.answers import ask

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"


def store():
    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB

    return VirtualMachineDB().store


def live() -> list:
    """The records of VMs that have not ended."""
    return [record for record in store().select() if record.state is not VMState.ENDED]


def leases_run_out() -> None:
    """Nobody has an endpoint any more, as when its director died a while ago."""
    for holder in set(store().leases.standing().values()):
        store().leases.release(holder)


def submit(*vos: str) -> list[int]:
    ids = [jobs.submit(vo, "#!/bin/sh\ntrue\n") for vo in vos]
    jobs.wait_for(ids, {"Waiting"}, 30)
    return ids


def servers(lab) -> list:
    from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint

    return [
        server
        for state in (lab.root / "qemu").iterdir()
        for server in QEMUEndpoint(state.name, state, lab.images).list_servers()
    ]


def pilots() -> dict:
    from DIRAC.WorkloadManagementSystem.Client.PilotManagerClient import PilotManagerClient

    references = [record.pilot_reference for record in store().select()]
    return ask(PilotManagerClient().getPilotInfo, references) if references else {}
