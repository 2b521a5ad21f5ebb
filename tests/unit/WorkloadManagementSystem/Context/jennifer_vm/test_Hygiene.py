"""No copy of a secret is left, and no way to one."""

import stat

import pytest
from guest_directory import NORMAL_END, PROXY, wait_for


def test_no_copy_of_the_credential_is_left(vm):
    vm.live()
    left = [path for path in vm.root.rglob("*") if path.is_file() and "hunter2" in path.read_text(errors="replace")]
    assert left == []
    assert not vm.proxy.exists()
    assert not any(path.exists() for path in vm.copies)


def test_root_has_no_second_copy_while_the_pilot_runs(vm, server):
    # Who may not look into a directory is told that nothing is there.
    server.publish("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    process = vm.start()
    wait_for(process, "pilot-start")
    assert [path for path in (vm.proxy, *vm.copies) if path.exists()] == []
    process.terminate()
    process.communicate(timeout=60)


def test_the_pilot_cannot_read_the_drive_that_the_proxy_came_with(vm):
    for sort, name in (("block", "sr0"), ("block", "cciss!c0d0"), ("scsi_generic", "sg0"), ("block", "gone")):
        vm.file(f"sys/class/{sort}/{name}", "")
    drives = [vm.file(f"dev/{name}", PROXY, 0o664) for name in ("sr0", "cciss/c0d0", "sg0")]
    other = vm.file("dev/null", "", 0o666)
    vm.live()
    assert vm.said.code == 200
    assert [stat.S_IMODE(path.stat().st_mode) for path in (*drives, other)] == [0o600, 0o600, 0o600, 0o666]


@pytest.mark.parametrize("make", ["os.symlink({other!r}, proxy)", "os.mkfifo(proxy)", "os.mkdir(proxy)"])
def test_what_a_payload_puts_in_the_place_of_its_proxy_leads_root_nowhere(vm, server, make):
    other = vm.file("etc/precious", "precious")
    make = make.format(other=str(other))
    server.publish(f"import os\nproxy = os.environ['X509_USER_PROXY']\nos.unlink(proxy)\n{make}\n" + NORMAL_END)
    vm.live()
    assert vm.said.code == 200
    assert other.read_text() == "precious"


def test_a_credential_of_an_unknown_kind_is_told(vm):
    vm.settings["credential"] = {"kind": "ticket"}
    vm.live()
    assert vm.said.reason == "unknown kind of credential"
