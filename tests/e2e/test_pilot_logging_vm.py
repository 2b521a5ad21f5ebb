"""A real VM whose VO has DIRAC's remote pilot logging switched on."""

import time

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState
from lab.dirac import home, jobs
from lab.dirac.pilot_logging import logged, pilot_logging
from lab.image import golden_image

# Without KVM on a busy machine; a quiet one needs a tenth of it.
JOB_SECONDS = 600


@pytest.fixture
def director(dirac):
    """It reads the CS when it starts: after the logging was switched on."""
    golden_image(home() / "images")
    with pilot_logging(dirac, "belle"):
        dirac.start_agent()
        yield dirac
        dirac.processes.stop(["CloudDirector"])


def test_the_words_of_a_vm_are_in_its_pilots_log(director):
    from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineDB import VirtualMachineDB

    job = jobs.submit("belle", "#!/bin/sh\ntrue\n")
    jobs.wait_for([job], {"Done"}, JOB_SECONDS)
    store = VirtualMachineDB().store
    (record,) = store.select()
    end = time.monotonic() + 180
    while store.get(record.vm_id).state is not VMState.ENDED:
        assert time.monotonic() < end, "it has not ended"
        time.sleep(1)
    log = logged(director, "belle", record.pilot_stamp)
    # The lab's pilot says nothing there, and leaves the log to its VM to close.
    lines = log.with_name(f"{log.name}.log").read_text().splitlines()
    words = [line.split()[2] for line in lines if line.startswith(f"@jennifer {record.vm_id} ")]
    assert len(words) == len(lines)
    assert words[0] == "hello"
    assert [word for word in words if word != "note"][1:] == ["pilot-start", "pilot-end", "verdict", "end", "end"]
    assert "code=200" in lines[-1]
    assert not log.exists()
