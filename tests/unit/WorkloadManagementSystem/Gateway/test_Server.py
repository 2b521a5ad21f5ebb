"""A gateway that cannot work says why and does not start."""

import socket

import pytest
from gateway_world import Log
from sqlalchemy import create_engine

from JenniferDIRAC.ConfigurationSystem.GatewayConfig import GatewayConfig, read_gateway_config
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Certificate import HostCertificate
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Listener import open_ear, room_for
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Server import CannotStart, run


def config(**options):
    return GatewayConfig.read("CloudGateway", options)


@pytest.fixture
def parts(tmp_path, certificates):
    store = VirtualMachineStore(create_engine(f"sqlite:///{tmp_path}/vm.db"))
    return store, HostCertificate(certificates / "hostcert.pem", certificates / "hostkey.pem"), Log()


def test_a_port_that_is_taken_is_named(tmp_path, parts):
    with socket.create_server(("", 0), family=socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {port} cannot be used"):
            run(config(Port=port, LogPath=f"{tmp_path}/logs"), *parts)


def test_a_directory_that_cannot_be_used_is_named(tmp_path, parts):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="file/logs, cannot be used"):
        run(config(LogPath=f"{tmp_path}/file/logs"), *parts)


def test_a_gateway_listens_on_both_kinds_of_addresses():
    with open_ear(0) as ear:
        port = ear.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 10).close()
        if ear.family == socket.AF_INET6:
            socket.create_connection(("::1", port), 10).close()


def test_room_is_made_for_all_connections():
    assert room_for(100) == 100
    assert room_for(10**9) < 10**9


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"Port": "0"}, "Port: expected a whole number, at least 1"),
        ({"Port": "65536"}, "at most 65535"),
        ({"LogPath": "logs"}, "LogPath: expected an absolute path"),
        ({"MaxFileMiB": "200"}, "MaxFileMiB: expected at most MaxVMMiB, 128, found 200"),
        ({"KeepDay": "3"}, "did you mean KeepDays"),
        ({"ChunkSeconds": "x"}, "ChunkSeconds: expected a whole number of seconds"),
    ],
)
def test_a_wrong_option_is_named(options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        config(**options)


def test_the_section_is_read_and_diracs_words_pass(cs):
    cs({"Systems": {"WorkloadManagement": {"Services": {"CloudGateway": {"Port": "9999", "LogLevel": "DEBUG"}}}}})
    assert read_gateway_config().port == 9999


def test_a_secret_in_the_section_is_refused(cs):
    cs({"Systems": {"WorkloadManagement": {"Services": {"CloudGateway": {"Password": "hunter2"}}}}})
    with pytest.raises(ConfigError) as refused:
        read_gateway_config()
    assert "hunter2" not in str(refused.value)


def test_without_a_section_it_works_with_its_defaults(cs):
    cs({})
    assert read_gateway_config().logs.parts[-2:] == ("data", "cloud-logs")
