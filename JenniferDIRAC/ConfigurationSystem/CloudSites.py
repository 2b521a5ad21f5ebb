"""All endpoints of the CS, read with DIRAC's own helpers; what is wrong with one disables that one only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client.Helpers.Registry import getVOs
from DIRAC.ConfigurationSystem.Client.Helpers.Resources import getQueues
from DIRAC.Core.Utilities.List import fromChar
from DIRAC.Core.Utilities.ReturnValues import returnValueOrRaise
from DIRAC.WorkloadManagementSystem.Utilities.QueueUtilities import getQueuesResolved

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import (
    CE_TYPE_PREFIX,
    DEFAULT_SI00,
    DIRAC_CE_WORDS,
    DIRAC_QUEUE_WORDS,
    CESection,
    EndpointConfig,
    LimitOptions,
    QueueSection,
    SharedOptions,
    VMTypeConfig,
    VOLimits,
)
from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem, did_you_mean, shown
from JenniferDIRAC.ConfigurationSystem.TemplateParts import OPTION as TEMPLATE_PARTS
from JenniferDIRAC.ConfigurationSystem.TemplateParts import Layer, parts_of

_SITES = "/Resources/Sites"
_SHARES = "Shares"
_VO_LIMITS = "VOLimits"
Value = TypeVar("Value")


@dataclass(frozen=True)
class CloudSites:
    """The endpoints that can be used, and everything that is wrong with the others."""

    endpoints: tuple[EndpointConfig, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()


@dataclass(frozen=True)
class _CE:
    """Where a CE stands in the CS."""

    grid: str
    site: str
    name: str

    @property
    def path(self) -> str:
        return f"{_SITES}/{self.grid}/{self.site}/CEs/{self.name}"


def read_cloud_sites() -> CloudSites:
    """Every CE of ``/Resources/Sites`` whose CEType begins with Jennifer; none at all is no mistake."""
    ces = _all_ces()
    uses = Counter(ce.name for ce in ces)
    ce_types = {ce: gConfig.getValue(f"{ce.path}/CEType", "") for ce in ces}
    ours = [ce for ce in ces if ce_types[ce].startswith(CE_TYPE_PREFIX)]
    queues = returnValueOrRaise(getQueues(ceTypeList=sorted({ce_types[ce] for ce in ours}))) if ours else {}
    endpoints: dict[_CE, EndpointConfig] = {}
    problems: list[ConfigProblem] = []
    for ce in ours:
        try:
            if uses[ce.name] > 1:
                raise ConfigError([_shared_name(ce, ces)])
            endpoints[ce] = _endpoint(ce, queues.get(ce.site, {}).get(ce.name, {}))
        except ConfigError as error:
            problems.extend(error.problems)
    shared = _shared_directories(endpoints)
    problems.extend(shared.values())
    return CloudSites(tuple(config for ce, config in endpoints.items() if ce not in shared), tuple(problems))


def _all_ces() -> list[_CE]:
    return [
        _CE(grid, site, name)
        for grid in gConfig.getSections(_SITES).get("Value", [])
        for site in gConfig.getSections(f"{_SITES}/{grid}").get("Value", [])
        for name in gConfig.getSections(f"{_SITES}/{grid}/{site}/CEs").get("Value", [])
    ]


def _shared_name(ce: _CE, ces: list[_CE]) -> ConfigProblem:
    others = ", ".join(other.site for other in ces if other.name == ce.name and other != ce)
    hint = "pilot.json and DIRAC's look-ups go by the CE's name alone; rename one"
    return ConfigProblem(ce.path, "a CE name that no other site uses", f"the same name at {others}", hint)


def _shared_directories(endpoints: Mapping[_CE, EndpointConfig]) -> dict[_CE, ConfigProblem]:
    """The endpoints that would take each other's servers for their own."""
    uses = Counter(config.state_directory for config in endpoints.values() if config.state_directory)
    return {
        ce: ConfigProblem(
            f"{ce.path}/StateDirectory", "a directory that no other endpoint uses", str(config.state_directory)
        )
        for ce, config in endpoints.items()
        if config.state_directory and uses[config.state_directory] > 1
    }


def _endpoint(ce: _CE, merged: Mapping[str, Any]) -> EndpointConfig:
    """The endpoint of one CE; ``merged`` are its options as ``getQueues`` gives them, with ``Queues``."""
    own = returnValueOrRaise(gConfig.getOptionsDict(ce.path))
    queues: Mapping[str, Mapping[str, str]] = merged.get("Queues", {})
    # Options at the site's CEs level are for CEs of all kinds: what is not ours there is no mistake.
    inherited = {name: value for name, value in merged.items() if name in CESection.options() and name not in own}
    sections = {ce.path: inherited | own} | {f"{ce.path}/Queues/{queue}": options for queue, options in queues.items()}
    shares, vo_sections = _vo_sections(ce)
    sections |= {f"{ce.path}/{_VO_LIMITS}/{vo}": options for vo, options in vo_sections.items()}
    if secrets := [problem for path, options in sections.items() for problem in find_secrets(path, options)]:
        raise ConfigError(secrets)
    _refuse_sections(ce, queues, vo_sections)
    problems: list[ConfigProblem] = []
    try:
        section = CESection.read(ce.path, inherited | own, DIRAC_CE_WORDS)
    except ConfigError as error:
        problems.extend(error.problems)
    for queue, options in queues.items():
        try:
            QueueSection.read(f"{ce.path}/Queues/{queue}", options, DIRAC_QUEUE_WORDS)
        except ConfigError as error:
            problems.extend(error.problems)
    vo_limits = {}
    for vo, options in vo_sections.items():
        try:
            vo_limits[vo] = VOLimits.read(f"{ce.path}/{_VO_LIMITS}/{vo}", options)
        except ConfigError as error:
            problems.extend(error.problems)
    weights, wrong = _weights(f"{ce.path}/{_SHARES}", shares)
    if problems := problems + wrong:
        raise ConfigError(problems)
    site_vos = gConfig.getValue(f"{_SITES}/{ce.grid}/{ce.site}/VO", [])
    vos = _as_registered(section.vos or site_vos)
    return EndpointConfig(
        site=ce.site,
        ce=ce.name,
        vos=vos,
        shares=_by_registered(f"{ce.path}/{_SHARES}", weights),
        vo_limits=_by_registered(f"{ce.path}/{_VO_LIMITS}", vo_limits),
        vm_types=_vm_types(ce, merged, vos),
        **section.model_dump(exclude={"vos", *SharedOptions.model_fields}),
    )


