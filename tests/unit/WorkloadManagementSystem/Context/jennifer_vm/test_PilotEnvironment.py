"""What the pilot finds in its VM."""

import json
import os
import pwd
import stat

from guest_directory import PROXY, USER

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.PilotEnvironment import fill_empty_directory


def test_the_pilot_runs_as_its_user_with_its_arguments_and_environment(vm, server):
    server.publish(
        "import json, os, sys\n"
        "umask = os.umask(0)\n"
        "proxy = os.environ['X509_USER_PROXY']\n"
        "print(json.dumps([os.getuid(), sys.argv[1:], dict(os.environ), umask, open(proxy).read(), "
        "os.stat(proxy).st_mode & 0o777, os.stat(proxy).st_uid, os.listdir('.'), sys.stdin.read(), os.getpgrp() == "
        "os.getpid(), [os.listdir(os.environ[n]) for n in ('X509_VOMS_DIR', 'X509_VOMSES')]]))\n"
    )
    vm.live()
    uid, argv, environment, umask, proxy, mode, owner, files, stdin, leads, voms = json.loads(vm.log)
    account = pwd.getpwnam(USER)
    assert (uid, owner) == (account.pw_uid, account.pw_uid)
    assert argv == vm.settings["pilot_argv"]
    assert environment["PILOT_UUID"] == "jennifer://ours/1"
    assert (environment["USER"], environment["HOME"]) == (USER, account.pw_dir)
    assert (umask, mode) == (0o077, 0o600)
    assert proxy == PROXY
    assert {"dirac-pilot.py", "pilot.json", "pilot.tar"} <= set(files)
    assert stdin == ""
    assert leads
    assert all(voms)


def test_nothing_of_the_director_s_environment_reaches_the_pilot(vm, server):
    server.publish("import os\nprint(sorted(os.environ))\n")
    vm.live(environment={**os.environ, "LEAKED": "1"})
    assert "LEAKED" not in vm.log


def test_hosts_and_trust_anchors_are_installed(vm):
    vm.live()
    assert (vm.root / "etc/hosts").read_text() == "127.0.0.1 localhost\n10.0.2.2 dirac.here.org\n"
    for name, text in vm.settings["trust_anchors"].items():
        assert (vm.root / "etc/grid-security/certificates" / name).read_text() == text


def test_a_user_that_cannot_be_made_is_told(vm):
    vm.settings["pilot_user"] = "no-such-user"
    vm.live(environment={"PATH": "/nonexistent"})
    assert vm.said.code == 500
    assert "cannot make the user no-such-user" in vm.said.reason


def test_a_trust_anchor_is_written_nowhere_else(vm):
    vm.settings["trust_anchors"] = {"../../evil": "x"}
    vm.live()
    assert vm.said.code == 500
    assert not (vm.root / "etc/evil").exists()


def test_the_work_directory_is_the_pilots_alone(vm):
    vm.live()
    assert stat.S_IMODE(vm.pilot_directory.stat().st_mode) == 0o700
    assert vm.pilot_directory.stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_a_file_of_vomses_is_as_good_as_a_directory(tmp_path):
    (tmp_path / "vomses").write_text("belle")
    fill_empty_directory(str(tmp_path / "vomses"))
    assert (tmp_path / "vomses").read_text() == "belle"
