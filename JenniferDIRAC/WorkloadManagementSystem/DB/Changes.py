"""What may change of a VM's record and by which rules, whatever a store keeps it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from JenniferDIRAC.WorkloadManagementSystem.DB.Database import StoreError
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Outcome, VMState

_LAST_TIMES = frozenset({"heartbeat_at"})


class TransitionRefused(StoreError):
    """The life cycle does not allow this step."""


class NoOutcome(TransitionRefused):
    """A VM would end without an outcome."""

    def __init__(self, vm: str):
        super().__init__(f"VM {vm}: expected an outcome for a VM that ends, found none")


class UnknownVM(StoreError):
    """No VM, or more than one, answers to what was given."""


class UnknownId(UnknownVM):
    """No VM has that id."""

    def __init__(self, vm: str):
        super().__init__(f"no VM has the id '{vm}'")


class Facts(TypedDict, total=False):
    """What may be recorded of a VM besides its state. ``*_at`` are first times: what stands already is kept;
    but ``heartbeat_at`` is the last one."""

    server_id: str
    image: str
    flavor: str
    networks: str
    zone: str
    outcome: Outcome
    outcome_reason: str
    code: int
    jobs: int
    said_code: int
    said_reason: str
    pilot_entered_at: datetime
    first_word_at: datetime
    running_at: datetime
    matched_at: datetime
    pilot_finished_at: datetime
    console_tail: str
    no_room: bool
    heartbeat_at: datetime


@dataclass(frozen=True)
class Step:
    """A transition to be made, with the facts to record with it."""

    vm: str
    source: VMState
    target: VMState
    at: datetime
    reason: str
    actor: str = "director"
    facts: Facts = field(default_factory=Facts)


#: What a first time becomes, by its name and the time that is told: what stands already, if anything does.
FirstTime = Callable[[str, datetime], Any]


def values_of_facts(facts: Facts, first: FirstTime) -> dict[str, Any]:
    """The values of a record to set for these facts."""
    if unknown := facts.keys() - Facts.__annotations__.keys():
        raise TypeError(f"unknown facts {sorted(unknown)}: expected some of {sorted(Facts.__annotations__)}")
    return {
        name: first(name, value) if name.endswith("_at") and name not in _LAST_TIMES else value
        for name, value in facts.items()
    }


def values_of_step(step: Step, first: FirstTime) -> dict[str, Any]:
    """The values of a record to set for this step."""
    facts = step.facts
    if step.target is VMState.RUNNING:
        facts = Facts(running_at=step.at) | facts
    values = values_of_facts(facts, first) | {"state": step.target, "since": step.at}
    return values | {"ended_at": step.at} if step.target is VMState.ENDED else values
