"""Small values for the tests of reasons: a VM type of one site, and 10 o'clock."""

from datetime import UTC, datetime, timedelta

from JenniferDIRAC.WorkloadManagementSystem.DB.KeptPlan import KeptPlan
from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Limit, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Lever, LeverKind, VMTypeKey
from JenniferDIRAC.WorkloadManagementSystem.Why.Hindrance import Hindrance

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
EL9 = VMTypeKey("CLOUD.GRIF.fr", "grif", "el9")
LARGE = VMTypeKey("CLOUD.GRIF.fr", "grif", "large")
GRIF = EL9.endpoint
GRIF_CS = "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif"
FULL = "CLOUD.GRIF.fr/grif: MaxVMs 4 reached (4 in use); option CEs/grif/MaxVMs"
OPTIONS = {FULL: "CEs/grif/MaxVMs"}


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def lever(kind: LeverKind, id: int = 3, **other) -> Lever:
    values = {"id": id, "kind": kind, "who": "anna", "why": "disk migration", "since": ago(30)}
    return Lever(**values | other)


def unmet(limit: Limit = Limit.ENDPOINT_MAX_VMS, detail: str = FULL, cores: int = 2, queue: int = 7, **other) -> Unmet:
    return Unmet(queue, "belle", cores, limit, detail, **{"vm_type": EL9, **other})


def stopped(limit: Limit = Limit.ENDPOINT_MAX_VMS, detail: str = FULL, vm_type=EL9, **other) -> Stopped:
    return Stopped(vm_type, "belle", limit, detail, **{"option": OPTIONS.get(detail, ""), **other})


def plan(minutes: float = 0.2, *unmet: Unmet, stops=(), answers=None, director: str = "d1", **other) -> KeptPlan:
    answers = (Answer(7, "belle", 5, 1),) if answers is None else answers
    return KeptPlan(ago(minutes), director, tuple(answers), tuple(unmet), tuple(stops), **other)


def hindrance(limit: Limit = Limit.ENDPOINT_MAX_VMS, detail: str = FULL, **other) -> Hindrance:
    values = {"vm_type": EL9, "since": ago(12), "option": OPTIONS.get(detail, "")}
    return Hindrance(limit, detail, "belle", ago(0.5), **values | other)


def set_by(option: str, limit: Limit, text: str, **other) -> Hindrance:
    return hindrance(limit, f"{text}; option {option}", option=option, **other)


PAUSE = lever(LeverKind.PAUSE, 1, until=ago(-120), why="new release")
SO = "so for 12 min, since 09:48 UTC"
NO_ROOM = f"MaxVMs 4 reached (4 in use) ({GRIF_CS}/MaxVMs); {SO}"
IS_FULL = f"CLOUD.GRIF.fr/grif: {NO_ROOM}"
