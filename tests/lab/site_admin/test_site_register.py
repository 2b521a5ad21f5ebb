"""register, as a site admin types it: a real DIRAC, a real OpenStack."""

import json
import os
import pty
import re
import select
import signal
import time
from functools import partial

import pytest
from site_admin_world import (
    ACTIVE,
    CE,
    COMMAND,
    FLAVOR,
    REGISTER,
    SITE,
    ZONE,
    forget_status,
    served,
    status,
    version,
)

from lab.dirac.answers import ask
from lab.openstack.cloud import IMAGE, NETWORK


def test_register_writes_a_site_that_the_director_can_use(dirac, command):
    done = command(*REGISTER)
    assert done.returncode == 0, done.stderr
    assert "+            Cloud = test-cloud" in done.stdout
    assert served(f"{CE}/VO") == "belle, t2k.org"
    assert served(f"{CE}/Queues/vm-1core/Image") == f"name:{IMAGE}"
    assert status() == ACTIVE

    from DIRAC import gConfig

    from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites

    gConfig.forceRefresh(fromMaster=True)
    sites = read_cloud_sites()
    assert sites.problems == ()
    (endpoint,) = [one for one in sites.endpoints if one.site == SITE]
    assert endpoint.vm_types[0].networks == (f"name:{NETWORK}",)


def test_the_same_again_changes_nothing_and_says_so(dirac, command):
    command(*REGISTER)
    before = version()
    again = command(*REGISTER)
    assert again.returncode == 0, again.stderr
    assert "nothing to change" in again.stdout and "is Active already" in again.stdout
    assert version() == before


