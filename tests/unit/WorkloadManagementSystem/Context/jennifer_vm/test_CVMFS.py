"""CVMFS goes by the squids that answer, in order; a repository that cannot be read ends the VM with a clear word."""

import json
import subprocess
from http.server import BaseHTTPRequestHandler

import pytest
from pilot_server import HereServer

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import CVMFS
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.CVMFS import configure, shoal_proxies
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Ends import Ended

NOBODY = "http://127.0.0.1:1"  # a port on which nobody listens
REPOSITORIES = ["belle.cern.ch", "grid.cern.ch"]


class Proxy(HereServer):
    """A server that answers every request with one status and text; ``asked`` are its requests' URLs."""

    def __init__(self, status=200, text=""):
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        super().__init__(Handler)
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def proxy():
    """A function that starts a proxy."""
    started = []

    def start(*arguments):
        started.append(Proxy(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def cvmfs(tmp_path):
    """A function that installs a stand-in for cvmfs_config."""

    def install(script="exit 0"):
        path = tmp_path / "usr/bin/cvmfs_config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/used\n{script}\n')
        path.chmod(0o755)

    install()
    return install


def configured(tmp_path):
    """What a shell makes of the configuration: CVMFS sources the file."""
    command = f'. {tmp_path}/etc/cvmfs/default.local; printf "%s\\n" "$CVMFS_REPOSITORIES" "$CVMFS_HTTP_PROXY"'
    return subprocess.check_output(["sh", "-c", command], text=True).splitlines()


def settings(*proxies, **others):
    return {"repositories": REPOSITORIES, "proxies": list(proxies), **others}


def test_squids_that_answer_are_taken_in_order_and_a_direct_connection_last(cvmfs, proxy, console, tmp_path):
    first, second = proxy(), proxy(404)
    wanted = f"{first.url};{second.url};DIRECT"
    assert configure(settings(first.url, NOBODY, second.url), str(tmp_path), console) == wanted
    assert configured(tmp_path) == [",".join(REPOSITORIES), wanted]
    assert (tmp_path / "etc/cvmfs/default.local").stat().st_mode & 0o777 == 0o644
    assert first.asked == [CVMFS.STRATUM_ONE.format("belle.cern.ch")]
    assert console.notes == [f"CVMFS goes by {wanted}; no answer from {NOBODY}"]


@pytest.mark.parametrize("status", [403, 407])
def test_a_squid_that_does_not_serve_us_is_left_out(cvmfs, proxy, console, tmp_path, status):
    assert configure(settings(proxy(status).url), str(tmp_path), console) == "DIRECT"


def test_cvmfs_without_a_squid_goes_directly(cvmfs, console, tmp_path):
    configure(settings(), str(tmp_path), console)
    assert configured(tmp_path) == [",".join(REPOSITORIES), "DIRECT"]


def test_groups_stay_groups(cvmfs, proxy, console, tmp_path):
    a, b, c = proxy().url, proxy().url, proxy().url
    told = configure(settings(f"{a}|{NOBODY}|{b};DIRECT;{c}"), str(tmp_path), console)
    assert told == f"{a}|{b};{c};DIRECT"


@pytest.mark.parametrize(
    "evil", ["'; $(touch evil) `touch evil` \"\n|", "http://[", "squid", "http://127.0.0.1:99999", ""]
)
def test_what_is_no_proxy_does_not_answer(cvmfs, console, tmp_path, evil):
    assert configure(settings(evil), str(tmp_path), console) == "DIRECT"


def test_nothing_in_the_configuration_is_a_command(tmp_path):
    CVMFS.write(f"{tmp_path}/etc/cvmfs/default.local", ["a"], "'; $(touch evil) `touch evil` \"")
    assert "$(touch evil) `touch evil`" in configured(tmp_path)[1]


def test_the_images_own_configuration_stays_when_no_repository_is_named(console, tmp_path):
    assert configure({"proxies": ["http://squid:3128"]}, str(tmp_path), console) == ""
    assert configure({}, str(tmp_path), console) == ""
    assert not (tmp_path / "etc").exists()


def test_shoals_squids_come_after_the_configured_ones_if_they_answer(cvmfs, proxy, console, tmp_path):
    first, found = proxy(), proxy()
    listed = {
        "1": {"public_ip": "127.0.0.1", "private_ip": None, "squid_port": 1, "local": False},
        "0": {"public_ip": "127.0.0.1", "private_ip": "10.0.0.1", "squid_port": found.port, "local": False},
    }
    shoal = proxy(200, json.dumps(listed))
    told = configure(settings(first.url, shoal=f"{shoal.url}/nearest/5"), str(tmp_path), console)
    assert told == f"{first.url};{found.url};DIRECT"
    assert shoal.asked == ["/nearest/5"]


@pytest.mark.parametrize("answer", [(500, ""), (200, "no JSON"), (200, "null"), (200, "[]")])
def test_a_shoal_that_is_of_no_use_is_done_without(cvmfs, proxy, console, tmp_path, answer):
    shoal = proxy(*answer)
    assert configure(settings(shoal=shoal.url), str(tmp_path), console) == "DIRECT"


def test_a_shoal_that_is_down_is_said(cvmfs, console, tmp_path):
    configure(settings(shoal=NOBODY + "/nearest"), str(tmp_path), console)
    assert "Shoal at http://127.0.0.1:1/nearest: " in console.notes[0]


def test_shoal_lists_by_rank_and_a_cache_of_our_network_by_its_private_address():
    listed = {str(rank): {"public_ip": f"192.0.2.{rank}", "squid_port": 3128} for rank in (10, 2)}
    listed["0"] = {"public_ip": "192.0.2.0", "private_ip": "10.0.0.9", "squid_port": 8080, "local": True}
    assert shoal_proxies(listed) == [
        "http://10.0.0.9:8080",
        "http://192.0.2.0:8080",
        "http://192.0.2.2:3128",
        "http://192.0.2.10:3128",
    ]


@pytest.mark.parametrize("cache", [{}, {"public_ip": "$(reboot)", "squid_port": 1}, {"public_ip": "1.2.3.4;DIRECT"}, 5])
def test_what_shoal_says_is_not_believed(cache):
    assert shoal_proxies({"0": cache}) == []


def test_every_repository_is_read_once(cvmfs, console, tmp_path):
    configure(settings(), str(tmp_path), console)
    assert (tmp_path / "used").read_text().splitlines() == [f"probe {name}" for name in REPOSITORIES]


def test_a_cvmfs_that_is_mounted_already_hears_of_its_configuration(cvmfs, console, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/mounts").write_text("/dev/vda1 / ext4 rw 0 0\ncvmfs2 /cvmfs/belle.cern.ch fuse ro 0 0\n")
    configure(settings(), str(tmp_path), console)
    assert (tmp_path / "used").read_text().splitlines()[0] == "reload"


def test_a_repository_that_cannot_be_read_ends_the_vm(cvmfs, proxy, console, tmp_path):
    cvmfs('[ "$2" = belle.cern.ch ] || { echo "Probing /cvmfs/grid.cern.ch... Failed!"; exit 1; }')
    squid = proxy()
    with pytest.raises(Ended) as caught:
        configure(settings(squid.url, NOBODY), str(tmp_path), console)
    assert caught.value.code == 500
    assert str(caught.value) == (
        f"CVMFS repository grid.cern.ch by {squid.url};DIRECT, no answer from {NOBODY}: "
        "Probing /cvmfs/grid.cern.ch... Failed!"
    )


def test_a_mount_that_failed_before_is_tried_again_after_a_reload(cvmfs, console, tmp_path):
    cvmfs(f'[ "$1" = reload ] && touch {tmp_path}/reloaded; [ -e {tmp_path}/reloaded ]')
    assert configure(settings(), str(tmp_path), console)


def test_a_probe_that_hangs_ends_the_vm(cvmfs, console, tmp_path, monkeypatch):
    cvmfs("sleep 60")
    monkeypatch.setattr(CVMFS, "TOOL_SECONDS", 0.2)
    with pytest.raises(Ended, match="no end within 0.2 s"):
        configure(settings(), str(tmp_path), console)


def test_repositories_without_cvmfs_end_the_vm(console, tmp_path):
    with pytest.raises(Ended, match="CVMFS is not installed, and belle.cern.ch, grid.cern.ch is wanted") as caught:
        configure(settings(), str(tmp_path), console)
    assert caught.value.code == 500
