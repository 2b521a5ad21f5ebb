"""A version changes with what a VM is told, and with nothing else."""

import os
import re
from dataclasses import replace

import pytest
from test_ContextBuilder import certificate

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.WorkloadManagementSystem.Context import ContextVersion, UserData
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextVersion import ContextVersions, Recipient, context_version
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError


def recipient(vo="belle", **director):
    """As the CS has it now; ``director``: options of its section."""
    (endpoint,) = read_cloud_sites().endpoints
    return Recipient(
        endpoint,
        endpoint.vm_types[0],
        read_profile(vo),
        vo,
        DirectorConfig.read("CloudDirector", {"VO": "belle", **director}),
    )


def version():
    return context_version(recipient())


@pytest.fixture
def rendered(monkeypatch):
    """How often everything that is told was made."""
    calls = []
    make = ContextVersion.all_that_is_told
    monkeypatch.setattr(ContextVersion, "all_that_is_told", lambda context: calls.append(context) or make(context))
    return calls


@pytest.fixture
def template(world, tmp_path):
    """A template of the host's own, which the VM type names."""
    path = tmp_path / "ours.el9.yaml.j2"
    path.write_text("#cloud-config\na: 1\n")
    world(queue={"Template": str(path)})
    return path


def rewrite(path, text):
    """As an editor does it, at a later time."""
    path.write_text(text)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def test_a_version_is_the_templates_name_and_a_digest(world, template):
    assert re.fullmatch(r"ours\.el9@[0-9a-f]{8}", version())
    world()
    assert re.fullmatch(r"cloud-init@[0-9a-f]{8}", version())


def test_a_long_name_of_a_template_leaves_room_for_the_digest(world, tmp_path):
    path = tmp_path / f"{'t' * 200}.j2"
    path.write_text("#cloud-config\na: 1\n")
    world(queue={"Template": str(path)})
    assert len(version()) < 64


@pytest.mark.parametrize(
    "change",
    [
        {"pilot": {"Project": "Belle"}},
        {"pilot": {"pilotFileServer": "dirac.there.org:8443"}},
        {"cloud": {"PilotUser": "pilot"}},
        {"cloud": {"PilotOptions": "--debug"}},
        {"cloud": {"CVMFSRepositories": "belle.cern.ch"}},
        {"cloud": {"ExtraHosts": "10.0.0.1 squid"}},
        {"queue": {"NumberOfProcessors": 4}},
        {"queue": {"ExtraPilotOptions": "-x"}},
        {"queue": {"LocalCEType": "Pool"}, "pilot": {"Project": "a"}},
    ],
)
def test_what_a_vm_is_told_changes_its_version(world, change):
    before = version()
    world(**change)
    assert version() != before


@pytest.mark.parametrize(
    "change",
    [
        {"MaxVMs": 7},
        {"Cloud": "other"},
        {"queue": {"Image": "el10"}},
        {"queue": {"Flavor": "large"}},
        {"queue": {"MaxCores": 9}},
        {"cloud": {"MaxVMs": 3}},
        {"cloud": {"ProxyLifetime": 3600}},
    ],
)
def test_limits_and_what_is_booted_do_not(world, change):
    before = version()
    world(**change)
    assert version() == before


def test_a_change_of_the_template_is_another_version(template):
    before = version()
    template.write_text("#cloud-config\na: 2\n")
    assert version() != before


def test_a_change_of_the_in_vm_program_is_another_version(world, monkeypatch):
    before, files_of = version(), UserData.guest_files

    def changed(context):
        program = UserData.PROGRAM_PATH
        return [replace(one, content=f"{one.content}#") if one.path == program else one for one in files_of(context)]

    monkeypatch.setattr(UserData, "guest_files", changed)
    assert version() != before


