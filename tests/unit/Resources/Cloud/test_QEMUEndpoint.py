"""The embedded cloud, with a real QEMU whose guests are a boot sector: they live and end within a second."""

import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from JenniferDIRAC.Resources.Cloud import QEMUAcceleration
from JenniferDIRAC.Resources.Cloud import QEMUEndpoint as module
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Flavor,
    Identity,
    Image,
    NoCapacity,
    QuotaExceeded,
    Rejected,
    ServerNotFound,
    ServerRequest,
    ServerStatus,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint

SECRET = b"#!/bin/sh\n# a secret of the pilot\n"
# A comma has a meaning in QEMU's options.
STATE = "my,state"
SMALL = Flavor("small", "small", 1, 64)


def boot_sector(text: bytes, then: bytes) -> bytes:
    """A guest of 512 bytes: prints ``text`` on the serial port, then does ``then``."""
    # xor ax,ax; mov ds,ax; mov si,0x7c15; mov dx,0x3f8; cld; lodsb; test al,al; jz +3; out dx,al; jmp to lodsb
    code = bytes.fromhex("31c0 8ed8 be0000 baf803 fc ac 84c0 7403 ee ebf8") + then
    code = code[:5] + (0x7C00 + len(code)).to_bytes(2, "little") + code[7:]
    return (code + text + b"\0").ljust(510, b"\0") + b"\x55\xaa"


# hlt; jmp to hlt
STAY = bytes.fromhex("f4 ebfd")
# ACPI's S5 at the port where the q35 machine has it: mov dx,0x604; mov ax,0x2000; out dx,ax
POWER_OFF = bytes.fromhex("ba0406 b80020 ef") + STAY


@pytest.fixture
def images(tmp_path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    for name, sector in {
        "stays": boot_sector(b"here I am\n", STAY),
        "ends": boot_sector(b"first\nl\xe9st\n", POWER_OFF),
    }.items():
        raw = tmp_path / f"{name}.raw"
        raw.write_bytes(sector.ljust(1024 * 1024, b"\0"))
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, directory / f"{name}.qcow2"], check=True)
    return directory


@pytest.fixture
def cloud(tmp_path, images):
    endpoint = QEMUEndpoint("here", tmp_path / STATE, images, acceleration="tcg", max_cores=4, max_ram_mib=256)
    yield endpoint
    for server in endpoint.list_servers():
        endpoint.delete_server(server.id)


