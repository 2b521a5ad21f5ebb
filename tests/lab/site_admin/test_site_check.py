"""check, as a site admin types it; --boot on hosts that boot nothing (a real boot is in the e2e tests)."""

import json
import signal
import subprocess
import time

import pytest
from site_admin_world import (
    CE,
    COMMAND,
    REGISTER,
    SITE,
    forget_status,
)

from lab.openstack.cloud import IMAGE


def findings(done) -> dict[tuple[str, str], tuple[str, str]]:
    """Verdict and detail by place and aspect."""
    told = json.loads(done.stdout)["findings"]
    return {(one["where"], one["aspect"]): (one["verdict"], one["detail"]) for one in told}


def test_a_registered_site_is_ok_in_every_line(dirac, command):
    command(*REGISTER)
    done = command("check", SITE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and "warning" not in done.stdout
    found = findings(command("check", SITE, "--json"))
    where = f"{SITE}/test-cloud"
    for aspect in ("CS section", "resource status", "credential", "project", "servers"):
        assert found[where, aspect][0] == "ok"
    for aspect in ("image", "flavor", "network", "quota", "template", "user-data"):
        assert found[f"{where}/vm-1core", aspect][0] == "ok"
    for aspect in ("pilot credential", "pilot server"):
        assert found["VO belle", aspect][0] == "ok"
    assert found["DIRAC", "gateway"][0] == "ok"


def test_a_gateway_that_does_not_answer_fails_and_none_is_warned_of(dirac, command, change):
    command(*REGISTER)
    section = "/Systems/WorkloadManagement/Agents/CloudDirector"
    change({f"{section}/Gateway": "https://127.0.0.1:9"})
    verdict, detail = findings(command("check", SITE, "--json"))["DIRAC", "gateway"]
    assert (verdict, "https://127.0.0.1:9 does not answer" in detail) == ("FAILED", True)
    change({f"{section}/Gateway": None})
    verdict, detail = findings(command("check", SITE, "--json"))["DIRAC", "gateway"]
    assert (verdict, "proxy stands in its user-data" in detail) == ("warning", True)


def test_a_broken_cloud_fails_alone(dirac, command, clouds, cloud, project):
    command(*REGISTER)
    entry = cloud.password_entry(project)
    clouds(test_cloud={**entry, "auth": {**entry["auth"], "password": "not-the-password"}})
    done = command("check", "--json")
    assert done.returncode == 1
    assert "not-the-password" not in done.stdout + done.stderr
    found = findings(done)
    assert found[f"{SITE}/test-cloud", "credential"][0] == "FAILED"
    assert found[f"{SITE}/test-cloud/vm-1core", "template"][0] == "ok"
    assert found["CLOUD.GRIF.fr/grif-qemu", "credential"][0] == "ok"
    assert found["VCYCLE.Napoli.it/napoli-qemu/el-1core", "user-data"][0] == "ok"


def test_what_is_wrong_in_the_cs_is_told_with_its_path_and_the_rest_is_checked(dirac, command, change):
    command(*REGISTER)
    change(
        {
            f"{CE}/Queues/vm-1core/Imagge": "x",
            "/Operations/t2k.org/Pilot/GenericPilotUser": "nobody",
            "/Operations/belle/Pilot/pilotFileServer": "127.0.0.1:9",
            "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/Queues/el-1core/Template": "no-such-template",
        }
    )
    done = command("check", "--json")
    assert done.returncode == 1
    found = findings(done)
    assert "did you mean Image?" in found[f"{SITE}/test-cloud", "CS section"][1]
    assert found["VO t2k.org", "pilot credential"][0] == "FAILED"
    assert found["VO belle", "pilot server"][0] == "FAILED"
    assert found["VO hyperk.org", "pilot server"][0] == "ok"
    assert found["CLOUD.GRIF.fr/grif-qemu/el-1core", "template"][0] == "FAILED"
    assert found["CLOUD.GRIF.fr/grif-qemu/el-1core", "user-data"][0] == "not tried"


def test_a_vo_that_dirac_does_not_know_fails_and_the_likely_one_is_named(dirac, command, change):
    command(*REGISTER)
    for vos, unknown in (("bele", {"bele"}), ("belle, bele, nonesuch", {"bele", "nonesuch"})):
        change({f"{CE}/VO": vos})
        done = command("check", SITE, "--json")
        assert done.returncode == 1
        told = [one["detail"] for one in json.loads(done.stdout)["findings"] if "no VO of this DIRAC" in one["detail"]]
        assert {one.split(":")[0] for one in told} == {f"VO = {vo}" for vo in unknown}
        assert "did you mean belle" in told[0]


def test_a_full_project_is_a_warning_and_no_failure(dirac, command, cloud, project):
    command(*REGISTER)
    cloud.set_quota(project, instances=1)
    connection = cloud.connect(project)
    image, flavor = connection.image.find_image(IMAGE), connection.compute.find_flavor("m1.nano")
    connection.compute.create_server(name="other", image_id=image.id, flavor_id=flavor.id, networks="none")
    done = command("check", SITE, "--json")
    assert done.returncode == 0, done.stdout
    assert findings(done)[f"{SITE}/test-cloud/vm-1core", "quota"] == (
        "warning",
        "1 of 1 servers are in use, one VM needs 1",
    )


def test_a_site_that_the_resource_status_does_not_know_fails_with_what_to_do(dirac, command):
    command(*REGISTER)
    forget_status()
    done = command("check", SITE)
    assert done.returncode == 1
    assert "not known" in done.stdout and f"dirac-admin-cloud register {SITE}" in done.stdout


def test_whoever_may_not_ask_the_proxy_manager_is_warned(dirac, command):
    command(*REGISTER)
    found = findings(command("check", SITE, "--json", user="alice", group="belle_user"))
    assert found["VO belle", "pilot credential"][0] == "warning"


def test_a_name_that_is_not_registered_is_answered_with_those_that_are(dirac, command):
    done = command("check", "CLOUD.GRIFF.fr")
    assert done.returncode == 1
    assert "did you mean CLOUD.GRIF.fr" in done.stderr
    done = command("check", "CLOUD.GRIF.fr", "--vo", "bele")
    assert done.returncode == 1
    assert "VO bele: no VM type of CLOUD.GRIF.fr serves it" in done.stderr


def test_a_boot_of_nothing_is_a_failure_and_what_belongs_to_a_boot_needs_one(dirac, command, change):
    command(*REGISTER)
    done = command("check", SITE, "--boot", "--vm-type", "vm-1cor")
    assert done.returncode == 1
    assert "VM type vm-1cor" in done.stderr and "did you mean vm-1core" in done.stderr
    for words in (("--vm-type", "vm-1core"), ("--timeout", "60")):
        assert command("check", SITE, *words).returncode == 2
    change({f"{CE}/Queues/vm-1core/Image": "name:nonesuch"})
    done = command("check", SITE, "--boot", "--json")
    assert done.returncode == 1
    assert findings(done)[SITE, "boot"] == ("FAILED", "no VM was booted")


def test_without_a_proxy_the_exit_code_says_so(dirac, environment, tmp_path):
    for verb in ("check", "register"):
        bare = environment() | {"X509_USER_PROXY": str(tmp_path / "none")}
        done = subprocess.run([COMMAND, verb, SITE], env=bare, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3, done.stdout
        assert "dirac-proxy-info" in done.stderr and "Traceback" not in done.stderr


def test_a_vm_that_says_nothing_is_told_with_its_console_and_deleted(dirac, command, cloud, project):
    command(*REGISTER)
    done = command("check", SITE, "--boot", "--timeout", "30", "--json")
    assert done.returncode == 1
    (trial,) = json.loads(done.stdout)["trials"]
    assert "no first word" in trial["problem"]
    assert {"requested", "ACTIVE", "deleted and gone"} == set(trial["seconds"])
    assert "FAKE CONSOLE OUTPUT" in trial["console"]
    assert not trial["left_behind"]
    assert trial["server"].startswith("jennifer-00000000-")
    assert cloud.servers(project) == []


def test_a_boot_that_the_cloud_refuses_says_why(dirac, command, cloud, project):
    command(*REGISTER)
    cloud.set_quota(project, cores=0)
    done = command("check", SITE, "--boot", "--json")
    assert done.returncode == 1
    assert findings(done)[f"{SITE}/test-cloud/vm-1core", "boot"][0] == "not tried"
    cloud.set_quota(project, cores=-1)
    command("register", SITE, "--flavor", "name:m1.huge", "--queue", "vm-1core", "--yes")
    done = command("check", SITE, "--boot", "--json")
    assert "No valid host" in findings(done)[f"{SITE}/test-cloud/vm-1core", "boot"][1]
    assert cloud.servers(project) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_boot_leaves_no_server(dirac, command, environment, cloud, project, number):
    command(*REGISTER)
    words = [COMMAND, "check", SITE, "--boot", "--timeout", "600"]
    check = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 120
    while not cloud.servers(project):
        assert check.poll() is None and time.monotonic() < end
    check.send_signal(number)
    said, _ = check.communicate(timeout=120)
    assert check.returncode == 130, said
    assert "Interrupted: deleting" in said and "Traceback" not in said
    # Nova itself may need a moment more for one whose making it had begun when it was deleted.
    while left := cloud.servers(project):
        assert time.monotonic() < end, left
