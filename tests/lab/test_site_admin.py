"""From a clouds.yaml to a registered and checked site, as a site admin types it: a real DIRAC, a real OpenStack."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import yaml

from lab.dirac.answers import ask
from lab.openstack.cloud import IMAGE, NETWORK

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
SITE = "CLOUD.Test.fr"
SECTION = f"/Resources/Sites/CLOUD/{SITE}"
CE = f"{SECTION}/CEs/test-cloud"
FLAVOR = "m1.small"
ZONE = "fake"
ACTIVE = {"Site": "Active", "ComputingElement": "Active"}


@pytest.fixture
def clouds(cloud, project, tmp_path):
    """The clouds.yaml of a site admin with one project; ``clouds(name=entry, …)`` adds others."""
    path = tmp_path / "clouds.yaml"
    entries = {"test-cloud": cloud.password_entry(project)}

    def write(**more):
        entries.update({name.replace("_", "-"): entry for name, entry in more.items()})
        path.write_text(yaml.safe_dump({"clouds": entries}))
        path.chmod(0o600)

    write()
    write.path = path
    return write


@pytest.fixture
def anywhere(clouds, tmp_path):
    """The command on a host that knows no DIRAC server and has no proxy."""

    def run(*words: str):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DIRAC_NO_CFG": "1"}
        environment |= {"DIRAC_ROOT_PATH": str(tmp_path), "OS_CLIENT_CONFIG_FILE": str(clouds.path)}
        return subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def environment(lab, clouds):
    """Of the command on a host of this DIRAC, with the proxy of an administrator."""

    def make(user: str = "adm", group: str = "dirac_admin") -> dict[str, str]:
        return lab.environment(X509_USER_PROXY=str(lab.proxy(user, group)), OS_CLIENT_CONFIG_FILE=str(clouds.path))

    return make


@pytest.fixture
def command(environment):
    def run(*words: str, **who: str):
        options = {"capture_output": True, "text": True, "timeout": 180, "stdin": subprocess.DEVNULL}
        return subprocess.run([COMMAND, *words], env=environment(**who), **options)

    return run


@pytest.fixture
def change(lab):
    """``change({path: value})`` changes the CS, None removes an option or a section; all is put back afterwards."""
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    api = CSAPI()
    before = ask(api.getCurrentCFG).clone()
    sites = set(before["Resources"]["Sites"]["CLOUD"].listSections())

    def set_options(options):
        api = CSAPI()
        for path, value in options.items():
            if value is None:
                (api.delOption if api.getCurrentCFG()["Value"].isOption(path) else api.delSection)(path)
            else:
                ask(api.setOption, path, value)
        ask(api.commit)
        changed.update(options)

    changed: dict[str, str | None] = {}
    yield set_options
    now = ask(CSAPI().getCurrentCFG)
    added = set(now["Resources"]["Sites"]["CLOUD"].listSections()) - sites
    old = {path: before.getOption(path.strip("/")) for path in changed if path.split("/")[4] not in added}
    set_options(old | {f"/Resources/Sites/CLOUD/{site}": None for site in added})


@pytest.fixture
def dirac(lab, change):
    """The lab without the site that tests register."""
    forget_status()
    yield lab
    forget_status()


def forget_status():
    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient

    for table, name in (("Site", SITE), ("Resource", "test-cloud"), ("Resource", "second")):
        ask(partial(ResourceStatusClient().deleteStatusElement, table, "Status", name=name))


def status() -> dict[str, str]:
    """Of site and CE, as the ResourceStatus service knows it."""
    from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import element_of

    return {kind: element_of(kind, name).status for kind, name in (("Site", SITE), ("ComputingElement", "test-cloud"))}


def served(path: str) -> str | None:
    """An option as the configuration service has it now."""
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI

    from JenniferDIRAC.ConfigurationSystem.Registration import value_of

    return value_of(ask(CSAPI().getCurrentCFG), path)


def version() -> str:
    return served("/DIRAC/Configuration/Version")


REGISTER = ("register", SITE, "--cloud", "test-cloud", "--vo", "belle", "--vo", "t2k.org", "--yes")


# discover


def test_discover_lists_the_entries_without_any_server(anywhere, clouds):
    shown = anywhere("discover")
    assert shown.returncode == 0, shown.stderr
    assert "test-cloud" in shown.stdout and f"{clouds.path}: used" in shown.stdout


def test_discover_shows_a_real_cloud_and_a_section_that_choosing_understands(anywhere, cloud, project):
    cloud.set_quota(project, instances=7)
    shown = anywhere("discover", "test-cloud", "--site", SITE, "--vo", "belle")
    assert shown.returncode == 0, shown.stderr
    for word in (project.name, FLAVOR, IMAGE, NETWORK, "10.77.0.0/16", "default"):
        assert word in shown.stdout
    assert project.password not in shown.stdout + shown.stderr
    told = json.loads(anywhere("discover", "test-cloud", "--json").stdout)
    assert told["account"]["project_id"] == project.id
    assert told["limits"]["max_instances"] == 7
    assert f"Image = name:{IMAGE}" in told["section"] and f"Flavor = name:{FLAVOR}" in told["section"]


def test_discover_raises_the_alarm_for_a_credential_that_ends_this_week(anywhere, clouds, cloud, project):
    connection = cloud.connect(project)
    soon = datetime.now(UTC) + timedelta(days=3)
    made = connection.identity.create_application_credential(
        connection.current_user_id, "soon", expires_at=soon.strftime("%Y-%m-%dT%H:%M:%S")
    )
    entry = cloud.password_entry(project)
    entry["auth"] = {
        "auth_url": cloud.auth_url,
        "application_credential_id": made.id,
        "application_credential_secret": made.secret,
    }
    clouds(ends_soon={**entry, "auth_type": "v3applicationcredential"})
    shown = anywhere("discover", "ends-soon")
    assert shown.returncode == 0, shown.stderr
    assert "ALARM" in shown.stderr and "replace it now" in shown.stderr
    assert made.secret not in shown.stdout + shown.stderr


def test_discover_says_what_is_wrong_with_an_entry(anywhere, clouds, cloud, project):
    entry = cloud.password_entry(project)
    wrong = {**entry, "auth": {**entry["auth"], "password": "not-the-password"}}
    away = {**entry, "auth": {**entry["auth"], "auth_url": "http://127.0.0.1:9/v3"}}
    clouds(wrong=wrong, away=away)
    for name, said in (("wrong", "401"), ("away", "127.0.0.1"), ("test-clout", "test-cloud")):
        shown = anywhere("discover", name)
        assert shown.returncode == 1, shown.stdout
        assert said in shown.stdout + shown.stderr
        assert "Traceback" not in shown.stderr and "not-the-password" not in shown.stdout + shown.stderr


def test_discover_fails_where_the_cloud_shows_nothing_to_choose_from(anywhere, clouds, cloud, project):
    entry = cloud.password_entry(project)
    clouds(elsewhere={**entry, "region_name": "Nowhere"})
    shown = anywhere("discover", "elsewhere", "--json")
    assert shown.returncode == 1, shown.stdout
    assert json.loads(shown.stdout)["section"] is None
    assert "Traceback" not in shown.stderr


# register


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


# check


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


# check --boot, on hosts that boot nothing: a real boot is in the e2e tests


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


def test_the_new_verbs_teach_themselves(anywhere):
    for verb in ("discover", "egi", "register", "check"):
        shown = anywhere(verb, "--help")
        assert shown.returncode == 0
        assert f"Example: dirac-admin-cloud {verb}" in shown.stdout