@pytest.fixture(autouse=True)
def many_cores(monkeypatch):
    """The quota under test is the endpoint's own, on whatever machine this runs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def request_for(image: str = "stays", flavor: Flavor = SMALL, user_data: bytes = SECRET) -> ServerRequest:
    identity = Identity(uuid.uuid4().hex, uuid.uuid4().hex, "t2k.org", flavor.cores)
    return ServerRequest(identity=identity, image=Image(image, image), flavor=flavor, user_data=user_data)


def pid_of(server_id: str) -> int:
    (pid,) = module._processes()[server_id]
    return pid


def wait_for_the_end_of(server_id: str) -> None:
    for pid in module._processes()[server_id]:
        process = os.pidfd_open(pid)
        assert select.select([process], [], [], 30)[0], f"QEMU {pid} still runs"
        os.close(process)


def put_in_front(monkeypatch, tmp_path: Path, program: str, script: str) -> None:
    """A program of our own that is found before the real one."""
    path = tmp_path / "bin" / program
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_a_server_that_runs_is_listed_with_its_identity_and_size(cloud):
    request = request_for()
    made = cloud.create_server(request)
    (listed,) = cloud.list_servers()
    assert listed == made == cloud.find_server(request.identity.name)
    assert (listed.status, listed.cores, listed.ram_mib) == (ServerStatus.ACTIVE, 1, 64)
    assert listed.identity == request.identity
    assert abs(listed.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert cloud.find_server("jennifer") is None


def test_a_guest_that_switches_itself_off_is_stopped_and_its_console_stays(cloud):
    server = cloud.create_server(request_for("ends"))
    wait_for_the_end_of(server.id)
    assert cloud.find_server(server.name).status is ServerStatus.STOPPED
    assert cloud.console_log(server.id) == "first\nl\N{REPLACEMENT CHARACTER}st\n"
    assert cloud.console_log(server.id, max_bytes=3) == "st\n"


def test_a_server_killed_from_outside_is_stopped(cloud):
    server = cloud.create_server(request_for())
    process = os.pidfd_open(pid_of(server.id))
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert select.select([process], [], [], 10)[0]
    os.close(process)
    assert cloud.find_server(server.name).status is ServerStatus.STOPPED


def test_a_deleted_server_leaves_neither_process_nor_file_and_may_be_deleted_again(cloud, tmp_path):
    keeps, goes = cloud.create_server(request_for()), cloud.create_server(request_for())
    process = os.pidfd_open(pid_of(goes.id))
    cloud.delete_server(goes.id)
    assert select.select([process], [], [], 0)[0]
    os.close(process)
    cloud.delete_server(goes.id)
    cloud.delete_server(str(uuid.uuid4()))
    cloud.delete_server("../images")
    assert os.listdir(tmp_path / STATE) == [keeps.id]
    assert [(server.id, server.status) for server in cloud.list_servers()] == [(keeps.id, ServerStatus.ACTIVE)]
    with pytest.raises(ServerNotFound):
        cloud.console_log(goes.id)


def test_two_may_delete_one_server_while_a_third_lists(cloud, tmp_path):
    server = cloud.create_server(request_for())
    with ThreadPoolExecutor(3) as threads:
        deletes = [threads.submit(cloud.delete_server, server.id) for _ in range(2)]
        listing = threads.submit(lambda: [cloud.list_servers() for _ in range(20)])
    assert [delete.result() for delete in deletes] == [None, None]
    assert listing.exception() is None
    assert os.listdir(tmp_path / STATE) == []


def test_a_server_that_starts_during_a_listing_does_not_look_stopped(cloud, monkeypatch):
    scan = module._processes

    def scan_just_before_a_create():
        found = scan()
        monkeypatch.setattr(module, "_processes", scan)
        cloud.create_server(request_for())
        return found

    monkeypatch.setattr(module, "_processes", scan_just_before_a_create)
    assert ServerStatus.STOPPED not in [server.status for server in cloud.list_servers()]
    assert [server.status for server in cloud.list_servers()] == [ServerStatus.ACTIVE]


def test_deletion_spares_a_process_that_only_mentions_the_server(cloud, tmp_path):
    server = cloud.create_server(request_for())
    console = tmp_path / STATE / server.id / "console.log"
    with subprocess.Popen(["tail", "-f", "-s", "60", console], stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"here I am\n"
        cloud.delete_server(server.id)
        spared = reader.poll() is None
        reader.kill()
    assert spared


def create_in_a_process_that_is_killed(cloud: QEMUEndpoint, request: ServerRequest) -> None:
    """The director's end by kill -9 right after its create call, or within it when a program of ours does that."""
    text = f"""
import os, signal
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import *
from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint
from pathlib import Path
endpoint = QEMUEndpoint("here", Path({str(cloud._state)!r}), Path({str(cloud._images)!r}), acceleration="tcg")
identity = Identity({request.identity.installation!r}, {request.identity.vm!r}, "t2k.org", 1)
endpoint.create_server(ServerRequest(identity, Image("stays", "stays"), Flavor("small", "small", 1, 64), b"x"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_server_outlives_the_killed_director_and_is_found_by_its_name(cloud, tmp_path):
    request = request_for()
    create_in_a_process_that_is_killed(cloud, request)
    server = cloud.find_server(request.identity.name)
    assert (server.status, server.identity) == (ServerStatus.ACTIVE, request.identity)
    cloud.delete_server(server.id)
    assert os.listdir(tmp_path / STATE) == []


@pytest.mark.parametrize("program", ["qemu-img", "xorriso", "qemu-system-x86_64"])
def test_a_create_cut_short_is_found_by_its_name_and_deleted(cloud, tmp_path, monkeypatch, program):
    real = shutil.which(program)
    put_in_front(monkeypatch, tmp_path, program, f'[ "$1" = info ] && exec {real} "$@"; kill -9 $PPID')
    request = request_for()
    create_in_a_process_that_is_killed(cloud, request)
    (server,) = cloud.list_servers()
    assert (server.status, server.identity) == (ServerStatus.BUILDING, request.identity)
    later = datetime.now(UTC) + timedelta(minutes=2)
    (server,) = QEMUEndpoint("here", cloud._state, cloud._images, now=lambda: later).list_servers()
    assert server.status is ServerStatus.ERROR
    assert "interrupted" in server.fault
    cloud.delete_server(server.id)
    assert os.listdir(tmp_path / STATE) == []


def test_what_a_crash_left_half_deleted_is_swept_by_a_later_create(cloud, tmp_path):
    old, young = tmp_path / STATE / ".rubbish-1", tmp_path / STATE / ".rubbish-2"
    for path in (old, young):
        path.mkdir(parents=True)
        (path / "disk.qcow2").touch()
    os.utime(old, (0, 0))
    assert cloud.list_servers() == ()
    cloud.create_server(request_for())
    assert (old.exists(), young.exists()) == (False, True)


def test_a_listing_that_cannot_be_whole_is_refused(cloud, tmp_path):
    server = cloud.create_server(request_for())
    (tmp_path / STATE / server.id / "server.json").write_text("{")
    with pytest.raises(Unreachable, match=server.id):
        cloud.list_servers()
    cloud.delete_server(server.id)
    assert cloud.list_servers() == ()


def test_an_empty_state_directory_is_a_cloud_without_servers(tmp_path, images):
    assert QEMUEndpoint("here", tmp_path / "none", images).list_servers() == ()


@pytest.mark.parametrize(
    ("flavor", "word"),
    [
        (Flavor("wide", "wide", 4, 64), "1 of 4 cores are in use"),
        (Flavor("big", "big", 1, 193), "64 of 256 MiB of RAM"),
    ],
)
def test_a_server_beyond_the_quota_is_refused_as_full(cloud, flavor, word):
    cloud.create_server(request_for())
    with pytest.raises(QuotaExceeded, match=word):
        cloud.create_server(request_for(flavor=flavor))
    assert len(cloud.list_servers()) == 1


def test_what_is_switched_off_uses_nothing(cloud):
    running = cloud.create_server(request_for())
    stopped = cloud.create_server(request_for("ends"))
    wait_for_the_end_of(stopped.id)
    limits = cloud.limits()
    assert (limits.used_instances, limits.used_cores, limits.used_ram_mib) == (1, 1, 64)
    assert (limits.max_cores, limits.max_ram_mib) == (4, 256)
    cloud.delete_server(running.id)
    assert cloud.limits().used_cores == 0


def test_without_a_quota_the_host_is_the_limit(tmp_path, images):
    limits = QEMUEndpoint("here", tmp_path, images, max_cores=1000, max_ram_mib=1 << 40).limits()
    host_mib = int(next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]) // 1024
    assert limits.max_cores == 8
    assert limits.max_ram_mib == pytest.approx(host_mib - module.RESERVED_RAM_MIB, abs=1)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("none", "there is no file .*/none.qcow2"),
        ("/none/x.qcow2", "there is no file /none/x.qcow2"),
        ("text", "expected a qcow2 image, .* is raw"),
        ("broken", "qemu-img failed with status 1"),
    ],
)
def test_an_image_that_cannot_boot_is_refused_and_nothing_is_left(cloud, images, tmp_path, image, said):
    (images / "text.qcow2").write_text("not an image")
    (images / "broken.qcow2").write_bytes((images / "stays.qcow2").read_bytes()[:60])
    with pytest.raises(Rejected, match=said):
        cloud.create_server(request_for(image))
    assert cloud.list_servers() == ()


def test_an_image_may_be_any_file_of_the_host(cloud, images, tmp_path):
    elsewhere = tmp_path / "my,image.img"
    (images / "ends.qcow2").rename(elsewhere)
    server = cloud.create_server(request_for(str(elsewhere)))
    wait_for_the_end_of(server.id)
    assert cloud.console_log(server.id).startswith("first")


def test_a_host_without_qemu_is_told_what_to_install(cloud, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Rejected, match="packages qemu-system-x86, qemu-utils and xorriso"):
        cloud.create_server(request_for())
    assert cloud.list_servers() == ()


def test_what_qemu_says_when_it_does_not_start_reaches_the_operator(cloud, images, tmp_path):
    (images / "stays.vmlinuz").write_text("no kernel")
    with pytest.raises(Rejected, match="qemu-system-x86_64 failed with status 1: qemu: invalid kernel header"):
        cloud.create_server(request_for())
    assert os.listdir(tmp_path / STATE) == []


def test_user_data_too_large_for_the_seed_drive_is_refused(cloud):
    with pytest.raises(Rejected, match="1048577 bytes, 1048576 are allowed"):
        cloud.create_server(request_for(user_data=b"x" * (cloud.max_user_data_bytes + 1)))
    assert cloud.list_servers() == ()


def what_comes_of(action: str, state: Path, images: Path, *, within: list[str]) -> str:
    """The error of an action on ``endpoint``, and what is below ``state`` then, in a process that ``within`` starts."""
    text = f"""
