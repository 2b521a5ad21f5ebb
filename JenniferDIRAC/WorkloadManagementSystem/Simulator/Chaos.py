"""The director under every fault at once: random work, clouds that fail and lie, a database and DIRAC services that go
away, records that are lost, operators with levers, a director that is killed at any point, and a second installation
on the same clouds.

After so many creates the faults stop, and everything must drain: no server or port leaked, nothing wrongly deleted, and
no hard limit exceeded and no lever ignored at any time.
``python -m JenniferDIRAC.WorkloadManagementSystem.Simulator.Chaos --help``
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from JenniferDIRAC.Resources.Cloud.FakeEndpoint import MENU, Call
from JenniferDIRAC.WorkloadManagementSystem.DB.VirtualMachineStore import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.Director.LeftoverSweep import LOOK_BACK
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey, Outcome, VMState, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Guest import Guest
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Operators import Operators
from JenniferDIRAC.WorkloadManagementSystem.Simulator.OurDirector import Crash, OurDirector
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Scenario, parse
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Workload import Submission, lognormal
from JenniferDIRAC.WorkloadManagementSystem.Simulator.World import World

RATE = 0.05
VOS = ("belle", "t2k.org", "hyperk.org")
THEIR_VO = "gridpp"
# Times are four times those of a real set-up, cycles included: the director looks back a day, and a million VMs in few
# days would make that the only thing it does.
POLLING = 120
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
STORE_TROUBLE, CRASH = 0.0005, 0.0005  # per operation and moment
AWAY, PAUSE, LOSS = 0.01, 0.0005, 0.002  # per cycle
_LONGEST_DRAIN = 10 * DAY
_TELL_EVERY = 10.0  # seconds of real time


def scenario(seed: int, rate: float = RATE) -> Scenario:
    """Four clouds with limits of every kind, and all faults of the menu."""
    faults = {call.value: {fault.name: rate for fault in sorted(MENU[call], key=lambda one: one.name)} for call in Call}
    types = [
        {"queue": "one", "cores": 1, "hours": 8, "max_vms": 12},
        {"queue": "four", "cores": 4, "ram_gib": 8, "hours": 8, "pool": True, "max_cores": 24},
    ]
    cloud = {
        "vm_types": types,
        "faults": faults,
        "sickness": {"never_speaks": rate, "pilot_fails": rate, "dies": rate},
        "start": {"launch_minutes": 2, "first_word_minutes": 2, "pilot_minutes": 2, "spread": 0.3},
        "foreign_cores": 3,
    }
    clouds = [
        {"site": "CLOUD.A.fr", "ce": "a", "max_vms": 16, "quota_cores": 60},
        {"site": "CLOUD.B.it", "ce": "b", "max_cores": 30, "quota_vms": 50},
        {"site": "CLOUD.C.uk", "ce": "c", "quota_cores": 40, "shares": {"belle": 50, "t2k.org": 20, "hyperk.org": 30}},
        {"site": "CLOUD.D.jp", "ce": "d", "max_vms": 20, "vo_limits": {"belle": {"max_vms": 8}}},
    ]
    policy = {
        "PollingTime": POLLING,
        "SettleTimeout": 480,
        "LaunchTimeout": 2400,
        "RegistrationTimeout": 3600,
        "PoweroffTimeout": 2400,
        "FizzleTime": 2400,
        "Backoff": 600,
    }
    content = {
        "vos": [*VOS, THEIR_VO],
        "days": 1e6,
        "seed": seed,
        "clouds": [cloud | one for one in clouds],
        "policy": policy,
    }
    return parse(content, "chaos")


def submissions(random: Random) -> Iterator[Submission]:
    """Random work without end."""
    at = 0.0
    while True:
        at += random.expovariate(1 / (1.5 * MINUTE))
        jobs = random.choice((1, 1, 2, 5, 20))
        seconds = tuple(lognormal(random, random.choice((3, 10, 30)) * MINUTE, 0.5) for _ in range(jobs))
        yield Submission(at, random.choice((*VOS, THEIR_VO)), seconds, random.choice((1, 1, 2, 4)))


@dataclass
class Findings:
    """What must not happen, each with its first few examples, and what did. ``seconds`` is how long the run took."""

    seed: int
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    days: float = 0.0
    seconds: float = 0.0

    def blame(self, what: str, example: str) -> None:
        self.wrong[what] += 1
        if self.wrong[what] <= 3:
            self.examples.append(f"{what}: {example}")


class Chaos:
    """One run. ``ours`` is the director that is watched most, ``theirs`` another installation's."""

    def __init__(self, seed: int, rate: float = RATE):
        self.random = Random(f"{seed}/chaos")
        self.findings = Findings(seed)
        self.world = World(scenario(seed, rate), submissions(Random(f"{seed}/work")))
        self.directors = OurDirector(self.world, "ours", VOS), OurDirector(self.world, "theirs", (THEIR_VO,))
        self._operators = {
            director.name: Operators(director, Random(f"{seed}/operators of {director.name}"), lambda: self.world.now)
            for director in self.directors
        }
        self._to_sweep: frozenset[tuple[EndpointKey, str]] = frozenset()
        self._trouble = True
        for director in self.directors:
            director.database.disturb = self._disturb
        self._of = {director.database.installation: director for director in self.directors}
        self.world.on_made, self.world.on_delete = self._made, self._deleted
        self._limits = tuple(self._hard_limits())

    def run(self, creates: int, tell: Callable[[str], None] = lambda text: None, until_wrong: bool = False) -> Findings:
        """Until so many creates were sent and all has drained.

        :param until_wrong: or until the first thing that must not happen
        """
        began = told = time.monotonic()
        while (sent := self.sent) < creates:
            if until_wrong and self.findings.wrong:
                return self.findings
            if self.random.random() < PAUSE:
                self.findings.happened["pauses of six hours"] += 1
                self._pass(6 * HOUR)
            self._cycles()
            self._pass(POLLING)
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                wrong = self.findings.wrong and f"WRONG {dict(self.findings.wrong)}: {self.findings.examples}"
                tell(f"{sent} creates, day {self.world.seconds / DAY:.1f}, {wrong or 'all holds'}")
        self._drain()
        self._judge()
        found = self.findings
        found.days, found.seconds = self.world.seconds / DAY, time.monotonic() - began
        found.happened["creates"] = self.sent
        for director in self.directors:
            found.outcomes += director.outcomes()
        return found

    @property
    def sent(self) -> int:
        return sum(cloud.calls[Call.CREATE] for cloud in self.world.clouds.values())

    # What happens

    def _pass(self, seconds: float) -> None:
        self.world.advance(self.world.seconds + seconds)

    def _cycles(self) -> None:
        for director in self.directors:
            if self._trouble:
                self._meddle(director)
                director.database.away = self.random.random() < AWAY
                director.dirac.away = {
                    service for service in ("Matcher", "PilotManager") if self.random.random() < AWAY
                }
            try:
                director.cycle()
            except StoreUnavailable:
                self.findings.happened["cycles without the database"] += 1
            except Crash:
                self.findings.happened["directors killed"] += 1
                director.restart()
            self._check_limits(director)

    def _meddle(self, director: OurDirector) -> None:
        """Between two cycles."""
        self.findings.happened["levers pulled"] += self._operators[director.name].act()
        if director.database.live and self.random.random() < LOSS:
            self.findings.happened["records lost"] += 1
            director.database.lose(self.random.choice(list(director.database.live)))

    def _disturb(self) -> None:
        """Before and after each operation of a store."""
        if not self._trouble:
            return
        drawn = self.random.random()
        if drawn < CRASH:
            raise Crash
        if drawn < CRASH + STORE_TROUBLE:
            self.findings.happened["operations with an unknown end"] += 1
            raise StoreUnavailable("lost connection")

    def _made(self, guest: Guest) -> None:
        director = self._of.get(guest.installation)
        if director is None or director.name != self.world.actor:
            self.findings.blame("a server of nobody", guest.settings.vm)
        else:
            self._check_limits(director)
            self._check_levers(director, guest)
        if self._trouble and self.random.random() < CRASH * 10:
            raise Crash  # between the create and the record of it

    def _deleted(self, actor: str, guest: Guest) -> None:
        owner = self._of[guest.installation]
        if owner.name != actor:
            self.findings.blame("a server of another installation was deleted", f"by {actor}: {guest.settings.vm}")
        settings = guest.settings
        operators = self._operators[owner.name]
        vm_type = VMTypeKey(settings.site, settings.ce, settings.queue)
        if wrong := operators.wrong_to_delete(settings.vm):
            self.findings.blame(wrong, settings.vm)
        # One that is drained by order and has no job to finish may go. An order that the cloud lost stands.
        has_jobs = guest.running and not self._was_to_go(owner, guest)
        if has_jobs or (guest.at_work and not operators.drains(vm_type, settings.vo, settings.vm)):
            history = "; ".join(
                f"{step.at:%d %H:%M} {step.target.value} ({step.reason})"
                for step in owner.store.history(guest.settings.vm)
            )
            self.findings.blame(
                "deleted while at work", f"{guest.settings.vm} with {len(guest.running)} jobs: {history}"
            )

    def _was_to_go(self, owner: OurDirector, guest: Guest) -> bool:
        """Whether its end was ordered by an operator before it had the first of the jobs that it runs."""
        record = owner.database.live.get(guest.settings.vm)
        if record is None or (record.state, record.outcome) != (VMState.DELETING, Outcome.KILLED):
            return False
        return self.world.seconds_of(record.since) <= min(since for _, since in guest.running.values())

    # What must hold

    def _hard_limits(self) -> Iterator[tuple[str, Callable[[VMTypeKey, str], bool], int | None, int | None]]:
        """Name, what it covers, most VMs and most cores."""
        for cloud in self.world.scenario.clouds:
            key = EndpointKey(cloud.site, cloud.ce)
            yield str(key), lambda vm_type, vo, key=key: vm_type.endpoint == key, cloud.max_vms, cloud.max_cores
            for one in cloud.vm_types:
                name = VMTypeKey(cloud.site, cloud.ce, one.queue)
                yield str(name), lambda vm_type, vo, name=name: vm_type == name, one.max_vms, one.max_cores
            for vo, limits in cloud.vo_limits.items():
                covers = lambda vm_type, of, key=key, vo=vo: (vm_type.endpoint, of) == (key, vo)  # noqa: E731
                yield f"{vo} at {key}", covers, limits.max_vms, limits.max_cores

    def _check_limits(self, director: OurDirector) -> None:
        """Records that are live, and servers that are there whatever the record says."""
        there = {record.vm_id: (record.vm_type, record.vo, record.cores) for record in director.database.live.values()}
        for key, cloud in self.world.clouds.items():
            for guest in cloud.guests.values():
                if guest.installation == director.database.installation:
                    settings = guest.settings
                    # Whose record is lost is the endpoint's: nobody knows of what type it is.
                    is_known = settings.vm in director.database.history
                    queue, vo = (settings.queue, settings.vo) if is_known else ("", "")
                    there[settings.vm] = VMTypeKey(key.site, key.ce, queue), vo, settings.cores
        for name, covers, max_vms, max_cores in self._limits:
            cores = [cores for vm_type, vo, cores in there.values() if covers(vm_type, vo)]
            if (max_vms is not None and len(cores) > max_vms) or (max_cores is not None and sum(cores) > max_cores):
                self.findings.blame(
                    "a hard limit was exceeded",
                    f"{director.name} day {self.world.seconds / DAY:.3f} {name}: {len(cores)} VMs, {sum(cores)} cores",
                )

    def _check_levers(self, director: OurDirector, guest: Guest) -> None:
        settings = guest.settings
        vm_type = VMTypeKey(settings.site, settings.ce, settings.queue)
        there = sum(record.endpoint == vm_type.endpoint for record in director.database.live.values())
        for wrong in self._operators[director.name].wrong_to_make(vm_type, settings.vo, there):
            self.findings.blame(wrong, f"{settings.vm} at {vm_type}, {there} there")

    def _drain(self) -> None:
        """No more faults and no more work: all comes to its end."""
        self._trouble = False
        self.world.faults_over = True
        self.world.stop_work()
        for director in self.directors:
            director.database.away, director.dirac.away = False, set()
            self._operators[director.name].release_all()
            director.restart()  # what a cloud refused once is asked for again
        self._to_sweep = frozenset(self._servers_to_sweep())
        until = self.world.seconds + _LONGEST_DRAIN
        while self.world.seconds < until and not self._is_empty():
            self._cycles()
            self._pass(POLLING)

    def _is_empty(self) -> bool:
        guests = any(cloud.guests for cloud in self.world.clouds.values())
        return not guests and not any(director.database.live for director in self.directors) and not self._ports()

    def _servers_to_sweep(self) -> Iterator[tuple[EndpointKey, str]]:
        """Those whose ports are to be gone in the end; what was refused for long is left to the cloud's admins."""
        for director in self.directors:
            ended = director.store.recent_ends(self.world.now - LOOK_BACK / 2)
            yield from ((record.endpoint, record.server_id) for record in (*director.database.live.values(), *ended))

    def _ports(self) -> list[str]:
        ports = {(key, port.server_id): port for key, cloud in self.world.clouds.items() for port in cloud.ports}
        left = ports.keys() & self._to_sweep
        return [ports[server].id for server in sorted(left - self._vanished())] if left else []

    def _vanished(self) -> frozenset[tuple[EndpointKey, str]]:
        """The servers that may come back, for all that is known."""
        ends = (
            end for director in self.directors for end in director.store.recent_ends(self.world.now - 9 * LOOK_BACK)
        )
        return frozenset((end.endpoint, end.server_id) for end in ends if end.outcome is Outcome.VANISHED)

    def _judge(self) -> None:
        for key, cloud in self.world.clouds.items():
            for guest in cloud.guests.values():
                self.findings.blame("a server leaked", f"{key}: {guest.settings.vm} of {guest.installation[:8]}")
            if not any(server.identity is None for server in cloud.list_servers()):
                self.findings.blame("a foreign server was deleted", str(key))
        for port in self._ports():
            self.findings.blame("a port leaked", port)
        for director in self.directors:
            for record in director.database.live.values():
                self.findings.blame("a record that never ends", f"{record.vm_id} {record.state.value}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=10_000, help="creates to send before all must drain")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same run")
    parser.add_argument("--rate", type=float, default=RATE, help="of each fault of each call (default: %(default)s)")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.creates} creates, {options.rate:.1%} of every fault", flush=True)
    found = Chaos(options.seed, options.rate).run(options.creates, lambda text: print(text, flush=True))
    print(f"{found.days:.1f} days in {found.seconds:.0f} s: {dict(found.happened)}")
    print(f"outcomes: {dict(found.outcomes)}")
    for example in found.examples:
        print(f"WRONG {example}")
    print("WRONG " + ", ".join(f"{n} x {what}" for what, n in found.wrong.items()) if found.wrong else "all held")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