def test_a_dry_run_shows_the_change_and_writes_nothing(dirac, command):
    before = version()
    shown = command(*REGISTER[:-1], "--dry-run", "--json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert (told["written"], told["changed"][f"{CE}/Cloud"]) == (False, "test-cloud")
    assert told["resolved"]["image"]
    assert version() == before
    assert status() == {"Site": "", "ComputingElement": ""}


def test_another_value_changes_that_one_and_another_queue_is_added(dirac, command):
    command(*REGISTER)
    more = json.loads(command("register", SITE, "--max-vms", "5", "--yes", "--json").stdout)
    assert more["changed"] == {f"{CE}/MaxVMs": "5"}
    queue = command("register", SITE, "--queue", "small", "--flavor", "name:m1.nano", "--yes", "--json")
    assert json.loads(queue.stdout)["changed"] == {
        f"{CE}/Queues/small/Image": f"name:{IMAGE}",
        f"{CE}/Queues/small/Flavor": "name:m1.nano",
        f"{CE}/Queues/small/maxCPUTime": "1440",
    }
    assert served(f"{CE}/Queues/vm-1core/Flavor") == f"name:{FLAVOR}"


def changed(command, *words: str) -> dict[str, str]:
    """What a registration wrote, "" for what it removed."""
    done = command("register", SITE, *words, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["changed"]


def test_of_several_vm_types_none_is_changed_unless_it_is_said_which(dirac, command):
    command(*REGISTER)
    assert changed(command, "--flavor", "name:m1.nano") == {f"{CE}/Queues/vm-1core/Flavor": "name:m1.nano"}
    assert changed(command, "--max-vms", "5") == {f"{CE}/MaxVMs": "5"}
    assert changed(command, "--max-vms", "") == {f"{CE}/MaxVMs": ""}
    assert set(changed(command, "--queue", "el9-1core", "--flavor", f"name:{FLAVOR}")) > {
        f"{CE}/Queues/el9-1core/Image"
    }
    before = version()
    for words in (("--image", f"name:{IMAGE}"), ("--flavor", "name:m1.huge"), ("--max-cpu-time", "60")):
        done = command("register", SITE, *words, "--yes")
        assert (done.returncode, "of vm-1core, el9-1core" in done.stderr) == (2, True), done.stderr
    assert version() == before
    assert changed(command, "--max-vms", "5") == {f"{CE}/MaxVMs": "5"}
    assert changed(command, "--queue", "el9-1core", "--max-cpu-time", "60") == {
        f"{CE}/Queues/el9-1core/maxCPUTime": "60"
    }


def test_what_a_new_vm_type_needs_beside_others_is_its_own(dirac, command):
    command(*REGISTER)
    added = changed(command, "--queue", "more", "--image", f"name:{IMAGE}", "--zone", ZONE)
    assert added[f"{CE}/Queues/more/Zones"] == ZONE
    assert all(path.startswith(f"{CE}/Queues/more/") for path in added)
    done = command("register", SITE, "--zone", "internal", "--yes")
    assert (done.returncode, "of vm-1core, more" in done.stderr) == (2, True), done.stderr


def test_values_that_vm_types_inherit_or_have_of_their_own_count_and_stay_where_they_are(dirac, command, change):
    command(*REGISTER)
    queue = f"{CE}/Queues/vm-1core"
    ends = {f"{queue}/Image": None, f"{queue}/Flavor": None, f"{CE}/Networks": None, f"{CE}/VO": None}
    change({f"{CE}/Image": f"name:{IMAGE}", f"{CE}/Flavor": f"name:{FLAVOR}", f"{queue}/Networks": f"name:{NETWORK}"})
    change(ends)
    assert changed(command, "--max-vms", "5", "--network", f"name:{NETWORK}") == {f"{CE}/MaxVMs": "5"}
    assert changed(command, "--flavor", "name:m1.nano") == {f"{CE}/Flavor": "name:m1.nano"}
    added = changed(command, "--queue", "more", "--network", f"name:{NETWORK}")
    assert set(added) == {f"{CE}/Queues/more/Networks", f"{CE}/Queues/more/maxCPUTime"}


def test_an_empty_value_removes_an_option(dirac, command):
    assert f"{CE}/Zones" in changed(command, *REGISTER[2:-1], "--zone", ZONE, "--cvmfs-proxy", "http://squid:3128")
    removed = changed(command, "--zone", "", "--cvmfs-proxy", "", "--key-pair", "")
    assert removed == {f"{CE}/CVMFSProxy": "", f"{CE}/Zones": ""}
    assert (served(f"{CE}/Zones"), served(f"{CE}/CVMFSProxy")) == (None, None)
    done = command("register", SITE, "--vo", "", "--yes")
    assert (done.returncode, "--vo: expected a value" in done.stderr) == (2, True)


def test_what_check_advises_for_a_status_changes_the_status_alone(dirac, command):
    command(*REGISTER)
    changed(command, "--queue", "more", "--flavor", "name:m1.nano")
    before = version()
    forget_status()
    told = json.loads(command("check", SITE, "--json").stdout)["findings"]
    (advice,) = [one["advice"] for one in told if one["aspect"] == "resource status"]
    done = command(*advice.split()[1:])
    assert done.returncode == 0, done.stderr
    assert version() == before
    assert status() == ACTIVE


def test_a_change_that_is_written_but_not_read_again_is_not_denied(dirac, change, monkeypatch):
    from DIRAC import S_ERROR
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    from JenniferDIRAC.ConfigurationSystem.Registration import Registration
    from JenniferDIRAC.ConfigurationSystem.Registration import change as planned
    from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import RegistrarError, SiteRegistrar

    registrar = SiteRegistrar()
    wanted = Registration(SITE, "test-cloud", "q", {"CEType": "JenniferOpenStack"}, {"Image": "i", "Flavor": "f"})
    with monkeypatch.context() as broken:
        broken.setattr(CSAPI, "downloadCSData", lambda self: S_ERROR("the connection broke"))
        with pytest.raises(RegistrarError, match="whether the CS was changed is not known: the connection broke"):
            registrar.commit(planned(registrar.current, wanted))
    assert served(f"{CE}/Queues/q/Image") == "i"


def test_what_was_interrupted_is_finished_by_the_next_run(dirac, command):
    command(*REGISTER)
    forget_status()
    assert command(*REGISTER).returncode == 0
    assert status() == ACTIVE


def test_a_ban_is_left_alone_unless_told_otherwise(dirac, command):
    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient

    command(*REGISTER)
    ban = {"status": "Banned", "reason": "flood in the machine room", "tokenOwner": "adm"}
    ask(partial(ResourceStatusClient().modifyStatusElement, "Site", "Status", name=SITE, statusType="all", **ban))
    left = command(*REGISTER)
    assert left.returncode == 0, left.stderr
    assert "is Banned (flood in the machine room)" in left.stdout
    assert status()["Site"] == "Banned"
    command(*REGISTER, "--allow")
    assert status() == ACTIVE


def test_without_a_terminal_nothing_is_asked_and_everything_missing_is_named(dirac, command):
    before = version()
    done = command("register", SITE, "--cloud", "test-cloud")
    assert done.returncode == 2
    for word in ("--vo:", f"--image 'name:{IMAGE}'", f"--flavor 'name:{FLAVOR}'", "--yes"):
        assert word in done.stderr
    given = command(*REGISTER[:-1], "--image", f"name:{IMAGE}", "--flavor", f"name:{FLAVOR}")
    assert given.returncode == 1
    assert "Nothing was written" in given.stderr
    assert version() == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("LCG.CERN.ch",), 1, "CLOUD or VCYCLE"),
        (("CLOUD.Test",), 1, "CLOUD.GRIF.fr"),
        ((SITE, "--vo", "bele"), 2, "did you mean belle"),
        ((SITE, "--vo", "belle", "--ce", "grif-qemu"), 1, "the same name at CLOUD.GRIF.fr"),
        ((SITE, "--vo", "belle", "--image", "name:el42"), 1, IMAGE),
        ((SITE, "--vo", "belle", "--flavor", "cores>=9000"), 1, "m1.huge"),
        ((SITE, "--vo", "belle", "--network", "name:nowhere"), 1, NETWORK),
        ((SITE, "--vo", "belle", "--zone", "mars"), 1, "mars"),
        ((SITE, "--vo", "belle", "--cvmfs-proxy", "squid.grif.fr"), 2, "expected http://host:port or DIRECT"),
        ((SITE, "--vo", "belle", "--key-pair", "eyJhbGciOiJIUzI1NiJ9.abcdefgh"), 1, "no secret in the CS"),
    ],
)
def test_what_would_not_work_is_refused_before_anything_is_written(dirac, command, words, code, said):
    before = version()
    done = command("register", *words, "--cloud", "test-cloud", "--yes")
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert version() == before
    assert status() == {"Site": "", "ComputingElement": ""}