import os
from pathlib import Path
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import *
from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint
endpoint = QEMUEndpoint("here", Path({str(state)!r}), Path({str(images)!r}), acceleration="tcg")
request = ServerRequest(Identity("a" * 32, "b" * 32, "belle", 1), Image("stays", "stays"),
                        Flavor("small", "small", 1, 64), b"x")
try:
    endpoint.{action}
except CloudError as error:
    print(type(error).__name__, os.listdir({str(state)!r}), error)
"""
    done = subprocess.run([*within, sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def own_mounts() -> list[str]:
    """What starts a process that may mount, on this host: root, else a user namespace, else sudo."""
    ways = [
        ["unshare", "--mount"],
        ["unshare", "--map-root-user", "--mount", "--propagation", "unchanged"],
        ["sudo", "-n", "unshare", "--mount"],
        # in a chroot whose root is no mount point, which nothing can make private
        ["unshare", "--mount", "--propagation", "unchanged"],
    ]
    for way in ways:
        if shutil.which(way[0]) and subprocess.run([*way, "true"], capture_output=True).returncode == 0:
            return way
    raise AssertionError("a full disk is made with a mount: expected root, user namespaces or sudo without a password")


@pytest.mark.parametrize("size", ["8k", "100k", "300k"])
def test_a_full_disk_is_no_capacity_and_nothing_is_left(images, tmp_path, size):
    """A real full disk: record, overlay and seed drive run out of it in turn."""
    state = tmp_path / STATE
    state.mkdir()
    # Unmounted all the same: in a chroot the mount may be seen outside of its namespace.
    mounted = f'mount -t tmpfs -o size={size} tmpfs "{state}" && {{ "$0" "$@"; umount "{state}"; }}'
    outcome = what_comes_of("create_server(request)", state, images, within=[*own_mounts(), "sh", "-c", mounted])
    assert outcome.startswith(f"{NoCapacity.__name__} [] "), outcome


def bound_by_file_modes() -> list[str]:
    """What starts a process that may read and write only what file modes allow; root's may otherwise do anything."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_an_image_that_we_must_not_read_is_refused_and_named(images, tmp_path):
    image = images / "stays.qcow2"
    for path, said in ((image, f"{image} cannot be read by uid {os.geteuid()}"), (images, "Permission denied")):
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            outcome = what_comes_of("create_server(request)", tmp_path, images, within=bound_by_file_modes())
        finally:
            path.chmod(mode)
        assert outcome.startswith(Rejected.__name__), outcome
        assert said in outcome


