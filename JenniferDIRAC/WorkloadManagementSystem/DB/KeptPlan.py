"""A plan as it is kept for whoever asks why, and its form in the database: one JSON document, compressed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from JenniferDIRAC.WorkloadManagementSystem.Planner.Decision import Answer, Create, Stopped, Unmet
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey


class UnreadablePlan(Exception):
    """This version cannot read what was kept."""


def _as_pairs(answer: Answer) -> dict[str, Any]:
    """JSON has no keys but text."""
    values = {name: getattr(answer, name) for name in Answer.__dataclass_fields__}
    return values | {"started": [(asdict(vm_type), vms) for vm_type, vms in answer.started.items()]}


def _from_pairs(answer: Any) -> Any:
    if isinstance(answer, Answer):
        return answer
    return answer | {"started": dict(answer["started"])}


def _known(values: dict[str, Any]) -> Any:
    """A VM type's key is one object for the same words, which only its own class sees to."""
    return VMTypeKey(**values) if values.keys() == VMTypeKey.__dataclass_fields__.keys() else values


@dataclass(frozen=True)
class KeptPlan:
    """What one cycle of one director decided, and what stopped the rest.

    ``director`` is the holder's name, ``refused`` says why a VO cannot be served, ``problem`` why demand is unknown,
    ``unusable`` by "site/ce" why nothing could be started there, whether or not anything was wanted.
    """

    at: datetime
    director: str
    answers: tuple[Annotated[Answer, BeforeValidator(_from_pairs), PlainSerializer(_as_pairs)], ...] = ()
    unmet: tuple[Unmet, ...] = ()
    stops: tuple[Stopped, ...] = ()
    creates: tuple[Create, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    unusable: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> bytes:
        """All of it but ``at``: the same decision gives the same bytes."""
        return zlib.compress(_PLANS.dump_json(replace(self, at=datetime.fromtimestamp(0, UTC))))

    @staticmethod
    def of(document: bytes, at: datetime) -> KeptPlan:
        """:raises UnreadablePlan: another version kept it"""
        try:
            return replace(_PLANS.validate_python(json.loads(zlib.decompress(document), object_hook=_known)), at=at)
        except (zlib.error, ValueError, KeyError, TypeError) as error:  # pydantic's is a ValueError
            raise UnreadablePlan(repr(error)) from error


_PLANS = TypeAdapter(KeptPlan)
