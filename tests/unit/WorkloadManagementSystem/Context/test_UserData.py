"""User-data is complete, quoted, small enough, or an error with a name."""

import base64
import gzip
import json
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.Settings import envelope
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import _as_yaml, render_user_data
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import (
    CVMFS,
    ContextError,
    GatewayAccess,
    PilotProxy,
    VMContext,
)

PROXY = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n"
CONTEXT = VMContext(
    vm_id="0" * 32,
    name="jennifer-00000000-" + "0" * 32,
    site="CLOUD.Here.org",
    ce="ours",
    queue="q",
    vo="belle",
    pilot_reference="jennifer://ours/1",
    pilot_stamp="0123abcd",
    pilot_argv=("-N", "ours", "-o", "/LocalSite/A=two words; $(reboot)"),
    pilot_env={"PILOT_UUID": "jennifer://ours/1"},
    pilot_file_urls=("https://dirac.here.org/pilot",),
    credential=PilotProxy(Secret(PROXY)),
    max_lifetime=timedelta(hours=1),
    trust_anchors={"0123abcd.0": "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n"},
    extra_hosts=("10.0.2.2 dirac.here.org",),
)

START = ["sh", "-c", 'python3 "$0"; sleep 60; poweroff -f', "/opt/jennifer/jennifer-vm"]


def files(user_data):
    return {
        file["path"]: (file, gzip.decompress(base64.b64decode(file["content"])))
        for file in yaml.safe_load(user_data)["write_files"]
    }


def with_template(tmp_path, text):
    path = tmp_path / "mine.yaml.j2"
    path.write_text(text)
    return replace(CONTEXT, template=str(path))


def the_error(tmp_path, text):
    with pytest.raises(ContextError) as caught:
        render_user_data(with_template(tmp_path, text))
    return str(caught.value)


def test_the_in_vm_program_is_written_and_started():
    user_data = render_user_data(CONTEXT)
    file, content = files(user_data)["/opt/jennifer/jennifer-vm"]
    assert content == packed_program()
    assert (file["permissions"], file["owner"], file["encoding"]) == ("0755", "root:root", "gz+b64")
    assert yaml.safe_load(user_data)["runcmd"] == [START]


def test_the_proxy_is_for_root_alone_and_in_no_other_file():
    written = files(render_user_data(CONTEXT))
    file, content = written.pop("/etc/jennifer/proxy.pem")
    assert content.decode() == PROXY
    assert (file["permissions"], file["owner"]) == ("0600", "root:root")
    assert all(b"hunter2" not in content for _, content in written.values())


def test_the_settings_hold_what_the_program_needs():
    file, content = files(render_user_data(CONTEXT))["/etc/jennifer/vm.json"]
    settings = json.loads(content)
    assert file["permissions"] == "0600"
    assert settings["pilot_argv"] == list(CONTEXT.pilot_argv)
    assert settings["credential"] == {"kind": "proxy-file", "path": "/etc/jennifer/proxy.pem"}
    assert settings["trust_anchors"] == dict(CONTEXT.trust_anchors)
    assert settings["max_lifetime"] == 3600


def test_a_lifetime_below_a_second_is_still_one():
    _, content = files(render_user_data(replace(CONTEXT, max_lifetime=timedelta(seconds=0.5))))["/etc/jennifer/vm.json"]
    assert json.loads(content)["max_lifetime"] == 1


def test_cloud_init_sees_its_own_first_line():
    assert render_user_data(CONTEXT).startswith(b"#cloud-config\n")


def test_the_same_context_gives_the_same_bytes():
    assert render_user_data(CONTEXT) == render_user_data(CONTEXT)


def test_too_large_user_data_is_refused_with_both_sizes():
    size = len(render_user_data(CONTEXT))
    assert render_user_data(CONTEXT, max_bytes=size)
    with pytest.raises(ContextError, match=rf"{size} bytes.*{size - 1}"):
        render_user_data(CONTEXT, max_bytes=size - 1)


def test_a_missing_value_is_named_with_template_and_line(tmp_path):
    error = the_error(tmp_path, "#cloud-config\na: 1\nb: {{ vm.nonsense }}\n")
    assert "nonsense" in error
    assert f"{tmp_path}/mine.yaml.j2, line 3" in error


