"""A context from the CS and the host's files."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from JenniferDIRAC.ConfigurationSystem.CloudSites import read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import (
    build_context,
    load_trust_anchors,
    proxy_lifetime,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy


def certificate(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def context(**overrides):
    (endpoint,) = read_cloud_sites().endpoints
    return build_context(
        endpoint,
        endpoint.vm_types[0],
        read_profile("belle"),
        "belle",
        **{
            "vm_id": "0" * 32,
            "name": "jennifer-0",
            "pilot_reference": "jennifer://ours/1",
            "pilot_stamp": "0123abcd",
            "proxy": Secret("hunter2"),
            "policy": Policy(),
        }
        | overrides,
    )


def test_a_context_knows_its_place(world):
    made = context()
    assert (made.site, made.ce, made.queue, made.vo) == ("CLOUD.Here.org", "ours", "q", "belle")
    assert made.pilot_argv[-2:] == ("--pilotUUID", "0123abcd")
    assert made.pilot_file_urls[0] == "https://dirac.here.org:8443"


def test_a_context_does_not_show_its_proxy(world):
    assert "hunter2" not in repr(context())


def test_the_sites_squid_comes_before_the_vos(world):
    world(cloud={"CVMFSProxy": "http://vo:3128"})
    assert context().cvmfs.proxies == ("http://squid.here.org:3128",)
    world(cloud={"CVMFSProxy": "http://vo:3128"}, CVMFSProxy="")
    assert context().cvmfs.proxies == ("http://vo:3128",)


def test_the_vm_types_template_comes_before_the_vos(world):
    world(cloud={"Template": "/vo.j2"})
    assert context().template == "/vo.j2"
    world(cloud={"Template": "/vo.j2"}, queue={"Template": "/type.j2"})
    assert context().template == "/type.j2"


@pytest.mark.parametrize(
    ("of_the_director", "of_the_vm"),
    [
        (timedelta(days=7), timedelta(days=7) - timedelta(minutes=30)),
        (timedelta(hours=1), timedelta(minutes=30)),
        (timedelta(minutes=10), timedelta(minutes=5)),
    ],
)
def test_a_vm_ends_itself_before_the_director_does(world, of_the_director, of_the_vm):
    assert context(policy=Policy(max_lifetime=of_the_director)).max_lifetime == of_the_vm


def test_a_value_that_is_none_is_told_with_its_place(world):
    with pytest.raises(ContextError, match="context of jennifer-0 at CLOUD.Here.org/ours/q: TypeError"):
        context(policy=Policy(max_lifetime=3600))


@pytest.mark.parametrize(
    ("cloud", "queue", "expected"),
    [
        ({}, {"maxCPUTime": 60}, timedelta(hours=24)),
        ({}, {"maxCPUTime": 2880}, timedelta(hours=49)),
        ({"ProxyLifetime": 3600}, {"maxCPUTime": 60}, timedelta(hours=2)),
    ],
)
def test_the_proxy_outlasts_the_queue(world, cloud, queue, expected):
    world(cloud=cloud, queue=queue)
    (endpoint,) = read_cloud_sites().endpoints
    assert proxy_lifetime(read_profile("belle"), endpoint.vm_types[0]) == expected


def test_trust_anchors_get_the_names_that_openssl_looks_for(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("some words\n" + certificate("One") + certificate("Two") + certificate("One"))
    anchors = load_trust_anchors(path)
    for index, (name, text) in enumerate(anchors.items()):
        command = ["openssl", "x509", "-noout", "-subject_hash"]
        wanted = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.strip()
        assert name == f"{wanted}.{1 if index == 2 else 0}"
    assert len(anchors) == 3


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_trust_anchors_that_are_none_are_told(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ContextError, match=f"TrustAnchors = {path}"):
        load_trust_anchors(path)


@pytest.mark.parametrize("path", ["/", "/a\0b", "/proc/self/mem"])
def test_trust_anchors_that_cannot_be_read_are_told(path):
    with pytest.raises(ContextError, match="expected a readable PEM file"):
        load_trust_anchors(Path(path))