def _vm_types(ce: _CE, merged: Mapping[str, Any], vos: frozenset[str]) -> tuple[VMTypeConfig, ...]:
    """The VM types of a CE whose sections are all valid, resolved by DIRAC as it does it for a SiteDirector."""
    section = deepcopy(dict(merged))
    for options in section["Queues"].values():
        if "CPUTime" not in options:
            options.setdefault("SI00", str(DEFAULT_SI00))
    resolved = returnValueOrRaise(getQueuesResolved({ce.site: {ce.name: section}}))
    inherited = {name: value for name, value in section.items() if name in SharedOptions.options()}
    known = SharedOptions.options() | LimitOptions.options()
    vm_types = []
    for queue in resolved.values():
        name, options = queue["QueueName"], queue["ParametersDict"]
        words = inherited | {word: value for word, value in options.items() if word in known}
        words[TEMPLATE_PARTS] = parts_of(_named_parts(ce, name))
        words |= {"Tag": sorted(options["Tag"]), "RequiredTag": sorted(options["RequiredTag"])}
        words |= {
            "site": ce.site,
            "ce": ce.name,
            "queue": name,
            "vos": _as_registered(fromChar(options.get("VO", ""))) or vos,
            "cpu_time": int(options["CPUTime"]),
            "wall_time": timedelta(minutes=int(options["maxCPUTime"])),
        }
        vm_types.append(VMTypeConfig.read(f"{ce.path}/Queues/{name}", words))
    return tuple(vm_types)


def _named_parts(ce: _CE, queue: str) -> dict[Layer, Any]:
    """What a VM type's layers name; a CE would inherit the site's and hide them by its own."""
    places = {
        Layer.SITE: f"{_SITES}/{ce.grid}/{ce.site}/CEs",
        Layer.ENDPOINT: ce.path,
        Layer.VM_TYPE: f"{ce.path}/Queues/{queue}",
    }
    return {layer: gConfig.getValue(f"{path}/{TEMPLATE_PARTS}", []) for layer, path in places.items()}


def _as_registered(vos: Iterable[str]) -> frozenset[str]:
    """VOs as the Registry spells them, because DIRAC compares these lists without case; unknown ones as they are."""
    registered = getVOs().get("Value", [])
    spelling = {vo.lower(): vo for vo in registered}
    return frozenset(vo if vo in registered else spelling.get(vo.lower(), vo) for vo in vos)


def _by_registered(path: str, options: Mapping[str, Value]) -> dict[str, Value]:
    """Options by VO, each spelt as in the Registry.

    :raises ConfigError: two of them are the same VO
    """
    named: dict[str, str] = {}
    for vo in options:
        (name,) = _as_registered([vo])
        if name in named:
            hint = "VO names have no case"
            raise ConfigError([ConfigProblem(f"{path}/{vo}", "each VO once", f"{named[name]} and {vo}", hint)])
        named[name] = vo
    return {name: options[vo] for name, vo in named.items()}


def _vo_sections(ce: _CE) -> tuple[Mapping[str, str], dict[str, Mapping[str, str]]]:
    """The options of ``Shares``, and those of ``VOLimits`` by VO; both sections may be missing."""
    limits = f"{ce.path}/{_VO_LIMITS}"
    vos = gConfig.getSections(limits).get("Value", [])
    return gConfig.getOptionsDict(f"{ce.path}/{_SHARES}").get("Value", {}), {
        vo: gConfig.getOptionsDict(f"{limits}/{vo}").get("Value", {}) for vo in vos
    }


def _weights(path: str, shares: Mapping[str, str]) -> tuple[dict[str, float], list[ConfigProblem]]:
    weights, problems = {}, []
    for vo, value in shares.items():
        try:
            weights[vo] = float(value)
        except ValueError:
            weights[vo] = -1.0
        if not 0 <= weights[vo] < float("inf"):
            problems.append(ConfigProblem(f"{path}/{vo}", "a number, at least 0", shown(value)))
    return weights, problems


def _refuse_sections(
    ce: _CE, queues: Mapping[str, Mapping[str, str]], vo_sections: Mapping[str, Mapping[str, str]]
) -> None:
    known = {ce.path: ["Queues", _SHARES, _VO_LIMITS], f"{ce.path}/{_SHARES}": []}
    known |= {f"{ce.path}/Queues/{queue}": [] for queue in queues}
    known |= {f"{ce.path}/{_VO_LIMITS}/{vo}": [] for vo in vo_sections}
    problems = [
        ConfigProblem(f"{path}/{name}", "a section that exists", f"{name}, which does not", did_you_mean(name, names))
        for path, names in known.items()
        for name in gConfig.getSections(path).get("Value", [])
        if name not in names
    ]
    if not queues:
        problems.append(ConfigProblem(f"{ce.path}/Queues", "at least one queue, that is a VM type", "none"))
    if problems:
        raise ConfigError(problems)
