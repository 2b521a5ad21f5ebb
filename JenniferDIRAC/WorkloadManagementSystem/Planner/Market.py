"""Where the needs of one VO meet the VM types that have room, the best pair first.

A VO's pairs are far too many to look at each (hundreds of task queues times hundreds of VM types), and each create
changes the rank of some. So pairs that differ only in their endpoint's room, or only in their task queue, share a
``Stall``, and ranks are brought up to date when they come to the top: within a plan a rank only ever gets worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace
from itertools import islice

from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ledger import Offer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMType, VMTypeKey

#: So many VM types' limits are told of a task queue that gets nothing.
SHOWN = 4
#: What decides how many jobs fit into a VM of a type, and how many cores they waste.
Shape = tuple[int, int, bool]


def shape(vm_type: VMType) -> Shape:
    return vm_type.cores, vm_type.slots, vm_type.fills_cores


def _entry(offer: Offer) -> tuple:
    return (*offer.standing, -offer.room.free_cores, offer.order, offer)


class Stall:
    """Needs of one group, and the VM types of one shape that can serve them."""

    __slots__ = ("group", "offers", "needs", "at_once", "cores")

    def __init__(self, group: Group, offers: list[tuple]):
        self.group = group
        self.offers = offers  # shared by the stalls of groups that match the same; sorted, thus a heap
        vm_type = offers[0][-1].vm_type
        self.at_once, self.cores = group.at_once(vm_type), vm_type.cores
        self.needs = [(self._waste(need), need.created, need.order, need) for need in group.needs if need.unserved]
        heapify(self.needs)

    def _waste(self, need: Need) -> int:
        return self.cores - min(-(-need.left // JOB), self.at_once) * self.group.processors

    def best(self) -> tuple | None:
        """The rank of its best pair, the smaller the better, with the pair at its end; None when there is none."""
        offers, needs = self.offers, self.needs
        while offers:
            *_, minus_free, _, offer = offers[0]
            if offer.stop() is not None:
                heappop(offers)
            elif minus_free != -offer.room.free_cores:
                heapreplace(offers, _entry(offer))
            else:
                break
        else:
            return None
        while needs:
            waste, created, order, need = needs[0]
            if not need.unserved:
                heappop(needs)
            elif created != need.created or waste != self._waste(need):
                heapreplace(needs, (self._waste(need), need.created, order, need))
            else:
                return self.group.probe, *offer.standing, waste, minus_free, offer.order, created, order, offer, need
        return None


class Market:
    """All pairs of one VO, which is in lower case; ``offers`` are those of the VM types that it may use."""

    def __init__(self, vo: str, groups: Iterable[Group], offers: Iterable[Offer]):
        self.vo = vo
        self.asked = {offer.vm_type.key: offer for offer in offers}
        open_offers = sorted(_entry(offer) for offer in self.asked.values() if offer.stop() is None)
        self._ranked: dict[Shape, list[tuple]] | None = None
        self._firsts: dict[tuple[frozenset[VMTypeKey], Shape], list[tuple]] = {}
        shapes: dict[Shape, list[tuple]] = _by_shape(open_offers)
        shared: dict[tuple[frozenset[VMTypeKey], Shape], list[tuple]] = {}
        self._heap: list[tuple] = []
        for group in groups:
            for kind, entries in shapes.items():
                if not group.at_once(entries[0][-1].vm_type):
                    continue
                matching = shared.get((group.matches, kind))
                if matching is None:
                    matching = [entry for entry in entries if entry[-1].vm_type.key in group.matches]
                    shared[group.matches, kind] = matching
                if matching:
                    stall = Stall(group, matching)
                    if (best := stall.best()) is not None:
                        self._heap.append((*best, stall))
        # No two ranks are alike before the pair itself: a need has an order of its own, an offer too.
        heapify(self._heap)

    def best(self) -> tuple[Offer, Need] | None:
        """The pair that is next for this VO, or None when nothing more can be started for it."""
        heap = self._heap
        while heap:
            *rank, stall = heap[0]
            best = stall.best()
            if best is None:
                heappop(heap)
            elif best == tuple(rank):
                return best[-2], best[-1]
            else:
                heapreplace(heap, (*best, stall))
        return None

    def candidates(self, need: Need) -> list[Offer]:
        """The best of the VM types that could serve the need, had they the room; empty when there is none at all."""
        group = need.group
        if self._ranked is None:
            self._ranked = _by_shape(sorted((_is_unusable(offer), *_entry(offer)) for offer in self.asked.values()))
        ranked = []
        for kind, entries in self._ranked.items():
            at_once = group.at_once(entries[0][-1].vm_type)
            if not at_once:
                continue
            waste = kind[0] - min(need.jobs_left, at_once) * group.processors
            for *standing, minus_free, order, offer in self._first(group.matches, kind, entries):
                ranked.append((*standing, waste, minus_free, order, offer))
        return [entry[-1] for entry in sorted(ranked)[:SHOWN]]

    def _first(self, matches: frozenset[VMTypeKey], kind: Shape, entries: list[tuple]) -> list[tuple]:
        found = self._firsts.get((matches, kind))
        if found is None:
            matching = (entry for entry in entries if entry[-1].vm_type.key in matches)
            found = self._firsts[matches, kind] = list(islice(matching, SHOWN))
        return found


def _is_unusable(offer: Offer) -> bool:
    endpoint = offer.room.endpoint
    return bool(endpoint.unusable) or endpoint.servers is None


def _by_shape(entries: Iterable[tuple]) -> dict[Shape, list[tuple]]:
    shapes: dict[Shape, list[tuple]] = {}
    for entry in entries:
        shapes.setdefault(shape(entry[-1].vm_type), []).append(entry)
    return shapes
