"""Where the needs of one VO meet the VM types that have room, the best pair first.

A VO's pairs are far too many to look at each (hundreds of task queues times hundreds of VM types), and each create
changes the rank of some. So the VM types stand in one heap, each with a heap of the groups of task queues that it
matches, and ranks are brought up to date when they come to the top: within a plan a rank only ever gets worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace
from itertools import islice

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ledger import Offer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMType, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Places import Stop

#: So many VM types' limits are told of a task queue that gets nothing.
SHOWN = 3
# Of VM types of one shape only the best so many are looked at for that: there may be hundreds.
_OF_A_SHAPE = 2
#: What decides how many jobs fit into a VM of a type, and how many cores they waste.
Shape = tuple[int, int, bool]


def shape(vm_type: VMType) -> Shape:
    return vm_type.cores, vm_type.slots, vm_type.fills_cores


class Stall:
    """Needs of one group as a VM of one shape serves them.

    ``best`` is the one that wastes the fewest cores, of those the one with the fewest VMs of this plan, after these
    ranks; None when all are served.
    """

    __slots__ = ("matches", "probe", "best", "_at_once", "_cores", "_processors", "_needs")

    def __init__(self, group: Group, kind: Shape, at_once: int):
        self.matches, self.probe = group.matches, group.probe
        self._at_once, self._cores, self._processors = at_once, kind[0], group.processors
        self._needs = [(self._waste(need), need.created, need.order, need) for need in group.needs if need.unserved]
        heapify(self._needs)
        self.best = self._needs[0] if self._needs else None

    def _waste(self, need: Need) -> int:
        return self._cores - min(-(-need.left // JOB), self._at_once) * self._processors

    def refresh(self) -> None:
        """A VM was started for one of the needs."""
        needs = self._needs
        while needs:
            waste, created, order, need = needs[0]
            if not need.unserved:
                heappop(needs)
            elif created != need.created or waste != self._waste(need):
                heapreplace(needs, (self._waste(need), need.created, order, need))
            else:
                break
        self.best = needs[0] if needs else None


class Market:
    """All pairs of one VO, which is in lower case; ``offers`` are those of the VM types that it may use."""

    def __init__(self, vo: str, groups: Iterable[Group], offers: Iterable[Offer]):
        self.vo = vo
        self.asked = {offer.vm_type.key: offer for offer in offers}
        self._stalls: dict[Shape, list[Stall]] = {}
        self._of_group: dict[Group, list[Stall]] = {}
        self._of_offer: dict[Offer, list[tuple]] = {}
        self._ranked: dict[Shape, list[tuple]] | None = None
        self._whys: dict[tuple[Group, int], tuple[Stop, VMTypeKey] | None] = {}
        self._firsts: dict[tuple[frozenset[VMTypeKey], Shape], list[tuple]] = {}
        self._open(tuple(groups))

    def _open(self, groups: Iterable[Group]) -> None:
        least: dict[Shape, int] = {}
        self._heap: list[tuple] = []
        for offer in self.asked.values():
            if offer.stop() is not None:
                continue
            kind = shape(offer.vm_type)
            if kind not in least:
                stalls = self._stalls[kind] = []
                for group in groups:
                    if at_once := group.at_once(offer.vm_type):
                        stalls.append(Stall(group, kind, at_once))
                        self._of_group.setdefault(group, []).append(stalls[-1])
                least[kind] = min((stall.best[0] for stall in stalls if stall.best), default=0)
            # As good as it can be; what it really is turns out when it comes to the top.
            self._heap.append((False, *offer.standing, least[kind], -offer.room.free_cores, offer.order, offer))
        heapify(self._heap)

    def best(self) -> tuple[Offer, Need] | None:
        """The pair that is next for this VO, or None when nothing more can be started for it."""
        heap = self._heap
        while heap:
            probe, _, _, _, waste, minus_free, order, offer = heap[0]
            free = -offer.room.free_cores
            if free != minus_free:
                heapreplace(heap, (probe, *offer.standing, waste, free, order, offer))
                continue
            best = self._best_stall(offer) if offer.stop() is None else None
            if best is None:
                heappop(heap)
                continue
            waste_now, _, _, need = best.best
            if waste_now == waste and best.probe == probe:
                return offer, need
            heapreplace(heap, (best.probe, *offer.standing, waste_now, free, order, offer))
        return None

    def started(self, need: Need) -> None:
        """A VM was started for it."""
        for stall in self._of_group[need.group]:
            stall.refresh()

    def _best_stall(self, offer: Offer) -> Stall | None:
        stalls = self._of_offer.get(offer)
        if stalls is None:
            key = offer.vm_type.key
            stalls = [
                (stall.probe, stall.best, stall)
                for stall in self._stalls[shape(offer.vm_type)]
                if key in stall.matches and stall.best is not None
            ]
            heapify(stalls)
            self._of_offer[offer] = stalls
        while stalls:
            probe, best, stall = stalls[0]
            if best is stall.best:
                return stall
            if stall.best is None:
                heappop(stalls)
            else:
                heapreplace(stalls, (probe, stall.best, stall))
        return None

    def why(self, need: Need) -> tuple[Stop, VMTypeKey] | None:
        """What stopped the best of the VM types that could serve the need, with those of the next in the text; None
        when none ever could."""
        if self._ranked is None:
            self._ranked = _by_shape(sorted(_standing(offer) for offer in self.asked.values()))
            self._largest = max((kind[0] for kind in self._ranked), default=1)
        # As many jobs as fill any VM are as good as more.
        kind = need.group, min(need.jobs_left, self._largest)
        if kind not in self._whys:
            self._whys[kind] = _joined(self._rank(*kind))
        return self._whys[kind]

    def _rank(self, group: Group, jobs: int) -> list[Offer]:
        ranked = []
        for kind, entries in (self._ranked or {}).items():
            at_once = group.at_once(entries[0][-1].vm_type)
            if not at_once:
                continue
            waste = kind[0] - min(jobs, at_once) * group.processors
            for *standing, minus_free, order, offer in self._first(group.matches, kind, entries):
                ranked.append((*standing, waste, minus_free, order, offer))
        return [entry[-1] for entry in sorted(ranked)[: SHOWN + 1]]

    def _first(self, matches: frozenset[VMTypeKey], kind: Shape, entries: list[tuple]) -> list[tuple]:
        found = self._firsts.get((matches, kind))
        if found is None:
            matching = (entry for entry in entries if entry[-1].vm_type.key in matches)
            found = self._firsts[matches, kind] = list(islice(matching, _OF_A_SHAPE))
        return found


def _joined(offers: list[Offer]) -> tuple[Stop, VMTypeKey] | None:
    stops = [stop for offer in offers if (stop := offer.stop()) is not None]
    if not stops:
        return None
    details = list(dict.fromkeys(stop.detail for stop in stops))
    more = "; and so on" if len(details) > SHOWN else ""
    return Stop(stops[0].limit, "; ".join(details[:SHOWN]) + more), offers[0].vm_type.key


def _standing(offer: Offer) -> tuple:
    endpoint = offer.room.endpoint
    unusable = bool(endpoint.unusable) or endpoint.servers is None
    return unusable, *offer.standing, -offer.room.free_cores, offer.order, offer


def _by_shape(entries: Iterable[tuple]) -> dict[Shape, list[tuple]]:
    shapes: dict[Shape, list[tuple]] = {}
    for entry in entries:
        shapes.setdefault(shape(entry[-1].vm_type), []).append(entry)
    return shapes
