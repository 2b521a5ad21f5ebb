"""Contestants create, list and delete the same servers of the same Nova, one after the other, in several rounds."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, median, variance

from openstack.connection import Connection

from benchmarks.child import Child
from benchmarks.contestants.lane import Task
from lab.openstack.cloud import FLAVOR, IMAGE, REGION, Cloud, Project

# A list takes too little time to be measured once; a look at each server alone takes enough.
_LEAST_LOOKS, _MOST_LOOKS, _LOOK_SECONDS = 5, 20, 15.0
_SETTLE_DEADLINE = 600.0  # seconds until all servers are ACTIVE, or gone
_POLL = 0.5  # seconds
LOGIN = "POST /auth/tokens"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A contestant: ``fresh`` ones begin their lives anew in each round, the others live through all of them.

    ``turns``: in each round; more for those that are to be told apart by less than one measurement scatters.
    """

    name: str
    module: str
    python: Path
    fresh: bool = False
    turns: int = 1


BARE = Entry("floor", "floor", Path(sys.executable), turns=2)


@dataclass(frozen=True)
class Ratio:
    """Of two times: the ratio of their geometric means, and two standard errors to each side of it."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, mine: Iterable[float], least: Iterable[float]) -> Ratio:
        sides = [[math.log(seconds) for seconds in side] for side in (mine, least)]
        difference = fmean(sides[0]) - fmean(sides[1])
        error = 2 * math.sqrt(sum(variance(side) / len(side) for side in sides if len(side) > 1))
        return cls(*(math.exp(difference + shift) for shift in (0, -error, error)))


@dataclass
class Times:
    """Of one contestant, in seconds, turn by turn; requests of the last turn, logins of all its life.

    ``bare_look`` is the floor's look at this contestant's servers.
    """

    create: list[float] = field(default_factory=list)
    active: list[float] = field(default_factory=list)
    look: list[float] = field(default_factory=list)
    bare_look: list[float] = field(default_factory=list)
    delete: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    logins: int = 0

    def slower(self, floor: Times, phase: str) -> Ratio:
        """How many times the floor's time it took."""
        return Ratio.of(getattr(self, phase), self.bare_look if phase == "look" else getattr(floor, phase))


def race(
    cloud: Cloud, project: Project, entries: Iterable[Entry], servers: int, connections: int, rounds: int, say: Say
) -> dict[str, Times]:
    """Every other round in the opposite order: what one leaves warm or tired is another's next time."""
    entries = list(entries)
    referee = Referee(cloud.connect(project))
    task = Task(
        auth_url=cloud.auth_url,
        region=REGION,
        project=project.name,
        user=project.user,
        password=project.password,
        image=IMAGE,
        image_id=referee.connection.image.find_image(IMAGE, ignore_missing=False).id,
        flavor=FLAVOR,
        flavor_id=referee.connection.compute.find_flavor(FLAVOR, ignore_missing=False).id,
        servers=servers,
        connections=connections,
        user_data_bytes=12000,
    )
    times = {entry.name: Times() for entry in entries}
    most = max(entry.turns for entry in entries)

    def begin(entry: Entry, task: Task = task) -> Child:
        return Child(entry.name, entry.module, entry.python, asdict(task))

    with ExitStack() as lives:
        bare = lives.enter_context(begin(BARE, replace(task, servers=connections)))
        living = {entry: lives.enter_context(begin(entry)) for entry in entries if not entry.fresh}
        say("a small round first that does not count: Nova's own caches fill")
        _run(bare, bare, Times(), referee, connections, new=True)
        for round in range(rounds):
            turns = [entry for turn in range(most) for entry in entries if turn < entry.turns]
            for entry in turns[:: -1 if round % 2 else 1]:
                last = times[entry.name]
                with ExitStack() as life:
                    contestant = living.get(entry) or life.enter_context(begin(entry))
                    _run(contestant, bare, last, referee, servers, new=entry.fresh or not last.create)
                say(
                    f"round {round + 1} of {rounds}: {entry.name}: {servers} created in {last.create[-1]:.1f} s (ACTIVE"
                    f" {last.active[-1]:.0f} s), listed in {last.look[-1]:.2f} s, deleted in {last.delete[-1]:.1f} s"
                )
    return times


def _run(contestant: Child, bare: Child, times: Times, referee: Referee, servers: int, new: bool) -> None:
    """One contestant's turn, from no servers to no servers."""
    answers = {"prepare": contestant.order("prepare")} if new else {}
    begin = time.perf_counter()
    answers["create"] = contestant.order("create")
    referee.wait_until_active(servers, contestant.name)
    times.active.append(time.perf_counter() - begin)

    looks: list[dict] = []
    bare_looks: list[dict] = []
    begin = time.perf_counter()
    while len(looks) < _LEAST_LOOKS or (len(looks) < _MOST_LOOKS and time.perf_counter() - begin < _LOOK_SECONDS):
        for one, taken in [(bare, bare_looks), (contestant, looks)][:: -1 if len(looks) % 2 else 1]:
            taken.append(one.order("look"))
    for seen in (look["value"] for look in looks):
        if seen != servers:
            raise SystemExit(f"{contestant.name} saw {seen} servers, expected {servers}")
    answers["look"] = looks[-1]
    answers["refresh"] = contestant.order("cycle")  # with whatever is remembered for some minutes
    answers["cycle"] = contestant.order("cycle")

    begin = time.perf_counter()
    answers["delete"] = contestant.order("delete")
    referee.wait_until_gone()
    times.gone.append(time.perf_counter() - begin)

    times.create.append(answers["create"]["seconds"])
    times.look.append(median(look["seconds"] for look in looks))
    times.bare_look.append(median(look["seconds"] for look in bare_looks))
    times.delete.append(answers["delete"]["seconds"])
    times.requests.update({order: answer["requests"] for order, answer in answers.items()})
    times.logins += sum(answer["requests"].get(LOGIN, 0) for answer in [*answers.values(), *looks[:-1]])


@dataclass(frozen=True)
class Referee:
    """Tells when the cloud has carried out what it took."""

    connection: Connection

    def wait_until_active(self, servers: int, whose: str) -> None:
        def all_active() -> bool:
            listed = Counter(server.status for server in self.connection.compute.servers())
            if listed["ERROR"]:
                raise SystemExit(f"{listed['ERROR']} servers of {whose} are in ERROR: is the lab's Nova well?")
            return listed["ACTIVE"] == servers

        _wait_until(all_active, f"{servers} servers of {whose} are ACTIVE")

    def wait_until_gone(self) -> None:
        _wait_until(lambda: not list(self.connection.compute.servers(details=False)), "all servers are gone")


def _wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SETTLE_DEADLINE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{_SETTLE_DEADLINE:.0f} s were not enough until {what}")
        time.sleep(_POLL)
