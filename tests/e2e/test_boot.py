"""The golden image boots on the embedded cloud, does what its user-data says, and switches itself off."""

import os

from one_vm import whole_life

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


def test_a_vm_runs_its_user_data_with_dirac_ready_and_switches_itself_off(tmp_path):
    console = whole_life(tmp_path, USER_DATA)
    assert "credential 600 root" in console
    assert "dirac cannot read it" in console
    assert "10.0.2.15/24" in console
    assert "imports JobAgent" in console
    assert "python is /opt/dirac/bin/python" in console
    assert console.count("runs ") == 8, console
    assert "Traceback" not in console
    assert os.listdir(tmp_path) == []
