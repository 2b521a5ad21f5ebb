"""Every template of the package, as the real cloud-init sees what is made of it."""

import re
import subprocess
from dataclasses import replace

import pytest
import yaml
from profiles import PROFILES, context_of

from JenniferDIRAC.ConfigurationSystem.TemplateParts import Layer, TemplatePart
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import (
    PARTS,
    PROGRAM_PATH,
    SUFFIX,
    TEMPLATES,
    render_user_data,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import CVMFS
from lab.cloud_init import schema_problems

TEMPLATE_NAMES = sorted(path.name.removesuffix(SUFFIX) for path in TEMPLATES.glob(f"*{SUFFIX}"))
PART_NAMES = sorted(path.name.removesuffix(SUFFIX) for path in PARTS.glob(f"*{SUFFIX}"))
EVERY_PART = tuple(TemplatePart(Layer.SITE, name) for name in PART_NAMES)


CASES = [(name, gateway) for name in TEMPLATE_NAMES for gateway in (True, False) if gateway or name != "minimal"]


def test_these_are_the_templates():
    assert TEMPLATE_NAMES == ["cernvm", "cloud-init", "debian", "el9", "minimal", "ubuntu"]


@pytest.mark.parametrize(("template", "gateway"), CASES)
@pytest.mark.parametrize("vo", PROFILES)
def test_cloud_init_takes_what_a_template_makes(cs, tmp_path, vo, template, gateway):
    config = tmp_path / "user-data"
    config.write_bytes(render_user_data(replace(context_of(cs, vo, gateway), template=template)))
    assert schema_problems(config) == ""


@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_cloud_init_takes_it_with_every_part_too(cs, tmp_path, template):
    context = replace(context_of(cs, "belle"), template=template, template_parts=EVERY_PART)
    config = tmp_path / "user-data"
    config.write_bytes(render_user_data(context))
    assert schema_problems(config) == ""


def test_cloud_init_would_tell_of_a_mistake(tmp_path):
    config = tmp_path / "wrong.yaml"
    config.write_text("#cloud-config\nwrite_files:\n- path: /a\n  contents: x\n")
    assert "contents" in schema_problems(config)


@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_repositories_are_reached_by_https_and_their_signatures_are_checked(cs, template):
    text = (TEMPLATES / f"{template}{SUFFIX}").read_text()
    assert "http://" not in text
    assert text.count("gpgcheck=1") == text.count("[jennifer-cernvm]")
    assert text.count("Signed-By:") == text.count("Types: deb")
    assert not re.search(r"curl|wget|git clone|allow.?(unauthenticated|insecure)|trusted=yes|nogpg", text)


def commands(context):
    return [
        words if isinstance(words, str) else " ".join(words)
        for words in yaml.safe_load(render_user_data(context))["runcmd"]
    ]


@pytest.mark.parametrize("template", ["el9", "debian", "ubuntu"])
def test_cvmfs_is_installed_for_a_vo_that_names_repositories_and_for_no_other(cs, template):
    context = replace(context_of(cs, "belle"), template=template)
    assert "cvmfs" in "\n".join(commands(context))
    assert "cvmfs" not in "\n".join(commands(replace(context, cvmfs=CVMFS())))


@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_what_a_shell_is_to_run_is_a_shells_language(cs, template):
    for command in commands(replace(context_of(cs, "belle"), template=template)):
        script = command.removeprefix("sh -c ")
        assert subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True).stderr == ""


@pytest.mark.parametrize("template", [name for name in TEMPLATE_NAMES if name != "minimal"])
def test_the_last_command_starts_jennifer_vm(cs, template):
    last = f'sh -c python3 "$0"; sleep 60; poweroff -f {PROGRAM_PATH}'
    assert commands(replace(context_of(cs, "belle"), template=template))[-1] == last


def test_the_minimal_template_takes_two_kibibytes(cs):
    assert len(render_user_data(replace(context_of(cs, "belle"), template="minimal"))) <= 2048


@pytest.fixture
def host(tmp_path):
    """A function that runs a command of a template on a host where some packages are there; what it would install."""

    def run(words, there):
        done = tmp_path / "done"
        done.write_text("")
        tools = {
            "rpm": f"for one in $2 $3 $4; do case ' {there} ' in *\" $one \"*) ;; *) exit 1 ;; esac; done",
            "dpkg": f"shift; for one in $@; do case ' {there} ' in *\" $one \"*) ;; *) exit 1 ;; esac; done",
            "dnf": f'echo "$@" >>{done}',
            "apt-get": f'echo "$@" >>{done}',
            "cvmfs_config": "",
        }
        for name, script in tools.items():
            tool = tmp_path / name
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
        words = words if isinstance(words, list) else ["sh", "-c", words]
        subprocess.run(words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False, timeout=60)
        return done.read_text()

    return run


def prepare(cs, template, **changes):
    context = replace(context_of(cs, "belle"), template=template, **changes)
    return yaml.safe_load(render_user_data(context))["runcmd"]


def test_on_el9_nothing_is_fetched_where_all_is_there(cs, host):
    command = prepare(cs, "el9")[0]
    assert host(command, "nftables tar cvmfs") == ""
    assert host(command, "nftables tar") == "-y --setopt=install_weak_deps=False install nftables tar cvmfs\n"


def test_on_debian_nothing_is_fetched_where_all_is_there(cs, host):
    assert host(prepare(cs, "debian")[0], "ca-certificates nftables cvmfs") == ""
    assert host(prepare(cs, "debian", cvmfs=CVMFS())[0], "ca-certificates").splitlines() == [
        "-q -o DPkg::Lock::Timeout=300 update",
        "-q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install ca-certificates nftables",
    ]
