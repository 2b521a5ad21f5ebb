"""What the planner may do: time-outs and caps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """Time-outs and caps; each default carries its reason in ``docs/configuration.md``."""

    settle_timeout: timedelta = timedelta(minutes=2)  # intent without a server in two listings: it was never made
    launch_timeout: timedelta = timedelta(minutes=10)  # request to ACTIVE
    registration_timeout: timedelta = timedelta(minutes=15)  # ACTIVE to first word
    poweroff_timeout: timedelta = timedelta(minutes=10)  # pilot finished to server STOPPED
    max_lifetime: timedelta = timedelta(days=7)
    fizzle_time: timedelta = timedelta(minutes=10)  # a VM that ends sooner without a job or a reason fizzled
    backoff: timedelta = timedelta(minutes=5)
    max_booting: int = 20  # per endpoint
    max_creates_per_cycle: int = 10  # per endpoint
    max_deletes_per_cycle: int = 20  # per endpoint
    missed_listings: int = 2  # complete listings without a server before its record believes it
    suspect_timeout: timedelta = timedelta(minutes=30)  # a list that stays suspect for longer is believed
    idle_timeout: timedelta = timedelta(minutes=15)  # pilot at work and never a job
    heartbeat_timeout: timedelta = timedelta(minutes=15)  # of a VM that once sent one
    lease: timedelta = timedelta(hours=1)  # a VM without a gateway for so long, and without a job, ends itself
    drain_timeout: timedelta = timedelta(hours=24)  # Draining to its end; drained so long before max_lifetime
    delete_timeout: timedelta = timedelta(minutes=30)  # then a delete is asked for less often, and told
    no_room_ttl: timedelta = timedelta(minutes=3)  # doubles with each time in a row
    no_room_ttl_max: timedelta = timedelta(minutes=30)
    lend_after: timedelta = timedelta(minutes=5)  # room left so long by others is lent
    health_window: int = 8  # so many boots of a VM type measure its boot success
    turnover_boots: int = 1  # jobs that VMs at work take within so many boot times are left to them
    slow_start: timedelta = timedelta(minutes=12)  # from create to first word; later it is unready
    max_unready_percent: int = 45  # of an endpoint's VMs, and more than 3 of them: nothing more is started
    gc_min_age: timedelta = timedelta(minutes=5)  # a server that no record knows is left alone for so long
    max_collects_per_cycle: int = 20  # per endpoint
    drift_percent: int = 10  # of an endpoint's VMs are drained at once for an old image; at least one
    max_kill_percent: int = 10  # of an endpoint's VMs that show life are ended by time-outs per cycle; at least one