def test_a_delete_that_the_host_does_not_allow_is_refused(cloud, images, tmp_path):
    server = cloud.create_server(request_for())
    state = tmp_path / STATE
    state.chmod(0o500)
    try:
        outcome = what_comes_of(f"delete_server({server.id!r})", state, images, within=bound_by_file_modes())
    finally:
        state.chmod(0o700)
    assert outcome.startswith(f"{Rejected.__name__} ['{server.id}'] "), outcome
    assert "Permission denied" in outcome


def test_the_qemu_of_another_user_is_named_when_it_cannot_be_ended(cloud, monkeypatch):
    server = cloud.create_server(request_for())

    def refuse(process, number):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(signal, "pidfd_send_signal", refuse)
        with pytest.raises(Rejected, match=f"QEMU {pid_of(server.id)} of server {server.id} belongs to another user"):
            cloud.delete_server(server.id)
    assert cloud.find_server(server.name).status is ServerStatus.ACTIVE


def test_user_data_is_on_the_seed_drive_and_only_the_owner_can_read_it(cloud, tmp_path):
    request = request_for()
    server = cloud.create_server(request)
    directory = tmp_path / STATE / server.id
    assert (directory.stat().st_mode & 0o777, (directory / "seed.iso").stat().st_mode & 0o777) == (0o700, 0o600)
    seen = tmp_path / "seen"
    extract = ["xorriso", "-osirrox", "on", "-indev", directory / "seed.iso", "-extract", "/", seen]
    volume = subprocess.run(extract, check=True, capture_output=True, text=True).stderr
    assert "cidata" in volume
    assert (seen / "user-data").read_bytes() == SECRET
    assert f'"local-hostname": "{server.name}"' in (seen / "meta-data").read_text()
    assert sorted(os.listdir(directory)) == ["console.log", "disk.qcow2", "seed.iso", "server.json"]
    told = Path(f"/proc/{pid_of(server.id)}/cmdline").read_bytes() + (directory / "server.json").read_bytes()
    assert b"secret" not in told


