"""The director's cycles in this process, on the lab's services; the process must be the lab's: ``Lab.activate()``."""

from __future__ import annotations

from datetime import UTC, datetime


def new_director():
    """A ``Director`` as the agent makes it; call its ``cycle``."""
    from DIRAC import gLogger

    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB
    from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices
    from JenniferDIRAC.WorkloadManagementSystem.Director.Director import Director

    return Director(VirtualMachineDB().store, DiracServices(), gLogger, now=lambda: datetime.now(UTC))
