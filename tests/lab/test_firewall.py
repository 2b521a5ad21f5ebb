"""The kernel's own firewall closes the metadata service to users, in a network of its own. Needs root."""

import subprocess
import sys
from pathlib import Path

import pytest

LIFE = """
import os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import Firewall
for command in ("ip link set lo up", "ip addr add 169.254.169.254/32 dev lo"):
    subprocess.check_call(command.split())
server = socket.create_server(("169.254.169.254", 80))
Firewall.find_tool = lambda root, name: "/usr/sbin/" + name if name in sys.argv[2].split(",") else None
print(Firewall.close_metadata(["169.254.169.254"], "/"))
for user in (0, 65534):
    if os.fork() == 0:
        os.setuid(user)
        try:
            socket.create_connection(("169.254.169.254", 80), 2)
            print(user, "comes through")
        except OSError:
            print(user, "does not")
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("tool", ["iptables"])
def test_the_real_firewall_lets_root_through_and_nobody_else(tool):
    command = ["unshare", "--net", sys.executable, "-uc", LIFE, str(Path(__file__).parents[2]), tool]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == [f"('', 'closed by {tool}')", "0 comes through", "65534 does not"], ran.stderr
