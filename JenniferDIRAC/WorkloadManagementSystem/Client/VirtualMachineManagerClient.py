"""Client of the VirtualMachineManager service."""

from DIRAC.Core.Base.Client import Client, createClient


@createClient("WorkloadManagement/VirtualMachineManager")
class VirtualMachineManagerClient(Client):
    """The methods are those that ``VirtualMachineManagerHandler`` exports; each returns S_OK or S_ERROR."""

    def __init__(self, url=None, **kwargs):
        super().__init__(**kwargs)
        self.serverURL = url or "WorkloadManagement/VirtualMachineManager"
