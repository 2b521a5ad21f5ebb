"""The pilot's side of the lab: a file server, and a small stand-in for Pilot 3, whose scripts are in no registry."""
