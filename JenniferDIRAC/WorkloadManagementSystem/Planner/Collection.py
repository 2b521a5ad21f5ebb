"""Garbage collection: our servers that no record knows, as after a database was restored from yesterday's copy.

A record is made before its server, so such a server is nobody's work in progress. Still it is deleted only when several
complete listings in a row held it, and for a while, and not as long as its pilot may be at work.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Collect
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import PilotState, Snapshot, UnknownServer
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy
from JenniferDIRAC.WorkloadManagementSystem.Planner.Watch import Watch, watches

# One listing is never enough, whatever ``missed_listings`` says.
_STRIKES = 2
_LATEST = datetime.max.replace(tzinfo=UTC)


def collect(snapshot: Snapshot, policy: Policy, now: datetime) -> tuple[Collect, ...]:
    """What to delete now: at each endpoint the oldest first, those of unknown age last."""
    watch = watches(snapshot, policy, now)
    collects: list[Collect] = []
    for endpoint in sorted(snapshot.endpoints, key=lambda endpoint: endpoint.key):
        if endpoint.servers is None or endpoint.suspect_since is not None:
            continue
        left_over = [server for server in endpoint.unknown if _is_garbage(server, watch[endpoint.key])]
        left_over.sort(key=lambda server: (server.created_at or _LATEST, server.id))
        collects += [
            Collect(endpoint.key, server.id, server.vm, _reason(server))
            for server in left_over[: policy.max_collects_per_cycle]
        ]
    return tuple(collects)


def _is_garbage(server: UnknownServer, watch: Watch) -> bool:
    policy, age = watch.policy, _age(server, watch)
    if age is None or server.seen < max(_STRIKES, policy.missed_listings) or age < policy.gc_min_age:
        return False
    may_work = server.pilot in (PilotState.RUNNING, PilotState.NOT_ASKED)
    return not may_work or (server.created_at is not None and age > policy.max_lifetime)


def _age(server: UnknownServer, watch: Watch) -> timedelta | None:
    """How old it is, as far as it is known: where the cloud does not tell, as old as the director's watch."""
    began = server.created_at or watch.since
    return None if began is None else watch.now - began


def _reason(server: UnknownServer) -> str:
    since = f", made at {server.created_at:%Y-%m-%d %H:%M} UTC" if server.created_at else ""
    return f"No record knows this server of ours (VM {server.vm} of {server.vo}{since})."
