"""Vacuum mode: VMs that look for work nobody knows of, at endpoints whose site wants it."""

from __future__ import annotations

from collections.abc import Iterable

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ledger import Ledger
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Endpoint, Snapshot, TaskQueue


def probes(snapshot: Snapshot, groups: Iterable[Group], ledger: Ledger) -> list[Group]:
    """For each VO without waiting jobs that an endpoint could take: the VMs that are missing there.

    A VM counts until it got its first job. Where jobs wait, the ordinary rules are enough.
    """
    wanted = []
    demand: dict[str, list[Group]] = {}
    for group in groups:
        demand.setdefault(group.vo, []).append(group)
    refused = {vo.lower() for vo in snapshot.refused_vos}
    vos = sorted(vo for vo in snapshot.vos if vo.lower() not in refused)
    for endpoint in sorted(snapshot.endpoints, key=lambda endpoint: endpoint.key):
        for vo in vos if endpoint.probes else ():
            group = _missing(endpoint, vo, demand.get(vo.lower(), ()), ledger, -1 - len(wanted))
            if group is not None:
                wanted.append(group)
    return wanted


def _missing(endpoint: Endpoint, vo: str, demand: Iterable[Group], ledger: Ledger, order: int) -> Group | None:
    vm_types = [vm_type for vm_type in endpoint.vm_types if vm_type.serves(vo)]
    keys = frozenset(vm_type.key for vm_type in vm_types)
    known = any(vm_type.key in group.matches and group.at_once(vm_type) for group in demand for vm_type in vm_types)
    missing = endpoint.probes - ledger.searching(endpoint.key, vo.lower())
    if not keys or known or missing <= 0:
        return None
    group = Group(vo.lower(), 1, keys, probe=True)
    group.needs.append(Need(TaskQueue(0, vo, missing, matches=keys), group, order))
    return group