def test_a_flavor_with_a_disk_gets_that_size(cloud, tmp_path):
    server = cloud.create_server(request_for(flavor=Flavor("disk", "disk", 1, 64, disk_gib=2)))
    shown = subprocess.run(
        ["qemu-img", "info", "-U", tmp_path / STATE / server.id / "disk.qcow2"], capture_output=True, text=True
    ).stdout
    assert "virtual size: 2 GiB" in shown


def test_the_catalogue_offers_the_images_and_flavors_made_to_measure(cloud, images):
    (images / "stays.json").write_text('{"os_distro": "debian"}')
    os.utime(images / "stays.qcow2", (86400, 86400))
    catalogue = cloud.catalogue()
    assert [image.id for image in catalogue.images] == ["ends", "stays"]
    assert catalogue.images[1].properties == {"os_distro": "debian"}
    assert catalogue.images[1].created_at == datetime(1970, 1, 2, tzinfo=UTC)
    assert catalogue.flavors == ()
    roomy = QEMUEndpoint("here", cloud._state, images, max_cores=2, max_ram_mib=1100).catalogue()
    assert [flavor.id for flavor in roomy.flavors] == ["c1.m512", "c1.m1024", "c2.m512", "c2.m1024"]
    assert (roomy.flavors[1].cores, roomy.flavors[1].ram_mib) == (1, 1024)


def test_broken_image_properties_are_named(cloud, images):
    (images / "stays.json").write_text("os_distro=debian")
    with pytest.raises(Rejected, match="stays.json: expected the image's properties as JSON"):
        cloud.catalogue()


def test_the_boot_probe_boots_its_sector_and_tells_failure():
    assert QEMUAcceleration.boots_with("tcg", limit_seconds=120)
    assert not QEMUAcceleration.boots_with("xen-on-mars")


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu vmx sse", True), ("fpu svm", True), ("fpu svm_lock vmxnet", False), ("", False)]
)
def test_only_a_processor_flag_counts_as_virtualisation(flags, expected):
    text = f"processor\t: 0\nmodel name\t: svm vmx\nflags\t\t: {flags}\n"
    assert QEMUAcceleration.processor_has_virtualisation(text) is expected


def test_without_proof_auto_emulates_and_kvm_is_refused(monkeypatch):
    monkeypatch.setattr(QEMUAcceleration, "kvm_works", lambda: False)
    assert QEMUAcceleration.choose_accelerator("auto") == "tcg"
    with pytest.raises(Rejected, match="no guest boots with KVM"):
        QEMUAcceleration.choose_accelerator("kvm")


def test_with_proof_kvm_is_used_unless_emulation_is_asked_for(monkeypatch):
    monkeypatch.setattr(QEMUAcceleration, "kvm_works", lambda: True)
    assert [QEMUAcceleration.choose_accelerator(wanted) for wanted in ("auto", "kvm", "tcg")] == ["kvm", "kvm", "tcg"]
