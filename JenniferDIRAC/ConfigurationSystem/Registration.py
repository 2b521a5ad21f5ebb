"""What registering an endpoint makes of the CS: pure, from the CS as it is to the CS as it is to be, and their diff."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from diraccfg import CFG

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CE_TYPE_PREFIX, CESection, SharedOptions
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem

SITES = "/Resources/Sites"
GRIDS = ("CLOUD", "VCYCLE")
_SITE = re.compile(r"(?P<grid>[^.]+)\.[A-Za-z0-9][A-Za-z0-9_-]*\.[a-z]{2,3}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A queue's own MaxVMs is another limit beside the CE's; VO and all others are the queue's instead of the CE's.
_OF_ENDPOINT = frozenset(CESection.options()) - frozenset(SharedOptions.options()) - {"VO"}
_OF_QUEUE = ("Image", "Flavor", "maxCPUTime")


@dataclass(frozen=True)
class Registration:
    """An endpoint with one VM type, as the options of its CE and queue sections; others that stand there stay.

    An option "" is removed. ``queue`` "": of the endpoint only, its VM types stay as they are.
    """

    site: str
    ce: str
    queue: str
    ce_options: Mapping[str, str]
    queue_options: Mapping[str, str]

    @property
    def path(self) -> str:
        """The CE's section."""
        return f"{site_path(self.site)}/CEs/{self.ce}"

    @property
    def queue_path(self) -> str:
        return f"{self.path}/Queues/{self.queue}"

    @property
    def options(self) -> dict[str, str]:
        """All options by their full path."""
        of_queue = self.queue_options if self.queue else {}
        return {f"{self.path}/{name}": value for name, value in self.ce_options.items()} | {
            f"{self.queue_path}/{name}": value for name, value in of_queue.items()
        }


@dataclass(frozen=True)
class Change:
    """What becomes of one site. ``options`` are those to set, or with "" to remove, by full path; none: the CS says
    all of it already."""

    site: str
    before: CFG
    after: CFG
    options: Mapping[str, str]

    @cached_property
    def diff(self) -> str:
        """A unified diff of the site's part of the CS, without the comments."""
        before, after = (_site_text(cfg, self.site).splitlines(keepends=True) for cfg in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, "CS as it is", "CS as it will be"))


def site_path(site: str) -> str:
    return f"{SITES}/{site.split('.')[0]}/{site}"


def check_names(site: str, ce: str = "", queue: str = "") -> None:
    """:raises ConfigError: a name that DIRAC or JenniferDIRAC would not take"""
    problems = []
    match = _SITE.fullmatch(site)
    if match is None:
        problems.append(
            ConfigProblem(SITES, "a site name GRID.Name.country such as CLOUD.GRIF.fr or VCYCLE.Napoli.it", site)
        )
    elif match["grid"] not in GRIDS:
        hint = "virtual machines are started at these only; sites of other grids have their own SiteDirector"
        problems.append(ConfigProblem(SITES, f"a site of the grids {' or '.join(GRIDS)}", site, hint))
    problems += [
        ConfigProblem(f"{SITES}/…/{section}", "a name of letters, digits, dots, dashes and underscores", name)
        for section, name in (("CEs", ce), ("Queues", queue))
        if name and not _NAME.fullmatch(name)
    ]
    if problems:
        raise ConfigError(problems)


def change(current: CFG, registration: Registration) -> Change:
    """The change that makes the CS say all of the registration.

    :param current: the whole CS
    :raises ConfigError: a name that cannot be used, or a CE of another kind has it
    """
    check_names(registration.site, registration.ce, registration.queue)
    ce_type = str(value_of(current, f"{registration.path}/CEType") or "")
    if ce_type and not ce_type.startswith(CE_TYPE_PREFIX):
        path = f"{registration.path}/CEType"
        raise ConfigError([ConfigProblem(path, f"{CE_TYPE_PREFIX}… or nothing", ce_type, "choose another CE name")])
    after = current.clone()
    options = {}
    for path, value in registration.options.items():
        if not same(value_of(current, path) or "", value):
            options[path] = value
            _set(after, path, value)
    return Change(registration.site, current, after, options)


