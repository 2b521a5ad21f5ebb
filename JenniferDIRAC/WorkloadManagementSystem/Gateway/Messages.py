"""What VMs and the gateway say to each other, version 1. What a VM says is untrusted: typed, bounded, never echoed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

_TOKEN = r"^[A-Za-z0-9_-]{43}$"
_MUCH = 2**53  # what every JSON library takes as a whole number
MAX_REASON = 1000


def _whole(value: Any) -> Any:
    """For JSON 7.0 is a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Token = Annotated[str, StringConstraints(pattern=_TOKEN)]
Amount = Annotated[int, Field(ge=0, le=_MUCH), BeforeValidator(_whole)]
Code = Annotated[Literal[100, 200, 300, 400, 500, 600, 700], BeforeValidator(_whole)]
Number = Annotated[float, Field(ge=0, le=_MUCH, allow_inf_nan=False)]
NoteName = Annotated[str, StringConstraints(min_length=1, max_length=32)]
NoteText = Annotated[str, StringConstraints(max_length=200)]


class FromVM(BaseModel):
    """Unknown keys are refused, nothing is converted, and no error repeats what was sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Redemption(FromVM):
    ticket: Token = Field(description="the VM's one-time ticket: 256 random bits as url-safe base64", repr=False)
    session: Token = Field(
        description="256 random bits of the same form, made by the VM: what it shows from now on. With the same "
        "session a VM whose answer was lost may ask again",
        repr=False,
    )


class Heartbeat(FromVM):
    phase: Literal["boot", "pilot", "end"] = Field(description="what the VM is at")
    uptime: Number | None = Field(None, description="seconds since its boot")
    load: Annotated[list[Number], Field(min_length=3, max_length=3)] | None = Field(
        None, description="mean numbers of running processes over 1, 5 and 15 minutes"
    )
    jobs: Amount | None = Field(None, description="payloads that run")
    disk_mib: Amount | None = Field(None, description="free disk of the payloads, in MiB")
    memory_mib: Amount | None = Field(None, description="available memory, in MiB")
    notes: Annotated[dict[NoteName, NoteText], Field(max_length=16)] | None = Field(
        None, description="short texts by short names, for an operator"
    )


class EndReport(FromVM):
    code: Code = Field(description="as HSF-TN-2016-04 has them")
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] = Field("", description="why, for an operator")


class Welcome(BaseModel):
    """Answer to a ticket."""

    envelope: dict[str, Any] = Field(
        description="what was sealed for this VM: its settings, its pilot credential, its program"
    )
    now: float = Field(description="seconds since 1970 by the gateway's clock")


class Orders(BaseModel):
    """Answer to a heartbeat."""

    drain: bool = Field(description="take no new payload; false again: go on as before")
    deadline: float | None = Field(description="be off by then, in seconds since 1970; null: no such time")
    now: float = Field(description="seconds since 1970 by the gateway's clock")


class LogSize(BaseModel):
    size: int = Field(ge=0, description="bytes that the gateway has of this log; 0: none")


class Health(BaseModel):
    status: Literal["ok"]
    version: str


class Refusal(BaseModel):
    detail: str = Field(description="why, in words")
