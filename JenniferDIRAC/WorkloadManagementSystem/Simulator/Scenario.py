"""What is simulated: clouds, VOs and their work, as a YAML or JSON file that refuses what it does not know."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import FAKE, Allotment, EndpointConfig, LimitOptions, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import MENU, Call, Fault
from JenniferDIRAC.WorkloadManagementSystem.Context.PilotCommand import IDLE_OPTIONS

SHIPPED = resources.files("JenniferDIRAC.WorkloadManagementSystem.Simulator") / "scenarios"
SUFFIX = ".yaml"
IMAGE = "el9"

Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0)]


class ScenarioError(Exception):
    """A scenario or trace that cannot be used; the text says where and why."""


class _Part(BaseModel):
    # Options of the CS go by their Python names alone here (from pydantic 2.11 on; an older one knows both).
    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_alias=False, validate_by_name=True)


class Start(_Part):
    """How long a VM takes to its first job: minutes from the request to ACTIVE, from there to its first word, from
    there to its pilot's first request for a job. Each is drawn from a log-normal distribution around these medians;
    ``spread`` is the sigma of the logarithm (0: always the same)."""

    launch_minutes: Amount = 4
    first_word_minutes: Amount = 3
    pilot_minutes: Amount = 3
    spread: Annotated[float, Field(ge=0, le=1)] = 0.15

    @property
    def minutes(self) -> float:
        return self.launch_minutes + self.first_word_minutes + self.pilot_minutes


class Sickness(_Part):
    """What goes wrong inside VMs, as a part of all: ``never_speaks`` (no first word, no pilot), ``pilot_fails`` (it
    says an error and ends), ``dies`` (stops in the middle of its life without a word)."""

    never_speaks: Rate = 0
    pilot_fails: Rate = 0
    dies: Rate = 0


class Pilot(_Part):
    """How a pilot asks for jobs: after the n-th request in vain it sleeps ``polling`` × (n + 1) × 2 seconds, and it
    ends when more than ``stop_after`` in a row were in vain, or after ``max_cycles`` jobs and requests (DIRAC's
    JobAgent)."""

    polling: Amount = 20
    stop_after: Annotated[int, Field(ge=0)] = 10
    max_cycles: Positive = 10


def _our_pilot() -> Pilot:
    """What the director gives to its pilots."""
    words = {name: int(value) for word in IDLE_OPTIONS if "=" in word for name, value in [word.split("=")]}
    return Pilot(
        polling=words["--PollingTime"], stop_after=words["--StopAfterFailedMatches"], max_cycles=int(IDLE_OPTIONS[-1])
    )


class SimulatedVMType(_Part, LimitOptions):
    """A VM type with its limits. ``hours`` is for how long its pilot takes jobs; ``pool``: one VM runs several jobs at
    once."""

    queue: str
    cores: Positive = 1
    ram_gib: Positive = 2
    vos: frozenset[str] = frozenset()
    hours: Amount = 48
    pool: bool = False


class Cloud(_Part, Allotment):
    """An endpoint with the options and sections of its CE that deal out its room (MaxVMs, Priority, Shares and so on).
    ``quota_cores`` and ``quota_vms`` are the cloud's own, ``foreign_cores`` are in use by others for ever. ``faults``:
    by call and fault of the menu, the part of calls."""

    site: str
    ce: str
    vm_types: Annotated[tuple[SimulatedVMType, ...], Field(min_length=1)]
    quota_cores: int | None = None
    quota_vms: int | None = None
    foreign_cores: int = 0
    start: Start = Start()
    sickness: Sickness = Sickness()
    faults: dict[Call, dict[str, Rate]] = {}

    @model_validator(mode="after")
    def _faults_are_on_the_menu(self) -> Self:
        for call, rates in self.faults.items():
            for name in rates:
                if name not in Fault.__members__ or Fault[name] not in MENU[call]:
                    menu = ", ".join(sorted(fault.name for fault in MENU[call]))
                    raise ValueError(f"{call.value} cannot have the fault {name}; it can have {menu}")
        return self

    def fault_rates(self) -> dict[tuple[Call, Fault], float]:
        return {(call, Fault[name]): rate for call, rates in self.faults.items() for name, rate in rates.items()}

    def config(self) -> EndpointConfig:
        """The endpoint as the director reads it from the CS."""
        vm_types = tuple(
            VMTypeConfig(
                site=self.site,
                ce=self.ce,
                queue=one.queue,
                vos=one.vos,
                cpu_time=int(one.hours * 36000),  # of a core of 10 HS06
                wall_time=one.hours * 3600,
                image=f"name:{IMAGE}",
                flavor=f"name:{one.queue}",
                local_ce_type="Pool" if one.pool else "",
                **_same(one, LimitOptions),
            )
            for one in self.vm_types
        )
        return EndpointConfig(site=self.site, ce=self.ce, ce_type=FAKE, vm_types=vm_types, **_same(self, Allotment))


def _same(part: LimitOptions, model: type[LimitOptions]) -> dict[str, Any]:
    return {name: getattr(part, name) for name in model.model_fields}


class _Work(_Part):
    """Work of one VO: jobs of ``processors`` processors that run for ``hours`` (the median; ``spread`` as of a start),
    submitted from day ``from_day`` to day ``to_day`` (the end of the simulation)."""

    vo: str
    processors: Positive = 1
    hours: Amount = 4
    spread: Annotated[float, Field(ge=0, le=2)] = 0.5
    from_day: Annotated[float, Field(ge=0)] = 0
    to_day: float | None = None


class Steady(_Work):
    """Single jobs at random times, so many that they keep about ``cores`` cores busy."""

    kind: Literal["steady"]
    cores: Amount


class Burst(_Work):
    """``jobs`` jobs at once, about every ``every_hours`` hours at random (0: once)."""

    kind: Literal["burst"]
    jobs: Positive
    every_hours: Annotated[float, Field(ge=0)] = 0


class Campaign(_Work):
    """``jobs`` jobs in batches of ``batch``, spread evenly from ``from_day`` to ``to_day``."""

    kind: Literal["campaign"]
    jobs: Positive
    batch: Positive = 100


Work = Annotated[Steady | Burst | Campaign, Field(discriminator="kind")]


class Scenario(_Part):
    """A simulation. ``policy`` holds options of the agent's section by their CS names, such as ``MaxBooting: 40``.
    ``pilot`` is how the director's pilots ask for jobs. ``warm_up_days`` are not measured."""

    about: str = ""
    days: Amount = 30
    seed: int = 1
    warm_up_days: Annotated[float, Field(ge=0)] = 0
    vos: Annotated[tuple[str, ...], Field(min_length=1)]
    clouds: Annotated[tuple[Cloud, ...], Field(min_length=1)]
    workload: tuple[Work, ...] = ()
    policy: dict[str, int | float | str] = {}
    pilot: Pilot = Field(default_factory=_our_pilot)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        known = set(self.vos)
        named = {work.vo for work in self.workload} | {vo for cloud in self.clouds for vo in cloud.shares}
        named |= {vo for cloud in self.clouds for vm_type in cloud.vm_types for vo in vm_type.vos}
        if unknown := named - known:
            raise ValueError(f"VO {', '.join(sorted(unknown))} is not in vos ({', '.join(sorted(known))})")
        places = [(cloud.site, cloud.ce) for cloud in self.clouds]
        if len(set(places)) < len(places):
            raise ValueError("two clouds have the same site and ce")
        try:
            self.director_config()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def director_config(self) -> DirectorConfig:
        """The agent's section."""
        options = {name: f"{value:g}" if isinstance(value, float) else value for name, value in self.policy.items()}
        return DirectorConfig.read("policy", {"VO": ", ".join(self.vos)} | options)

    def changed(self, **values: object) -> Scenario:
        """The scenario with other values, judged again.

        :raises ScenarioError: they do not fit
        """
        return parse(self.model_dump() | values, "the options given")