@dataclass(frozen=True)
class Standing:
    """What the CS says of an endpoint already, as DIRAC inherits it: from ``site`` (what is there for all CEs of it)
    to CE to queue. Read from the sections as they are, so that one which is not valid can be mended."""

    path: str
    site: Mapping[str, str]
    ce: Mapping[str, str]
    queues: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, cfg: CFG, site: str, ce: str) -> Standing:
        path = f"{site_path(site)}/CEs/{ce}"
        vos = value_of(cfg, f"{site_path(site)}/VO")
        return cls(
            path,
            ({"VO": vos} if vos else {}) | section_of(cfg, f"{site_path(site)}/CEs"),
            section_of(cfg, path),
            {queue: section_of(cfg, f"{path}/Queues/{queue}") for queue in sections_of(cfg, f"{path}/Queues")},
        )

    def value(self, option: str, queue: str = "") -> str:
        """What counts for the VM type; without one, for those that have none of their own."""
        return self.queues.get(queue, {}).get(option) or self.ce.get(option) or self.site.get(option, "")

    def own_values(self, option: str) -> tuple[str, ...]:
        """Those that VM types have instead of the CE's."""
        return tuple(options[option] for options in self.queues.values() if option in options)

    def place(self, queue: str, values: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
        """The options that the CE's and the queue's section need for these values: none for what counts already, each
        where it stands, and none where it would change other VM types.

        :param queue: the VM type that is meant; "": all
        :param values: by option; "" removes it, None leaves it as it is
        :raises ConfigError: a value cannot be removed
        """
        ce_options: dict[str, str] = {}
        queue_options: dict[str, str] = {}
        for option, value in values.items():
            meant = "" if option in _OF_ENDPOINT else queue
            if value is None or same(value, self.value(option, meant)):
                continue
            if not value:
                self._check_removal(option, meant)
                ce_options |= {option: ""} if option in self.ce else {}
                queue_options |= {option: ""} if option in self.queues.get(meant, {}) else {}
            else:
                (queue_options if self._is_of_queue(option, meant) else ce_options)[option] = value
        return ce_options, queue_options

    def _is_of_queue(self, option: str, queue: str) -> bool:
        if not queue:
            return False
        others = set(self.queues) - {queue}
        return bool(option in self.queues.get(queue, {}) or others or (option in _OF_QUEUE and option not in self.ce))

    def _check_removal(self, option: str, queue: str) -> None:
        if option in self.site:
            at, hint = (
                f"{self.path.rpartition('/')[0]}/{option}",
                "it is there for all CEs of the site: remove it there",
            )
        elif queue and option in self.ce and set(self.queues) - {queue}:
            at, hint = f"{self.path}/{option}", "it is there for all VM types: without --queue it is removed for all"
        else:
            return
        expected = f"nothing, to remove it for {queue or 'this CE'}"
        raise ConfigError([ConfigProblem(at, expected, self.value(option), hint)])


def same(one: str, other: str) -> bool:
    """As DIRAC reads a list: spaces around commas mean nothing."""
    return _words(one) == _words(other)


def value_of(cfg: CFG, path: str) -> str | None:
    """The option at that path, or None."""
    found = cfg.getRecursive(path.strip("/"))
    value = found["value"] if found else None
    return value if isinstance(value, str) else None


def section_of(cfg: CFG, path: str) -> dict[str, str]:
    """The options of a section; none for one that does not exist."""
    section = _section(cfg, path)
    return {name: str(section[name]) for name in section.listOptions()} if section else {}


def sections_of(cfg: CFG, path: str) -> tuple[str, ...]:
    section = _section(cfg, path)
    return tuple(section.listSections()) if section else ()


def all_ces(cfg: CFG) -> dict[str, str]:
    """The site of every CE of the CS."""
    return {
        ce: site
        for grid in sections_of(cfg, SITES)
        for site in sections_of(cfg, f"{SITES}/{grid}")
        for ce in sections_of(cfg, f"{SITES}/{grid}/{site}/CEs")
    }


def section_text(registration: Registration) -> str:
    """The registration alone, in the CS's syntax."""
    return _site_text(change(CFG(), registration).after, registration.site)


def _section(cfg: CFG, path: str) -> CFG | None:
    found = cfg.getRecursive(path.strip("/"))
    value = found["value"] if found else None
    return value if isinstance(value, CFG) else None


def _set(cfg: CFG, path: str, value: str) -> None:
    *sections, name = path.strip("/").split("/")
    if not value:
        cast(CFG, _section(cfg, "/".join(sections))).deleteKey(name)
        return
    for section in sections:
        if section not in cfg.listSections():
            cfg.createNewSection(section)
        cfg = cast(CFG, cfg[section])
    cfg.setOption(name, value)


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _site_text(cfg: CFG, site: str) -> str:
    """The site's sections from the root, one option a line: DIRAC's own text gives a list one line per item."""
    section = _section(cfg, site_path(site))
    if section is None:
        return ""
    *parents, name = site_path(site).strip("/").split("/")
    lines = list(_lines(section, len(parents) + 1))
    for depth, parent in reversed(list(enumerate([*parents, name]))):
        indent = "  " * depth
        lines = [f"{indent}{parent}", f"{indent}{{", *lines, f"{indent}}}"]
    return "".join(f"{line}\n" for line in lines)


def _lines(section: CFG, depth: int) -> Iterable[str]:
    indent = "  " * depth
    for name in section.listOptions():
        yield f"{indent}{name} = {section[name]}"
    for name in section.listSections():
        yield f"{indent}{name}"
        yield f"{indent}{{"
        yield from _lines(cast(CFG, section[name]), depth + 1)
        yield f"{indent}}}"
