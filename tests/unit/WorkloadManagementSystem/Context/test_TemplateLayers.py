"""What several layers of the CS add to a VM's template."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from profiles import QUEUE
from test_UserData import CONTEXT, START, WITH_GATEWAY

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.ConfigurationSystem.TemplateParts import Layer, TemplatePart
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.GuestProgram import packed_program
from JenniferDIRAC.WorkloadManagementSystem.Context.Preview import context_of_nobody, render_preview
from JenniferDIRAC.WorkloadManagementSystem.Context.TemplateLayers import merge
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import (
    render_user_data,
    sealed_content,
    template_files,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError


def merged(config, *parts):
    for part in parts:
        merge(config, part, "mine (site)")
    return config


def test_lists_add_up_in_order():
    assert merged({"packages": ["a"]}, {"packages": ["b"]}, {"packages": ["c"]}) == {"packages": ["a", "b", "c"]}


def test_of_two_values_the_later_layers_stands():
    assert merged({"timezone": "UTC"}, {"timezone": "Asia/Tokyo"}) == {"timezone": "Asia/Tokyo"}


def test_mappings_are_merged_deeply():
    assert merged({"swap": {"size": 1, "a": {"x": [1]}}}, {"swap": {"size": 2, "a": {"x": [2]}, "b": None}}) == {
        "swap": {"size": 2, "a": {"x": [1, 2]}, "b": None}
    }


def test_commands_of_parts_come_in_order_before_the_start_which_never_returns():
    config = {"runcmd": ["prepare", "start"]}
    assert merged(config, {"runcmd": ["a"]}, {"runcmd": ["b", "c"]}) == {"runcmd": ["prepare", "a", "b", "c", "start"]}
    assert merged({}, {"runcmd": ["a"]}) == {"runcmd": ["a"]}
    assert merged({"runcmd": ["start"]}, {"packages": ["x"]}) == {"runcmd": ["start"], "packages": ["x"]}


def test_nothing_adds_nothing():
    assert merged({"packages": ["a"], "runcmd": None}, {"packages": None, "runcmd": ["b"]}) == {
        "packages": ["a"],
        "runcmd": ["b"],
    }


@pytest.mark.parametrize(
    ("config", "part", "told"),
    [
        ({"packages": ["a"]}, {"packages": "b"}, "packages: expected a list, as before it, found a value"),
        ({"swap": {"a": [1]}}, {"swap": {"a": {}}}, "swap.a: expected a list, as before it, found a mapping"),
        ({"runcmd": ["start"]}, {"runcmd": "a"}, "runcmd: expected a list"),
        ({"runcmd": "start"}, {"runcmd": ["a"]}, "runcmd: expected a value"),
    ],
)
def test_what_does_not_fit_is_told_with_part_and_place(config, part, told):
    with pytest.raises(ContextError, match=rf"part mine \(site\), {told}"):
        merged(config, part)


# In user-data


def part(tmp_path, name, text, layer=Layer.SITE):
    (tmp_path / name).write_text(text)
    return TemplatePart(layer, str(tmp_path / name))


def test_the_result_is_one_cloud_config_that_says_of_what_it_is_made(tmp_path):
    parts = (
        part(tmp_path, "one", "#cloud-config\nruncmd: [[echo, {{ vm.site | yaml }}]]\n", Layer.VO),
        part(tmp_path, "two", "#cloud-config\nwrite_files: [{path: /a, content: x, permissions: '0600'}]\n"),
    )
    user_data = render_user_data(replace(CONTEXT, template_parts=parts))
    config = yaml.safe_load(user_data)
    first, second = user_data.decode().splitlines()[:2]
    assert first == "#cloud-config"
    assert f"template cloud-init with {tmp_path}/one (VO), {tmp_path}/two (site)" in second
    assert config["runcmd"] == [["echo", CONTEXT.site], START]
    assert config["write_files"][-1] == {"path": "/a", "content": "x", "permissions": "0600"}
    before = yaml.safe_load(render_user_data(CONTEXT))
    assert config["write_files"][:-1] == before["write_files"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("packages: [a]\n", "expected #cloud-config as the first line"),
        ("#cloud-config\npackages: [a\n", "expected YAML"),
        ("#cloud-config\npackages: {{ vm.nonsense }}\n", "nonsense"),
        ("#cloud-config\npackages: {{ vm.credential.proxy.reveal() }}\n", "unsafe"),
        ("#cloud-config\nwrite_files: 5\n", "write_files: expected a list"),
        ("#cloud-config\n{{ refuse('only for others') }}\n", "only for others"),
    ],
)
def test_a_part_is_held_to_what_a_template_is_held_to(tmp_path, text, told):
    with pytest.raises(ContextError, match=told) as caught:
        render_user_data(replace(CONTEXT, template_parts=(part(tmp_path, "mine", text),)))
    assert f"{tmp_path}/mine" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_part_is_told_with_the_known_ones():
    with pytest.raises(ContextError, match="template swop: expected one of swap"):
        render_user_data(replace(CONTEXT, template_parts=(TemplatePart(Layer.SITE, "swop"),)))


def test_the_files_of_template_and_parts_are_known():
    context = replace(CONTEXT, template_parts=(TemplatePart(Layer.SITE, "swap"),))
    assert [path.name for path in template_files(context)] == ["cloud-init.yaml.j2", "swap.yaml.j2"]


# In the Configuration System


@pytest.fixture
def layers(cs):
    """A function that fills the CS: a template and parts by layer; it gives those of a VM of belle."""

    def fill(**options):
        queue = QUEUE | options.get("vm_type", {})
        ce = {"CEType": "JenniferFake", "Queues": {"q": queue, "other": QUEUE}} | options.get("endpoint", {})
        other = {"CEType": "JenniferFake", "Queues": {"q": QUEUE}, "TemplateParts": "of-another"}
        cs(
            {
                "Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": {
                    "CEs": {"ours": ce, "theirs": other} | options.get("site", {})
                }}}},
                "Operations": {
                    "Defaults": {"Pilot": {"pilotFileServer": "dirac"}, "Cloud": options.get("all_vos", {})},
                    "belle": {"Cloud": options.get("vo", {})},
                    "t2k.org": {"Cloud": {"TemplateParts": "of-t2k"}},
                },
            }
        )  # fmt: skip
        endpoint = next(one for one in read_cloud_sites().endpoints if one.ce == "ours")
        vm_type = next(one for one in endpoint.vm_types if one.queue == "q")
        context = context_of_nobody(endpoint, vm_type, read_profile("belle"), "belle", "r", Secret("hunter2"))
        return context

    return fill


def test_parts_of_all_layers_add_up_from_the_widest_to_the_narrowest(layers):
    context = layers(
        vm_type={"TemplateParts": "t1, t2"},
        endpoint={"TemplateParts": "e"},
        site={"TemplateParts": "s"},
        vo={"TemplateParts": "v"},
        all_vos={"TemplateParts": "a"},
    )
    assert context.template_parts == (
        TemplatePart(Layer.ALL_VOS, "a"),
        TemplatePart(Layer.VO, "v"),
        TemplatePart(Layer.SITE, "s"),
        TemplatePart(Layer.ENDPOINT, "e"),
        TemplatePart(Layer.VM_TYPE, "t1"),
        TemplatePart(Layer.VM_TYPE, "t2"),
    )


@pytest.mark.parametrize("layer", ["vm_type", "endpoint", "site", "vo", "all_vos"])
def test_each_layer_alone_counts(layers, layer):
    (only,) = layers(**{layer: {"TemplateParts": "mine"}}).template_parts
    assert (only.layer, only.name) == (Layer[layer.upper()], "mine")


def test_without_any_there_are_none(layers):
    assert layers().template_parts == ()


def test_the_narrowest_layer_that_names_a_template_has_its_way(layers):
    named = {"all_vos": "a", "vo": "v", "site": "s", "endpoint": "e", "vm_type": "t"}
    options = {}
    assert layers().template == "cloud-init"
    for layer, name in named.items():
        options[layer] = {"Template": name}
        assert layers(**options).template == name


def test_a_preview_says_which_layers_took_part(world, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("#cloud-config\nruncmd: [echo]\n")
    world(cloud={"TemplateParts": str(mine)}, TemplateParts="swap")
    preview = render_preview("ours", "q", "belle")
    assert f"template cloud-init with {mine} (VO), swap (endpoint)\n" in preview
    assert f"need not be the director's host: {mine}\n" in preview
    assert yaml.safe_load(preview)["swap"]["filename"] == "/swapfile"
    assert yaml.safe_load(preview)["runcmd"][0] == "echo"


# User-data without the program

MINIMAL = replace(WITH_GATEWAY, template="minimal")


def test_where_user_data_bring_no_program_the_ticket_is_good_for_it():
    given = sealed_content(MINIMAL, render_user_data(MINIMAL))
    assert base64.b64decode(given["program"]) == packed_program()
    assert given["credential"]["kind"] == "proxy"


def test_where_they_bring_it_the_envelope_does_not():
    assert "program" not in sealed_content(WITH_GATEWAY, render_user_data(WITH_GATEWAY))


@pytest.mark.parametrize("written", ["", "write_files: 5", "write_files: [5, {content: x}]"])
def test_a_template_that_writes_nothing_sensible_brings_no_program_either(written):
    assert "program" in sealed_content(WITH_GATEWAY, f"#cloud-config\na: 1\n{written}\n".encode())


def test_the_minimal_template_holds_ticket_and_settings_and_no_program():
    files = {file["path"]: file for file in yaml.safe_load(render_user_data(MINIMAL))["write_files"]}
    assert set(files) == {"/etc/jennifer/vm.json", "/etc/jennifer/ticket", "/opt/jennifer/start"}
    assert {files[path]["permissions"] for path in ("/etc/jennifer/vm.json", "/etc/jennifer/ticket")} == {"0600"}


def test_parts_of_the_minimal_template_run_before_the_bootstrap():
    context = replace(MINIMAL, template_parts=(TemplatePart(Layer.SITE, "swap"),))
    config = yaml.safe_load(render_user_data(context))
    assert config["swap"] and config["runcmd"][-1].startswith("python3 /opt/jennifer/start;")


def test_without_a_gateway_the_minimal_template_is_refused_with_what_to_do():
    with pytest.raises(
        ContextError,
        match="minimal.*: it brings no program, and there is no gateway.*: set Gateway, or take cloud-init",
    ):
        render_user_data(replace(CONTEXT, template="minimal"))


def test_a_preview_of_it_describes_the_program_that_the_gateway_has(world):
    world(Gateway="https://gateway.here.org:9164", Template="minimal")
    _, given = yaml.safe_load_all(render_preview("ours", "q", "belle"))
    assert "jennifer_vm/Life.py" in given["program"]
    assert json.dumps(given).count("hunter2") == 0
    assert timedelta(seconds=given["settings"]["max_lifetime"]) > timedelta(0)