def test_a_missing_variable_is_no_empty_string_in_a_condition_either(tmp_path):
    assert "squid" in the_error(tmp_path, "#cloud-config\na: {% if squid %}1{% endif %}\n")


def test_a_mistake_of_syntax_is_told_with_its_line(tmp_path):
    assert "mine.yaml.j2, line 2" in the_error(tmp_path, "#cloud-config\n{% if %}\n")


def test_a_template_cannot_reach_into_python(tmp_path):
    assert "unsafe" in the_error(tmp_path, "#cloud-config\na: {{ vm.__class__.__init__.__globals__ }}\n")


def test_a_filters_error_does_not_quote_the_secret(tmp_path):
    error = the_error(tmp_path, "#cloud-config\na: {{ vm.credential.proxy | sh }}\n")
    assert "line 2" in error
    assert "hunter2" not in error


def test_a_secret_printed_by_a_template_stays_one(tmp_path):
    text = render_user_data(with_template(tmp_path, "#cloud-config\na: '{{ vm.credential.proxy }}'\n"))
    assert b"<secret>" in text
    assert b"hunter2" not in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\n", "#cloud-config as the first line"),
        ("#cloud-config\na: [1\n", "expected YAML"),
        ("#cloud-config\n- 1\n", "expected a YAML mapping"),
        ("#cloud-config\n", "expected a YAML mapping"),
    ],
)
def test_what_cloud_init_would_not_take_is_refused(tmp_path, text, told):
    assert told in the_error(tmp_path, text)


@pytest.mark.parametrize(
    "slip",
    [
        "{{ 1 // 0 }}",
        "{{ [].pop() }}",
        "{{ {}.popitem() }}",
        "{{ 'x' * 10**10 }}",
        "{{ 10**10 * ['x'] }}",
        "{{ 10.0 ** 1000 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ '\\ud800' }}",
        "{% include 'no-such-file' %}",
    ],
)
def test_whatever_a_template_does_wrong_is_told_with_its_place(tmp_path, slip):
    error = the_error(tmp_path, f"#cloud-config\na: {slip}\n")
    assert f"{tmp_path}/mine.yaml.j2" in error
    if "ud800" not in slip:
        assert "line 2" in error


@pytest.mark.parametrize("value", ["2024-99-99", "!!bool x", "!!int ''", "!!timestamp x", "{[1]: 2}"])
def test_a_value_that_is_none_of_its_yaml_type_is_told_with_its_line(tmp_path, value):
    error = the_error(tmp_path, f"#cloud-config\nb: 1\na:\n- {value}\n")
    assert f"{tmp_path}/mine.yaml.j2, line 4 of its result: expected YAML" in error


def test_yaml_that_is_nested_too_deep_is_told(tmp_path):
    assert "RecursionError" in the_error(tmp_path, "#cloud-config\na: " + 5000 * "[")


def test_a_template_that_is_not_utf_8_is_told(tmp_path):
    context = with_template(tmp_path, "")
    (tmp_path / "mine.yaml.j2").write_bytes(b"#cloud-config\na: \xe9\n")
    with pytest.raises(ContextError, match="mine.yaml.j2: expected UTF-8"):
        render_user_data(context)


@pytest.mark.parametrize("path", ["/" + "x" * 300, "/proc/self/mem"])
def test_a_template_that_cannot_be_read_is_told(path):
    with pytest.raises(ContextError, match=f"template {path}: expected a readable file, found: "):
        render_user_data(replace(CONTEXT, template=path))


LONG = "hunter2" * 10


@pytest.mark.parametrize(
    "text",
    [
        "a: {{ {}[vm.credential.proxy.reveal()] }}",
        "a: {{ vm.credential.reveal() }}",
        "a: {{ {}[vm.credential.proxy | b64] }}",
        "a: *{{ vm.credential.proxy | b64 | replace('=', '') }}",
        "a: !{{ vm.credential.proxy | b64 | replace('=', '') }} 1",
    ],
)
def test_no_error_quotes_the_secret(tmp_path, text):
    context = with_template(tmp_path, f"#cloud-config\n{text}\n")
    with pytest.raises(ContextError) as caught:
        render_user_data(replace(context, credential=PilotProxy(Secret(LONG))))
    assert "hunter2" not in str(caught.value)
    assert base64.b64encode(LONG.encode()).decode().rstrip("=") not in str(caught.value)


