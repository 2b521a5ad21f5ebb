"""From the CS to a cloud."""

import subprocess
import sys
from pathlib import Path

import pytest

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CE_TYPES, EndpointConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, Rejected
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import FakeEndpoint
from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint


def config(ce_type, **values):
    return EndpointConfig(site="CLOUD.Here.org", ce="ours", ce_type=ce_type, vm_types=(), **values)


def test_every_ce_type_of_the_model_has_a_cloud(tmp_path):
    for ce_type in CE_TYPES:
        endpoint = make_endpoint(config(ce_type, image_directory=tmp_path, state_directory=tmp_path))
        assert isinstance(endpoint, CloudEndpoint)


def test_the_fake_cloud_and_qemu_are_told_apart(tmp_path):
    assert isinstance(make_endpoint(config("JenniferFake")), FakeEndpoint)
    qemu = make_endpoint(config("JenniferQEMU", image_directory=tmp_path, state_directory=tmp_path))
    assert isinstance(qemu, QEMUEndpoint)
    assert qemu.name == "CLOUD.Here.org/ours"


def test_a_qemu_endpoint_offers_no_more_than_its_quota(tmp_path):
    limits = make_endpoint(
        config("JenniferQEMU", image_directory=tmp_path, state_directory=tmp_path, quota_cores=1, quota_ram=1024)
    ).limits()
    assert (limits.max_cores, limits.max_ram_mib) == (1, 1024)


def test_a_kind_of_cloud_that_does_not_exist_is_rejected():
    with pytest.raises(Rejected, match="CLOUD.Here.org/ours.*JenniferQEMU.*JenniferNone"):
        make_endpoint(config("JenniferNone"))


def test_a_qemu_endpoint_without_directories_is_rejected():
    with pytest.raises(Rejected, match="StateDirectory"):
        make_endpoint(config("JenniferQEMU", image_directory=Path("/images")))


def test_no_cloud_is_imported_before_it_is_wanted():
    code = "import sys, JenniferDIRAC.Resources.Cloud.EndpointFactory; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in modules if name.endswith(("QEMUEndpoint", "FakeEndpoint"))}
    assert not {name for name in modules if name.startswith("JenniferDIRAC.WorkloadManagementSystem")}