def test_a_cloud_out_of_reach_can_be_registered_unseen_only(dirac, command, clouds, cloud, project):
    entry = cloud.password_entry(project)
    clouds(test_cloud={**entry, "auth": {**entry["auth"], "auth_url": "http://127.0.0.1:9/v3"}})
    refused = command(*REGISTER)
    assert refused.returncode == 1 and "--offline" in refused.stderr
    done = command(*REGISTER, "--offline", "--image", "name:el9", "--flavor", "cores>=1")
    assert done.returncode == 0, done.stderr
    assert served(f"{CE}/Queues/vm-1core/Image") == "name:el9"


def test_who_may_not_change_the_cs_is_told_so_and_can_see_the_change(dirac, command):
    alice = {"user": "alice", "group": "belle_user"}
    refused = command(*REGISTER, **alice)
    assert refused.returncode == 1
    assert "belle_user lacks CSAdministrator and SiteManager" in refused.stderr
    assert f"Image = name:{IMAGE}" in command(*REGISTER, "--dry-run", **alice).stdout


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(dirac, change):
    from JenniferDIRAC.ConfigurationSystem.Registration import Registration
    from JenniferDIRAC.ConfigurationSystem.Registration import change as planned
    from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import RegistrarError, SiteRegistrar

    registrar = SiteRegistrar()
    wanted = Registration(SITE, "test-cloud", "q", {"CEType": "JenniferOpenStack"}, {"Image": "i", "Flavor": "f"})
    change({"/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/MaxVMs": "3"})
    with pytest.raises(RegistrarError, match="somebody else changed the CS"):
        registrar.commit(planned(registrar.current, wanted))
    assert served("/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif-qemu/MaxVMs") == "3"
    assert served(f"{CE}/CEType") is None


def test_on_a_terminal_every_value_is_asked_for_and_suggested(dirac, environment):
    answers = ["", "", "1,2", "", "", "", "", "5", "", "", "", "y"]
    code, seen = converse([COMMAND, "register", SITE], environment(), answers)
    assert code == 0, seen
    for option in ("--cloud", "--ce", "--vo", "--image", "--flavor", "--network", "--queue", "--max-vms"):
        assert f"[{option}]" in seen
    assert "Written to the CS." in seen
    assert (served(f"{CE}/VO"), served(f"{CE}/MaxVMs")) == ("belle, t2k.org", "5")
    assert served(f"{CE}/Queues/vm-1core/Flavor") == f"name:{FLAVOR}"


def test_on_a_terminal_without_the_cloud_every_name_is_taken_as_it_is_told(dirac, environment):
    answers = ["", "", "1", "name:el9", "cores>=1", "name:inside", "", "7", "", "", "", "y"]
    code, seen = converse([COMMAND, "register", SITE, "--offline"], environment(), answers)
    assert code == 0, seen
    assert (served(f"{CE}/Networks"), served(f"{CE}/MaxVMs")) == ("name:inside", "7")
    answers = ["", "", "", "", "", "none", "none", "", "", "", "y"]
    code, seen = converse([COMMAND, "register", SITE, "--offline"], environment(), answers)
    assert code == 0, seen
    assert (served(f"{CE}/Networks"), served(f"{CE}/MaxVMs")) == (None, None)


def test_whoever_does_not_confirm_changes_nothing(dirac, environment):
    before = version()
    code, seen = converse([COMMAND, "register", SITE], environment(), ["", "", "1", *[""] * 8, "n"])
    assert code == 1
    assert "Nothing was written" in seen
    assert version() == before


def converse(command: list, environment: dict[str, str], answers: list[str]) -> tuple[int, str]:
    """Give an answer to each prompt of a command on a terminal; its exit code and what was seen, without colours.

    All answers must be asked for, and nothing more.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], [str(word) for word in command], environment)
    seen, since, end = "", 0, time.monotonic() + 180
    while True:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail(f"it waits for something else; answers left: {answers}; it showed:\n{seen}")
        try:
            seen += os.read(terminal, 65536).decode()
        except OSError:  # the terminal closes with its command
            break
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
        if answers and plain[since:].endswith(": "):
            since = len(plain)
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    assert not answers, f"not asked for: {answers}; it showed:\n{seen}"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
