"""Virtual machines that are not what their VM type would boot today: another image, flavor or size of flavor."""

from __future__ import annotations

from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.Observation import Offering
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState


def drift(record: VMRecord, offering: Offering | None) -> str:
    """In what a VM differs from what its VM type would boot today. While that is not known no VM differs, but one that
    drains stays as it is."""
    if offering is None or offering.choice is None:
        return "what is booted today is not known" if record.state is VMState.DRAINING else ""
    image, flavor = offering.choice.image, offering.choice.flavor
    differences = []
    if record.image not in ("", image.id):
        differences.append(f"image {record.image}, now {image.id} ({image.name})")
    if record.flavor not in ("", flavor.id):
        differences.append(f"flavor {record.flavor}, now {flavor.id} ({flavor.name})")
    elif (record.cores, record.ram_mib) != (flavor.cores, flavor.ram_mib):
        size = f"{record.cores} cores, {record.ram_mib} MiB"
        differences.append(f"flavor {flavor.name} of {size}, now {flavor.cores} cores, {flavor.ram_mib} MiB")
    return "; ".join(differences)
