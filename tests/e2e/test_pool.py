"""A VM of several cores, whose one pilot fills them with jobs: DIRAC's inner CE Pool."""

import time

import pytest

from lab.dirac import home, jobs
from lab.image import golden_image

# Without KVM on a busy machine; a quiet one needs a tenth of it.
JOB_SECONDS = 600
QUEUE = "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/Queues/el-2core"
WITH_POOL = {
    "Image": "name:golden",
    "Flavor": "cores>=2, ram>=1",
    "NumberOfProcessors": "2",
    "MaxRAM": "2048",
    "maxCPUTime": "1440",
    "SI00": "2500",
    "LocalCEType": "Pool",
}


@pytest.fixture
def director(dirac, cs):
    """One that has nothing but a VM type of two cores, of which the pilots were told."""
    golden_image(home() / "images")
    cs(
        {f"{QUEUE}/{name}": value for name, value in WITH_POOL.items()}
        | {
            "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/Queues/el-1core/MaxVMs": "0",
            "/Resources/Sites/VCYCLE/VCYCLE.Napoli.it/CEs/napoli-qemu/MaxVMs": "0",
            # the lab's pilots take one job only
            "/Operations/Defaults/Cloud/PilotOptions": "--MaxCycles=20, --PollingTime=10, --StopAfterFailedMatches=1",
        }
    )
    publish_pilot_files(dirac)
    dirac.start_agent()
    yield dirac
    dirac.processes.stop(["CloudDirector"])


def publish_pilot_files(dirac):
    """As an installation's PilotSyncAgent does it some time after a change of the CS."""
    agent = dirac.start_agent("WorkloadManagement/PilotSyncAgent", "-o", "MaxCycles=1")
    assert agent.wait(120) == 0


def test_two_jobs_run_at_once_on_one_vm_of_two_cores(director):
    ids = [jobs.submit("belle", "#!/bin/sh\nsleep 20\n") for _ in range(2)]
    end, together = time.monotonic() + JOB_SECONDS, False
    while not together and time.monotonic() < end:
        now = jobs.states(ids)
        together = [now[job].status for job in ids if job in now] == ["Running", "Running"]
        assert not {state.status for state in now.values()} & (jobs.FINAL - {jobs.DONE})
        time.sleep(0.5)
    assert together
    jobs.wait_for(ids, {jobs.DONE}, JOB_SECONDS)

    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB

    (record,) = VirtualMachineDB().store.select()
    assert (record.cores, record.jobs) == (2, 2)
