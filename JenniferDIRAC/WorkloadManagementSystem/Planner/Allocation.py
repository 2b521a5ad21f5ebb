"""Which VMs to start for the jobs that wait, and for each job that gets none the limit that stopped it.

One turn is one VM. For each VO its best pair of task queue and VM type stands for it: known jobs before probes,
endpoints of a higher priority first, then where the VO has a share, then the VM type that boots best, then the one that
wastes the fewest cores, then the endpoint with the most free cores. Of the VOs the one whose pair is at the endpoint of
the highest priority goes first, then the one that uses least for its share there. Whoever wants room gets it, so what
one VO does not use is lent to the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Create, Limit, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Demand import JOB, Group, Need
from JenniferDIRAC.WorkloadManagementSystem.Planner.Ledger import Ledger, Offer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Market import Market
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Snapshot, VMType, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Planner.Places import Stop


@dataclass(frozen=True, slots=True)
class Allocation:
    """Creates in the order of sending, what stays unmet by task queue, and what stopped each VM type that was asked."""

    creates: tuple[Create, ...]
    unmet: tuple[Unmet, ...]
    stops: tuple[Stopped, ...]


def allocate(snapshot: Snapshot, groups: Iterable[Group], ledger: Ledger) -> Allocation:
    """Starts VMs for all needs of the groups that are not served yet, as far as there is room."""
    groups = [group for group in groups if any(need.unserved for need in group.needs)]
    vm_types = sorted(
        (vm_type for endpoint in snapshot.endpoints for vm_type in endpoint.vm_types),
        key=lambda vm_type: (vm_type.key.site, vm_type.key.ce, vm_type.key.queue),
    )
    refused = _refused(snapshot, groups)
    by_vo: dict[str, list[Group]] = {}
    for group in groups:
        if group.vo not in refused:
            by_vo.setdefault(group.vo, []).append(group)
    markets = {vo: _market(vo, of_vo, vm_types, ledger) for vo, of_vo in sorted(by_vo.items())}
    creates = tuple(_turns(markets, ledger))
    unmet: list[Unmet] = []
    for group in groups:
        for need in group.needs:
            if need.unserved and not group.probe:
                market = markets.get(group.vo)
                unmet.append(_unmet(need, refused[group.vo]) if market is None else _stopped(need, market, vm_types))
    names = {vo.lower(): vo for vo in snapshot.vos}
    stops = [
        Stopped(offer.vm_type.key, names[vo], stop.limit, stop.detail, stop.left, stop.option)
        for vo, market in markets.items()
        for offer in market.asked.values()
        if (stop := offer.stopped) is not None
    ]
    return Allocation(
        creates,
        tuple(sorted(unmet, key=lambda item: item.task_queue)),
        tuple(stops),
    )


def _refused(snapshot: Snapshot, groups: Iterable[Group]) -> dict[str, Stop]:
    """The VOs among them that get nothing at any endpoint, whatever room there is."""
    reasons = {vo.lower(): reason for vo, reason in snapshot.refused_vos.items()}
    served = {vo.lower() for vo in snapshot.vos}
    refused = {}
    for group in groups:
        if group.vo in reasons or group.vo not in served:
            reason = reasons.get(group.vo, "this director does not serve the VO")
            refused[group.vo] = Stop(Limit.VO_NOT_SERVED, f"{group.needs[0].queue.vo}: {reason}")
    return refused


def _market(vo: str, groups: list[Group], vm_types: Iterable[VMType], ledger: Ledger) -> Market:
    matched: set[VMTypeKey] = set().union(*{group.matches for group in groups})
    known: dict[frozenset[str], bool] = {}
    offers = []
    for order, vm_type in enumerate(vm_types):
        if vm_type.vos not in known:
            known[vm_type.vos] = vm_type.serves(vo)
        if known[vm_type.vos] and vm_type.key in matched:
            offers.append(ledger.offer(vm_type, vo, order))
    return Market(vo, groups, offers)


def _turns(markets: dict[str, Market], ledger: Ledger) -> Iterable[Create]:
    bids: dict[str, tuple[int, float, str, Offer, Need] | None] = {vo: _bid(market) for vo, market in markets.items()}
    while best := min((bid for bid in bids.values() if bid is not None), default=None):
        *_, vo, offer, need = best
        yield _start(offer, need, ledger)
        markets[vo].started(need)
        for other, bid in bids.items():
            # What was started elsewhere does not change what is best for another VO.
            if bid is not None and (other == vo or bid[3].room.quota is offer.room.quota):
                bids[other] = _bid(markets[other])


def _bid(market: Market) -> tuple[int, float, str, Offer, Need] | None:
    best = market.best()
    if best is None:
        return None
    offer, need = best
    return -offer.room.endpoint.priority, offer.room.shares.ratio(market.vo), market.vo, offer, need


def _start(offer: Offer, need: Need, ledger: Ledger) -> Create:
    vm_type = offer.vm_type
    ledger.create(offer)
    worth = JOB if need.group.probe else ledger.success(vm_type.key)
    need.left -= min(need.left, need.group.at_once(vm_type) * worth)
    need.started[vm_type.key] = need.started.get(vm_type.key, 0) + 1
    need.created += 1
    return Create(vm_type.key, need.queue.vo, vm_type.cores, vm_type.ram_mib, need.queue.id)


def _stopped(need: Need, market: Market, vm_types: Iterable[VMType]) -> Unmet:
    queue, why = need.queue, market.why(need)
    if why is not None:
        return _unmet(need, *why)
    known = sum(1 for vm_type in vm_types if vm_type.key in queue.matches)
    return _unmet(
        need,
        Stop(
            Limit.NO_MATCHING_VM_TYPE,
            f"no VM type takes {queue.processors}-core jobs of {queue.vo} from task queue {queue.id} "
            f"(the Matcher names {known} of the VM types; none is for this VO and large enough)",
        ),
    )


def _unmet(need: Need, stop: Stop, vm_type: VMTypeKey | None = None) -> Unmet:
    queue = need.queue
    return Unmet(queue.id, queue.vo, need.jobs_left * queue.processors, stop.limit, stop.detail, vm_type)
