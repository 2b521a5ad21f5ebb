"""The lab itself: what the other tests and the demo stand on."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from ssl import create_default_context

import pytest

from lab.common.processes import Process, Processes, started
from lab.dirac import Lab, LabError, jobs
from lab.dirac.answers import ask
from lab.dirac.configuration import VOS, user_group
from lab.pilot.on_host import CE, SITE, register_pilot, run_pilot


def waiting_jobs():
    """{owner group: jobs} of all task queues that a VM of the first site could serve."""
    from DIRAC.WorkloadManagementSystem.Client.MatcherClient import MatcherClient

    resource = {"Site": SITE, "GridCE": CE, "CPUTime": 86400, "MaxRAM": 1024, "NumberOfProcessors": 1}
    queues = ask(MatcherClient().getMatchingTaskQueues, resource)
    return {queue["OwnerGroup"]: queue["Jobs"] for queue in queues.values()}


def test_the_demand_of_three_vos_is_visible(dirac):
    ids = [jobs.submit(vo, "#!/bin/sh\ntrue\n") for vo in VOS for _ in range(2)]
    jobs.wait_for(ids, {"Waiting"}, 120)
    assert waiting_jobs() == {user_group(vo): 2 for vo in VOS}


def test_a_job_goes_to_done_through_a_pilot_and_its_output_comes_back(dirac, tmp_path):
    belle = jobs.submit("belle", "#!/bin/sh\ntrue\n")
    job = jobs.submit("t2k.org", '#!/bin/sh\necho "hello $((6 * 7))"\necho oops >&2\n')
    jobs.wait_for([belle, job], {"Waiting"}, 120)
    reference, stamp = f"cloud://test/{uuid.uuid4()}", uuid.uuid4().hex
    register_pilot(reference, stamp, "t2k.org")

    pilot = run_pilot(dirac, "t2k.org", reference, stamp, tmp_path)

    assert pilot.returncode == 0, pilot.stdout + pilot.stderr
    states = jobs.states([belle, job])
    assert (states[job].status, states[job].site) == ("Done", SITE), pilot.stdout
    assert states[belle].status == "Waiting"
    output = jobs.output(job, "t2k.org")
    assert (output["std.out"], output["std.err"]) == ("hello 42\n", "oops\n")
    assert [event.state.status for event in jobs.history(job)][-1] == "Done"

    from DIRAC.WorkloadManagementSystem.Client.PilotManagerClient import PilotManagerClient

    info = ask(PilotManagerClient().getPilotInfo, reference)[reference]
    assert (info["Status"], info["PilotStamp"], info["Jobs"]) == ("Done", stamp, [job])


def test_a_pilot_without_work_says_so_and_ends(dirac, tmp_path):
    reference, stamp = f"cloud://test/{uuid.uuid4()}", uuid.uuid4().hex
    register_pilot(reference, stamp, "belle")
    pilot = run_pilot(dirac, "belle", reference, stamp, tmp_path)
    assert pilot.returncode == 0
    assert 'with message "Nothing to do for more than 0 cycles"' in pilot.stdout


def test_the_pilot_files_are_those_of_this_configuration(lab):
    context = create_default_context(cafile=str(lab.ca_file))
    url = f"https://{lab.address}:{lab.ports.pilot_files}/pilot.json"
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        published = json.load(answer)
    assert {ce: entry["Site"] for ce, entry in published["CEs"].items()} == {
        "grif-qemu": "CLOUD.GRIF.fr",
        "napoli-qemu": "VCYCLE.Napoli.it",
    }
    # every URL must mean something inside a virtual machine
    assert all(server.startswith(f"dips://{lab.address}:") for server in published["ConfigurationServers"])
    assert set(VOS) <= set(published)


def test_only_the_pilot_files_are_served(lab):
    context = create_default_context(cafile=str(lab.ca_file))
    for path in ("", "..%2fwork", "../../etc/grid-security/hostkey.pem", "nothing"):
        url = f"https://{lab.address}:{lab.ports.pilot_files}/{path}"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url, timeout=10, context=context)


def test_no_single_vo_is_set_for_the_whole_server(lab):
    from DIRAC import gConfig

    assert gConfig.getValue("/DIRAC/VirtualOrganization", "") == ""


def test_a_second_lab_is_told_which_port_is_taken_and_by_whom(lab, tmp_path):
    with pytest.raises(LabError, match=r"port \d+ is in use by process \d+ \(.+\)"):
        Lab(tmp_path / "second", port_offset=lab.ports.offset).up()


def test_a_lab_that_is_up_is_not_emptied_by_another_up(lab):
    with pytest.raises(LabError, match="a lab is up in .*: ./run down"):
        Lab(lab.root, port_offset=lab.ports.offset).up()
    assert lab.is_up


def test_down_ends_its_own_processes_and_no_reused_pid(tmp_path):
    record, own_log = tmp_path / "processes.json", tmp_path / "log"
    processes = Processes(record, own_log)
    child = processes.start("child", ["sleep", "600"], os.environ, tmp_path)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        entries = json.loads(record.read_text())
        # as if a process of ours had ended and its number had gone to a stranger
        entries.append({"name": "gone", "pid": stranger.pid, "started": entries[0]["started"] + "0"})
        record.write_text(json.dumps(entries))
        processes.stop()
        assert child.poll() is not None
        assert stranger.poll() is None
        assert processes.recorded() == []
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_does_not_come_up_is_reported_with_its_log(tmp_path):
    lab = Lab(tmp_path / "lab")
    lab.root.mkdir()
    lab.start("broken", [sys.executable, "-c", "raise SystemExit('no such thing as luck')"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LabError, match="broken ended(.|\n)*no such thing as luck"):
        lab.wait_for_port("broken", port)


def test_a_zombie_is_not_alive():
    child = subprocess.Popen(["sleep", "600"])
    process = Process("child", child.pid, started(child.pid))
    assert process.alive
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive
    child.wait()
