"""The way of a new user: from a credential to jobs that ran, on servers that a real Nova boots."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from lab.common.errors import LabError
from lab.dirac import home, jobs
from lab.dirac.answers import ask
from lab.openstack import OpenStackLab
from lab.openstack.cloud import GOLDEN_IMAGE, IDENTITY_PROVIDER, REAL_ZONE, REGION

COMMAND = Path(sys.executable).parent / "dirac-admin-cloud"
PORT_OFFSET = int(os.environ.get("JENNIFERDIRAC_PORT_OFFSET", "0")) + 1700
SITE = "VCYCLE.New.fr"
PATIENCE = 900  # seconds; without KVM on a busy machine


@pytest.fixture(scope="module")
def openstack(turn):
    """With a host that boots its servers."""
    server = OpenStackLab(home() / "openstack-new", port_offset=PORT_OFFSET)
    server.down()  # what an interrupted run left
    server.up(real=True)
    yield server
    server.down()


@pytest.fixture
def application_credential(openstack):
    """An entry of clouds.yaml as Horizon gives it."""
    project = openstack.cloud.make_project()
    yield openstack.cloud.application_credential_entry(project)
    assert openstack.cloud.servers(project) == []
    openstack.cloud.remove_project(project)


@pytest.fixture
def check_in_token(openstack, tmp_path):
    """An entry of clouds.yaml with a refresh token that changes with each use."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(openstack.cloud.refresh_token("alice", "dirac-rotating"))
    yield {
        "auth_type": "v3oidcrefreshtoken",
        "region_name": REGION,
        "cacert": str(openstack.cloud.ca_file),
        "auth": {
            "auth_url": openstack.cloud.token_auth_url,
            "identity_provider": IDENTITY_PROVIDER,
            "issuer": openstack.cloud.issuer,
            "client_id": "dirac-rotating",
            "client_secret": "rotating-secret",
            "refresh_token_file": str(token),
            "project_name": "vo.demo",
            "project_domain_name": "Default",
        },
    }
    (left,) = openstack.cloud.admin.identity.projects(name="vo.demo")
    assert list(openstack.cloud.admin.compute.servers(all_projects=True, project_id=left.id)) == []


@pytest.fixture
def site(dirac):
    """The site's name; what was registered of it is taken out again."""
    yield SITE
    from DIRAC.ConfigurationSystem.Client.CSAPI import CSAPI
    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient

    api = CSAPI()
    api.delSection(f"/Resources/Sites/VCYCLE/{SITE}")
    ask(api.commit)
    for kind, name in (("Site", SITE), ("Resource", "new")):
        ask(partial(ResourceStatusClient().deleteStatusElement, kind, "Status", name=name))


@pytest.mark.parametrize("credential", ["application_credential", "check_in_token"])
def test_from_a_credential_to_jobs_that_ran_without_guessing_a_name(credential, request, dirac, site, tmp_path):
    clouds = tmp_path / "clouds.yaml"
    clouds.touch(mode=0o600)
    clouds.write_text(yaml.safe_dump({"clouds": {"new": request.getfixturevalue(credential)}}))
    proxy = dirac.proxy("adm", "dirac_admin")
    environment = dirac.environment(X509_USER_PROXY=str(proxy), OS_CLIENT_CONFIG_FILE=str(clouds))

    def command(*words: str) -> str:
        done = subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    found = json.loads(command("discover", "new", "--json"))
    assert GOLDEN_IMAGE in {image["name"] for image in found["catalogue"]["images"]}
    # which of the lab's hosts really boot is all that a site admin has to know
    command("register", site, "--cloud", "new", "--vo", "belle", "--zone", REAL_ZONE, "--max-vms", "2", "--yes")
    command("check", site, "--boot", "--vo", "belle", "--timeout", str(PATIENCE))

    job = _submit(site)
    dirac.start_agent(OS_CLIENT_CONFIG_FILE=str(clouds))
    try:
        jobs.wait_for([job], {jobs.DONE}, PATIENCE)
        assert "hello from a new site" in jobs.output(job, "belle")["std.out"]
        (vm,) = _until_ended()
        assert (vm["site"], vm["outcome"], vm["jobs"], vm["zone"]) == (site, "Worked", 1, REAL_ZONE)
        assert vm["networks"]
    finally:
        dirac.processes.stop(["CloudDirector"])


def _submit(site: str) -> int:
    """As soon as DIRAC's services know the site: they take up a change of the CS when they read it again."""
    from DIRAC import gConfig

    end = time.monotonic() + PATIENCE
    while True:
        gConfig.forceRefresh()
        try:
            return jobs.submit("belle", "#!/bin/sh\necho hello from a new site\n", site=site)
        except LabError as error:
            assert "Invalid sites" in str(error) and time.monotonic() < end, error
            time.sleep(1)


def _until_ended() -> list[dict]:
    from JenniferDIRAC.WorkloadManagementSystem.Client.VirtualMachineManagerClient import VirtualMachineManagerClient

    client, end = VirtualMachineManagerClient(), time.monotonic() + PATIENCE
    while True:
        records = ask(client.getVirtualMachines, {}, 10)
        if records and all(record["state"] == "Ended" for record in records):
            return [ask(client.getVirtualMachine, record["vm_id"]) for record in records]
        assert time.monotonic() < end, records
        time.sleep(1)