def test_with_a_gateway_what_the_vm_gets_from_it_counts_too(world):
    with_gateway = [context_version(recipient(Gateway="https://gateway:9164"))]
    for options in ("--debug", "--keepPP"):
        world(cloud={"PilotOptions": options})
        with_gateway.append(context_version(recipient(Gateway="https://gateway:9164")))
    assert len({*with_gateway, version()}) == 4


def test_a_program_that_only_the_gateway_gives_counts_too(world, monkeypatch):
    world(queue={"Template": "minimal"})
    of_minimal = recipient(Gateway="https://gateway:9164")
    before = context_version(of_minimal)
    monkeypatch.setattr(UserData, "packed_program", lambda: b"another")
    assert context_version(of_minimal) != before


def test_each_vo_has_its_own(world):
    assert context_version(recipient("belle")) != context_version(recipient("t2k.org"))


def test_a_context_larger_than_any_cloud_takes_has_a_version(template):
    template.write_text(f"#cloud-config\na: {'x' * 10**5}\n")
    assert version()


def test_a_context_that_cannot_be_made_has_none(world, template):
    template.write_text("#cloud-config\na: {{ nothing }}\n")
    with pytest.raises(ContextError):
        version()
    assert ContextVersions().versions([recipient()]) == {}


# Kept


def test_what_did_not_change_is_not_made_again(world, template, rendered):
    versions = ContextVersions()
    first = versions.versions([recipient()])
    assert versions.versions([recipient()]) == first == {recipient(): version()}
    world(MaxVMs=7, queue={"Template": str(template)})
    assert versions.versions([recipient()]) == {recipient(): version()}
    assert len(rendered) == 3, "once for the versions, and twice for this test's own"


def test_a_change_anywhere_in_the_cs_that_reaches_the_vm_is_seen(world):
    versions = ContextVersions()
    before = versions.versions([recipient()])
    world(pilot={"Project": "Belle"})
    assert versions.versions([recipient()]).popitem()[1] == version() != before.popitem()[1]


def test_changes_of_files_are_seen(world, template):
    versions = ContextVersions()
    part = template.with_name("part.j2")
    part.write_text("a: 1\n")
    seen = []
    for path, text in (
        (template, "#cloud-config\n{% include 'part.j2' %}"),
        (part, "a: 2\n"),
        (part, "a: 3\n"),
        (template, "#cloud-config\na: {{ nothing }}\n"),
        (template, "#cloud-config\na: 3\n"),
    ):
        rewrite(path, text)
        seen.append(versions.versions([recipient()]).get(recipient()))
    assert len(set(seen)) == 4
    assert seen[3] is None
    assert seen[2] != seen[1] != seen[0]
    assert seen[4] == version()


def test_a_template_that_comes_back_has_its_old_version(template):
    versions, text = ContextVersions(), template.read_text()
    before = versions.versions([recipient()])
    rewrite(template, "#cloud-config\na: 2\n")
    assert versions.versions([recipient()]) != before
    rewrite(template, text)
    assert versions.versions([recipient()]) == before


def test_the_trust_anchors_are_told_too(world, tmp_path):
    anchors = tmp_path / "ca.pem"
    anchors.write_text(certificate("One"))
    world(cloud={"TrustAnchors": str(anchors)})
    versions = ContextVersions()
    before = versions.versions([recipient()])
    rewrite(anchors, certificate("One") + certificate("Two"))
    assert versions.versions([recipient()]) != before


def test_one_that_cannot_be_made_does_not_keep_the_others_from_theirs(world, template):
    broken = recipient()
    template.unlink()
    world()
    assert list(ContextVersions().versions([broken, recipient("t2k.org")])) == [recipient("t2k.org")]


def test_a_change_of_what_a_template_includes_is_another_version(template):
    template.write_text("#cloud-config\n{% include 'setup.inc' %}\n")
    (template.parent / "setup.inc").write_text("a: 1\n")
    versions = ContextVersions()
    before = versions.versions([recipient()])
    rewrite(template.parent / "setup.inc", "a: 2\n")
    assert list(versions.versions([recipient()]).values()) != list(before.values())
