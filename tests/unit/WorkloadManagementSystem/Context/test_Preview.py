"""A preview is what a VM gets, without what nobody may see."""

import base64
import gzip
import json
import socket

import pytest
import yaml

from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import described_program, packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import render_preview, user_data_of_nobody
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError

START = ["sh", "-c", 'python3 "$0"; sleep 60; poweroff -f', "/opt/jennifer/jennifer-vm"]


def files(preview):
    return {file["path"]: file["content"] for file in yaml.safe_load(preview)["write_files"]}


@pytest.mark.parametrize("name", ["ours", "CLOUD.Here.org/ours"])
def test_an_endpoint_goes_by_its_ce_or_by_site_and_ce(world, name):
    assert render_preview(name, "q", "belle").startswith("#cloud-config\n# CLOUD.Here.org/ours/q for belle")


def test_a_preview_is_a_cloud_config_with_its_files_in_clear(world):
    preview = render_preview("ours", "q", "belle")
    shown = files(preview)
    assert shown["/opt/jennifer/jennifer-vm"] == described_program(packed_program())
    assert json.loads(shown["/etc/jennifer/vm.json"])["pilot_argv"][-2:] == ["--pilotUUID", "0" * 32]
    assert yaml.safe_load(preview)["runcmd"] == [START]


def test_the_proxy_is_masked(world):
    assert files(render_preview("ours", "q", "belle"))["/etc/jennifer/proxy.pem"] == "<secret>\n"


def test_with_a_gateway_what_it_gives_for_the_ticket_is_shown_too_without_the_credential(world):
    world(Gateway="https://gateway.here.org:9164")
    user_data, given = yaml.safe_load_all(render_preview("ours", "q", "belle"))
    shown = {file["path"]: file["content"] for file in user_data["write_files"]}
    assert shown["/etc/jennifer/ticket"] == "<secret>\n"
    assert "/etc/jennifer/proxy.pem" not in shown
    assert given["settings"]["pilot_argv"][-2:] == ["--pilotUUID", "0" * 32]
    assert given["credential"] == {"kind": "proxy", "pem": "<secret>"}


def test_a_template_of_the_users_own_is_shown_too(world, tmp_path):
    (tmp_path / "mine.j2").write_text(
        "#cloud-config\nwrite_files:\n- {path: /a, encoding: b64, content: {{ 'x' | b64 | yaml }}}\n"
        "- {path: /b, content: plain}\n- {path: /c, encoding: base64, content: {{ vm.credential.proxy | b64 }}}\n"
    )
    world(cloud={"Template": str(tmp_path / "mine.j2")})
    preview = render_preview("ours", "q", "belle")
    assert files(preview) == {"/a": "x", "/b": "plain", "/c": "<secret>\n"}
    assert base64.b64encode(b"<secret>\n").decode() not in preview


@pytest.mark.parametrize("files", ["5", "[{path: /a}]", "[{path: /a, encoding: b64, content: x}]"])
def test_files_that_cannot_be_shown_are_told(world, tmp_path, files):
    (tmp_path / "mine.j2").write_text(f"#cloud-config\nwrite_files: {files}\n")
    world(cloud={"Template": str(tmp_path / "mine.j2")})
    with pytest.raises(ContextError, match=f"files of template {tmp_path}/mine.j2: "):
        render_preview("ours", "q", "belle")


def test_files_of_the_host_are_named_with_their_host(world, tmp_path):
    assert "# Read on" not in render_preview("ours", "q", "belle")
    (tmp_path / "mine.j2").write_text("#cloud-config\na: 1\n")
    world(cloud={"Template": str(tmp_path / "mine.j2")})
    heading = f"# Read on {socket.gethostname()}, which need not be the director's host: {tmp_path}/mine.j2\n"
    assert heading in render_preview("ours", "q", "belle")


def test_an_unknown_endpoint_or_vm_type_is_told_with_the_known_ones(world):
    with pytest.raises(ContextError, match="our: expected one of CLOUD.Here.org/ours .*did you mean ours"):
        render_preview("our", "q", "belle")
    with pytest.raises(ContextError, match="VM type p of CLOUD.Here.org/ours: expected one of q"):
        render_preview("ours", "p", "belle")


def test_a_vo_that_is_not_served_is_told(world):
    with pytest.raises(ContextError, match=r"\(belle\), found t2k.org"):
        render_preview("ours", "q", "t2k.org")


def test_a_disabled_endpoint_tells_its_problem(world):
    world(MaxVMs="many")
    with pytest.raises(ContextError, match="ours is disabled: .*MaxVMs.*many"):
        render_preview("ours", "q", "belle")


@pytest.mark.parametrize("gateway", ["", "https://gateway.here.org:9164"])
def test_what_boots_for_nobody_is_what_the_preview_shows_and_holds_no_secret(world, gateway):
    world(Gateway=gateway)
    user_data = user_data_of_nobody("ours", "q", "belle")
    written = {file["path"]: file["content"] for file in yaml.safe_load(user_data)["write_files"]}
    secret = "/etc/jennifer/ticket" if gateway else "/etc/jennifer/proxy.pem"
    assert gzip.decompress(base64.b64decode(written[secret])) == b"<secret>\n"
    assert gzip.decompress(base64.b64decode(written["/opt/jennifer/jennifer-vm"])) == packed_program()
    shown = next(yaml.safe_load_all(render_preview("ours", "q", "belle")))
    assert list(written) == [file["path"] for file in shown["write_files"]]
