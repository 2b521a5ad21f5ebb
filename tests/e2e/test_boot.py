"""The golden image boots on the embedded cloud, does what its user-data says, and switches itself off."""

import os
import select
import uuid
from pathlib import Path

import pytest

from JenniferDIRAC.Resources.Cloud.Choice import choose_flavor, choose_image
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity, ServerRequest, ServerStatus
from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint, _processes
from lab.dirac import home
from lab.image import golden_image

# Without KVM on a busy machine; a quiet one needs a fifth of it.
BOOT_SECONDS = 240

USER_DATA = b"""#cloud-config
write_files:
  - path: /root/credential
    permissions: '0600'
    content: hush
  - path: /root/try
    permissions: '0755'
    content: |
      #!/bin/bash
      stat -c 'credential %a %U' /root/credential
      runuser -u dirac -- cat /root/credential 2>/dev/null || echo 'dirac cannot read it'
      ip -4 -o addr show eth0
      runuser -u dirac -- bash -c '. /opt/dirac/diracosrc; export DIRAC_NO_CFG=1; cd
        python -c "import DIRAC.WorkloadManagementSystem.Agent.JobAgent; print(\\"imports JobAgent\\")"
        python -c "import os, sys; print(\\"python is\\", os.path.realpath(sys.executable))"
        for command in configure platform proxy-info admin-add-pilot resource-get-parameters wms-get-wn-parameters \\
          wms-cpu-normalization wms-get-queue-cpu-time
        do dirac-$command --help >/dev/null && echo "runs $command"; done'
      poweroff
runcmd:
  - [bash, -c, "/root/try >/dev/ttyS0 2>&1"]
"""


@pytest.fixture(scope="module")
def images() -> Path:
    return golden_image(home() / "images").parent


def test_a_vm_runs_its_user_data_with_dirac_ready_and_switches_itself_off(images, tmp_path):
    cloud = QEMUEndpoint("here", tmp_path, images)
    catalogue = cloud.catalogue()
    request = ServerRequest(
        identity=Identity(uuid.uuid4().hex, uuid.uuid4().hex, "belle", 1),
        image=choose_image("dirac_version>=9.1", catalogue),
        flavor=choose_flavor("cores>=1, ram>=1", catalogue),
        user_data=USER_DATA,
    )
    server = cloud.create_server(request)
    try:
        (pid,) = _processes()[server.id]
        process = os.pidfd_open(pid)
        ended = select.select([process], [], [], BOOT_SECONDS)[0]
        os.close(process)
        console = cloud.console_log(server.id)
        assert ended, console
        assert cloud.find_server(server.name).status is ServerStatus.STOPPED
    finally:
        cloud.delete_server(server.id)
    assert "credential 600 root" in console
    assert "dirac cannot read it" in console
    assert "10.0.2.15/24" in console
    assert "imports JobAgent" in console
    assert "python is /opt/dirac/bin/python" in console
    assert console.count("runs ") == 8, console
    assert "Traceback" not in console
    assert os.listdir(tmp_path) == []
