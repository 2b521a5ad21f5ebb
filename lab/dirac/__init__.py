"""A real, multi-VO DIRAC 9.1 server on this machine: no containers, no systemd, everything below one directory."""

from lab.dirac.server import FOREIGN_VARIABLES, Lab, LabError, home

__all__ = ["FOREIGN_VARIABLES", "Lab", "LabError", "home"]