def test_a_value_that_the_settings_cannot_hold_is_told():
    with pytest.raises(ContextError, match=f"settings of {CONTEXT.name}: TypeError: .*bytes"):
        render_user_data(replace(CONTEXT, extra_hosts=(b"10.0.2.2 dirac",)))


# With a gateway

TICKET = "t" * 43
WITH_GATEWAY = replace(
    CONTEXT,
    gateway=GatewayAccess("https://dirac.here.org:9164", Secret(TICKET), timedelta(minutes=27), ca="PEM of a CA"),
    cvmfs=CVMFS(("belle.cern.ch",), ("http://squid:3128",)),
)


def test_with_a_gateway_user_data_hold_the_ticket_and_no_credential():
    written = files(render_user_data(WITH_GATEWAY))
    assert written.keys() == {"/opt/jennifer/jennifer-vm", "/etc/jennifer/vm.json", "/etc/jennifer/ticket"}
    file, content = written.pop("/etc/jennifer/ticket")
    assert content.decode() == TICKET
    assert (file["permissions"], file["owner"]) == ("0600", "root:root")
    assert all(b"hunter2" not in content and TICKET.encode() not in content for _, content in written.values())


def test_the_vm_is_told_at_once_what_it_needs_to_come_to_the_gateway():
    _, content = files(render_user_data(WITH_GATEWAY))["/etc/jennifer/vm.json"]
    assert json.loads(content) == {
        "vm_id": CONTEXT.vm_id,
        "extra_hosts": ["10.0.2.2 dirac.here.org"],
        "max_lifetime": 3600,
        "boot_patience": 27 * 60,
        "gateway": {"url": "https://dirac.here.org:9164", "ca": "PEM of a CA", "ticket": "/etc/jennifer/ticket"},
    }


def test_the_gateway_has_the_credential_and_all_the_rest():
    given = envelope(WITH_GATEWAY)
    assert given["credential"] == {"kind": "proxy", "pem": PROXY}
    settings = given["settings"]
    assert settings["pilot_argv"] == list(CONTEXT.pilot_argv)
    assert settings["cvmfs"] == {"repositories": ["belle.cern.ch"], "proxies": ["http://squid:3128"], "shoal": ""}
    alone = json.loads(files(render_user_data(replace(WITH_GATEWAY, gateway=None)))["/etc/jennifer/vm.json"][1])
    assert settings == {name: alone[name] for name in alone if name not in ("vm_id", "credential")}


def test_an_unknown_template_is_refused_with_the_known_ones():
    with pytest.raises(ContextError, match="template cloud-int: expected one of .*cloud-init.*did you mean cloud-init"):
        render_user_data(replace(CONTEXT, template="cloud-int"))
    with pytest.raises(ContextError, match="/no/such/file"):
        render_user_data(replace(CONTEXT, template="/no/such/file"))


def test_a_template_includes_what_lies_beside_it_and_nothing_else(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/more.j2").write_text("a: 1\n")
    error = the_error(tmp_path, "#cloud-config\n{% include 'sub/more.j2' %}\n")
    assert "sub/more.j2: expected a file beside the template" in error


def test_a_name_is_no_way_out_of_the_templates_directory():
    with pytest.raises(ContextError, match="expected one of"):
        render_user_data(replace(CONTEXT, template="../setup"))


scalars = st.none() | st.booleans() | st.integers() | st.text()
keys = st.text(max_size=80)  # YAML takes keys of 1024 characters, and an escaped character has ten


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=8))
def test_any_value_survives_the_yaml_filter(value):
    text = _as_yaml(value)
    assert "\n" not in text
    assert yaml.safe_load(f"#cloud-config\na: {text}\n") == {"a": value}


def test_shell_words_are_quoted_by_the_filter(tmp_path):
    path = tmp_path / "mine.yaml.j2"
    path.write_text("#cloud-config\nruncmd:\n- {{ ('echo ' + vm.site | sh) | yaml }}\n")
    user_data = render_user_data(replace(CONTEXT, template=str(path), site="a'; reboot"))
    (command,) = yaml.safe_load(user_data)["runcmd"]
    assert subprocess.check_output(["sh", "-c", command], text=True) == "a'; reboot\n"
