"""A real OpenStack on this machine, for the demo and the tests: no containers, no systemd, all below one directory."""

from lab.openstack.cloud import Cloud, Project
from lab.openstack.server import OpenStackLab

__all__ = ["Cloud", "OpenStackLab", "Project"]