def shipped() -> dict[str, str]:
    """Names of the scenarios that come with the package, and what they are about."""
    return {name: load(name).about for name in _names()}


def load(name: str) -> Scenario:
    """A scenario by its file, or by the name of a shipped one.

    :raises ScenarioError: there is no such file, or something in it is wrong
    """
    path = SHIPPED / f"{name}{SUFFIX}" if name in _names() else Path(name)
    try:
        text = path.read_text()
    except OSError as error:
        near = difflib.get_close_matches(name, _names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; shipped are {', '.join(_names())}"
        raise ScenarioError(f"scenario {name}: no such file{hint} ({error.strerror})") from None
    try:
        content = yaml.safe_load(text)  # JSON is YAML too
    except yaml.YAMLError as error:
        raise ScenarioError(f"scenario {name}: neither YAML nor JSON: {error}") from None
    return parse(content, f"scenario {name}")


def parse(content: object, source: str) -> Scenario:
    """:raises ScenarioError: with one line for each thing that is wrong"""
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        lines = (f"{source}: {_place(each['loc'])}{each['msg']}" for each in error.errors())
        raise ScenarioError("\n".join(lines)) from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def _names() -> list[str]:
    return sorted(file.name.removesuffix(SUFFIX) for file in SHIPPED.iterdir() if file.name.endswith(SUFFIX))
