"""The demo as a user runs it: real jobs, a real director, real virtual machines."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import yaml
from demo_world import CLONE, PORT_OFFSET, openstack_of, start

from lab.dirac import Lab
from lab.openstack.real import RealHost


def nothing_is_left(root: Path) -> bool:
    lab = Lab(root, port_offset=PORT_OFFSET)
    disks = [path for path in root.glob("qemu/*/*") if path.is_dir()]
    return not lab.processes.alive() and not lab.virtual_machines() and not disks


def wait_for_the_end_of(demo: subprocess.Popen, root: Path, seconds: float) -> dict[Path, str]:
    """The consoles of all virtual machines, as they were last seen: they go with their machines."""
    consoles: dict[Path, str] = {}
    end = time.monotonic() + seconds
    while demo.poll() is None:
        assert time.monotonic() < end, _logs(root)
        for path in root.glob("qemu/*/*/console.log"):
            with suppress(FileNotFoundError):
                consoles[path] = path.read_text(errors="replace")
        time.sleep(0.5)
    return consoles


def test_three_jobs_of_three_vos_are_done_on_real_vms_and_nothing_is_left(root, tmp_path):
    progress, timeline = tmp_path / "progress", tmp_path / "timeline"
    with open(progress, "w") as told, open(timeline, "w") as out:
        demo = start(root, "--json", stdout=out, stderr=told)
        consoles = wait_for_the_end_of(demo, root, 1500)
    assert demo.returncode == 0, progress.read_text() + _logs(root)
    record = json.loads(timeline.read_text())
    assert (record["ok"], record["problems"]) == (True, [])
    assert {job["vo"]: job["status"] for job in record["jobs"]} == dict.fromkeys(
        ("belle", "t2k.org", "hyperk.org"), "Done"
    )
    for job in record["jobs"]:
        assert f"hello from a job of {job['vo']}" in job["output"]
        assert "user dirac" in job["output"]  # the pilot is nobody special in its VM
        assert list(job["seconds"]) == [
            "submitted_to_create",
            "create_to_first_word",
            "create_to_matched",
            "create_to_running",
            "create_to_done",
        ]
    assert {vm["site"] for vm in record["vms"]} == {"CLOUD.GRIF.fr", "VCYCLE.Napoli.it"}
    ran = {vm["vm_id"]: vm for vm in record["vms"]}
    for job in record["jobs"]:
        vm = ran[job["vm"]]
        assert (vm["state"], vm["outcome"], vm["said_code"], vm["vo"]) == ("Ended", "Worked", 200, job["vo"])
        moments = [datetime.fromisoformat(step["at"]) for step in vm["history"]]
        assert moments == sorted(moments)
        assert [step["target"] for step in vm["history"]][0] == "Planned"
    assert nothing_is_left(root)
    logs = {path: path.read_text(errors="replace") for path in root.glob("log/*.log")}
    assert {"CloudDirector.log", "services.log"} <= {path.name for path in logs}
    assert len(consoles) >= 3
    for place, text in {**logs, **consoles, timeline: timeline.read_text(), progress: progress.read_text()}.items():
        assert "PRIVATE KEY" not in text, place


def test_jobs_are_done_on_vms_that_nova_boots_and_nothing_is_left(root, tmp_path):
    progress, timeline = tmp_path / "progress", tmp_path / "timeline"
    with open(progress, "w") as told, open(timeline, "w") as out:
        options = ("--cloud", "openstack", "--vo", "belle", "--vo", "t2k.org", "--json")
        demo = start(root, *options, stdout=out, stderr=told)
        wait_for_the_end_of(demo, root, 1500)
    assert demo.returncode == 0, progress.read_text() + _logs(root)
    record = json.loads(timeline.read_text())
    assert (record["ok"], record["problems"]) == (True, [])
    assert {job["vo"]: job["status"] for job in record["jobs"]} == dict.fromkeys(("belle", "t2k.org"), "Done")
    assert all(f"hello from a job of {job['vo']}" in job["output"] for job in record["jobs"])
    ran = {vm["vm_id"]: vm for vm in record["vms"]}
    for job in record["jobs"]:
        vm = ran[job["vm"]]
        # said on the console, which the director reads through Nova
        assert (vm["state"], vm["outcome"], vm["said_code"], vm["vo"]) == ("Ended", "Worked", 200, job["vo"])
    openstack = openstack_of(root)
    assert nothing_is_left(root) and not openstack.processes.alive() and not openstack.virtual_machines()
    assert not Path("/sys/class/net", RealHost(openstack.root).bridge).exists()
    entry = yaml.safe_load((openstack.root / "clouds.yaml").read_text())["clouds"]["ires"]
    secret = entry["auth"]["application_credential_secret"]
    for place in (*root.glob("log/*.log"), root / "etc/Lab.cfg", timeline, progress):
        assert secret not in place.read_text(errors="replace"), place


def wait_for_a_virtual_machine(root: Path, demos: list[subprocess.Popen], progress: Path) -> None:
    """One of the demos has started it."""
    end = time.monotonic() + 300
    while not list(root.glob("qemu/*/*/console.log")):
        assert time.monotonic() < end and any(demo.poll() is None for demo in demos), progress.read_text()
        time.sleep(0.5)


def test_an_interrupted_demo_takes_everything_down_even_when_interrupted_again(root, tmp_path):
    progress = tmp_path / "progress"
    with open(progress, "w") as told:
        demo = start(root, "--vo", "belle", stdout=told, stderr=subprocess.STDOUT)
    wait_for_a_virtual_machine(root, [demo], progress)
    demo.send_signal(signal.SIGINT)
    while "taking everything down" not in progress.read_text():
        assert demo.poll() is None, progress.read_text()
        time.sleep(0.01)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=120) == 130, progress.read_text()
    assert nothing_is_left(root)


def test_of_two_demos_at_once_one_is_refused_and_what_a_kill_leaves_of_the_other_is_taken_down(root, tmp_path):
    progress = tmp_path / "progress"
    with open(progress, "a") as told:
        demos = [start(root, "--vo", "belle", stdout=told, stderr=subprocess.STDOUT) for _ in range(2)]
    try:
        wait_for_a_virtual_machine(root, demos, progress)
        assert sorted(str(demo.poll()) for demo in demos) == ["1", "None"], progress.read_text()
        assert "./run down" in progress.read_text()
    finally:
        for demo in demos:
            demo.kill()
            demo.wait()
    assert not nothing_is_left(root)
    down = subprocess.run([sys.executable, "-m", "lab.dirac", "down", "--root", root], cwd=CLONE, capture_output=True)
    assert (down.returncode, down.stderr) == (0, b"")
    assert nothing_is_left(root)


def test_a_second_demo_leaves_a_running_lab_alone(root):
    lab = Lab(root, port_offset=PORT_OFFSET)
    lab.up()
    before = [process.pid for process in lab.processes.alive()]
    demo = start(root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "./run down" in said
    assert [process.pid for process in lab.processes.alive()] == before


def _logs(root: Path) -> str:
    texts = [
        f"\n== {log.name}\n{log.read_text(errors='replace')[-6000:]}" for log in root.glob("log/CloudDirector.log")
    ]
    texts += [f"\n== {log}\n{log.read_text(errors='replace')[-3000:]}" for log in root.glob("qemu/*/*/console.log")]
    return "".join(texts)
