"""Which VM types tell their VMs today what none was told before: a director's memory of what the database said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from JenniferDIRAC.ConfigurationSystem.PlannerTerms import type_key
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextVersion import Recipient
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import VirtualMachineStore
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Trial, VMRecord
from JenniferDIRAC.WorkloadManagementSystem.Director.Briefing import Briefing
from JenniferDIRAC.WorkloadManagementSystem.Planner.Canary import lived
from JenniferDIRAC.WorkloadManagementSystem.Planner.Health import Scope
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import TaskQueue, VirtualMachine, VMTypeKey


class Trials:
    """The database is asked once for each version, after the director's start or when it is another one; from then on
    the VMs tell."""

    def __init__(self, store: VirtualMachineStore):
        self._store = store
        self._known: dict[Scope, Trial] = {}
        self._untried: set[Scope] = set()

    def untried(
        self, versions: Mapping[Recipient, str], vms: Iterable[VirtualMachine], ends: Iterable[VMRecord]
    ) -> dict[Scope, str]:
        """Those of today's versions that are still to be tried on one VM.

        :param ends: VMs that ended since the last cycle, and any before
        :raises StoreUnavailable: it is not known
        """
        today = {one.scope: Trial(type_key(one.vm_type), one.vo, version) for one, version in versions.items()}
        news = {scope: trial for scope, trial in today.items() if self._known.get(scope) != trial}
        if news:
            untried = self._store.untried(frozenset(news.values()))
            self._untried = (self._untried - news.keys()) | {scope for scope in news if news[scope] in untried}
            self._known |= news
        if self._untried:
            proofs = chain((vm for vm in vms if lived(vm)), (end for end in ends if end.lived))
            tried = {(proof.vm_type, proof.vo.lower(), proof.version) for proof in proofs}
            self._untried = {scope for scope in self._untried if (*scope, self._known[scope].version) not in tried}
        return {scope: self._known[scope].version for scope in self._untried & today.keys()}


def recipients(queues: Iterable[TaskQueue], briefing: Briefing) -> Iterator[Recipient]:
    """For whom VMs may be started in this cycle."""
    matches: dict[str, set[VMTypeKey]] = {}
    for queue in queues:
        matches.setdefault(queue.vo.lower(), set()).update(queue.matches)
    for key, config in briefing.configs.items():
        for vm_type in config.vm_types if key not in briefing.others else ():
            for vo, profile in briefing.profiles.items():
                wanted = config.vacuum_vms or type_key(vm_type) in matches.get(vo.lower(), ())
                if wanted and vm_type.serves(vo):
                    yield Recipient(config, vm_type, profile, vo, briefing.director)
