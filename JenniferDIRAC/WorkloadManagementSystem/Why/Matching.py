"""Whether a VM type may take a task queue's jobs, and if not, on which requirement.

The rules are those of DIRAC 9.1: Client/Matcher.py makes tags of a resource's processors, DB/TaskQueueDB.py compares.
DIRAC's Matcher is the truth: this only tells its reasons. Limits on running jobs and on the pace of matching
(/Operations/…/JobScheduling) are the Matcher's alone and not known here.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMTypeKey

_PROCESSORS = re.compile(r"^(\d+)processors$")
_MULTI, _WHOLE = "multiprocessor", "wholenode"
_MOST_PROCESSORS = 1024  # DIRAC makes no tags for more
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Requirement(str, Enum):
    """What a task queue and a VM type may disagree on, in the words of the CS and of job descriptions."""

    VO = "VO"
    OWNER_GROUP = "OwnerGroup"
    SITE = "Site"
    BANNED_SITE = "BannedSites"
    CE = "GridCE"
    CPU_TIME = "CPUTime"
    RAM = "RAM"
    PROCESSORS = "Processors"
    WHOLE_NODE = "WholeNode"
    TAG = "Tag"
    REQUIRED_TAG = "RequiredTag"
    PLATFORM = "Platform"
    JOB_TYPE = "JobType"


@dataclass(frozen=True)
class Obstacle:
    """One requirement that is not met, as the end of a sentence that begins with the VM type."""

    requirement: Requirement
    text: str


@dataclass(frozen=True)
class Wanted:
    """What the jobs of a task queue require; empty means any. ``cpu_time`` is in HS06 seconds, RAM in MiB."""

    vo: str
    owner_group: str = ""
    cpu_time: int = 0
    min_ram_mib: int = 0
    sites: frozenset[str] = frozenset()
    banned_sites: frozenset[str] = frozenset()
    ces: frozenset[str] = frozenset()
    platforms: frozenset[str] = frozenset()
    job_types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, row: Mapping[str, Any], vo: str) -> Wanted:
        """From a task queue as ``TaskQueueDB.retrieveTaskQueues`` gives it."""
        return cls(
            vo=vo,
            owner_group=row.get("OwnerGroup", ""),
            cpu_time=int(row.get("CPUTime", 0)),
            min_ram_mib=int(row.get("MinRAM", 0)),
            sites=frozenset(row.get("Sites", ())),
            banned_sites=frozenset(row.get("BannedSites", ())),
            ces=frozenset(row.get("GridCEs", ())),
            platforms=frozenset(row.get("Platforms", ())),
            job_types=frozenset(row.get("JobTypes", ())),
            tags=frozenset(row.get("Tags", ())),
        )

    @property
    def processors(self) -> int:
        """Of each job; 1 where none are named."""
        return max((int(match[1]) for tag in self.tags if (match := _PROCESSORS.match(_folded(tag)))), default=1)


@dataclass(frozen=True)
class Offered:
    """A VM type as the Matcher is told of it; empty means that it sets no condition.

    ``size_known`` is false where the CS does not give processors and RAM, and the flavor's are not known here.
    """

    vm_type: VMTypeKey
    vos: frozenset[str] = frozenset()
    cpu_time: int = 0
    processors: int = 1
    ram_mib: int = 0
    tags: frozenset[str] = frozenset()
    required_tags: frozenset[str] = frozenset()
    platform: str = ""
    job_type: str = ""
    owner_group: str = ""
    whole_node: bool = False
    size_known: bool = True

    @classmethod
    def of(
        cls, vm_type: VMTypeKey, parameters: Mapping[str, Any], vos: frozenset[str] = frozenset(), size_known=True
    ) -> Offered:
        """From ``VMTypeConfig.matcher_parameters``."""
        return cls(
            vm_type,
            vos,
            cpu_time=parameters.get("CPUTime", 0),
            processors=parameters.get("NumberOfProcessors", 1),
            ram_mib=parameters.get("MaxRAM", 0),
            tags=frozenset(parameters.get("Tag", ())),
            required_tags=frozenset(parameters.get("RequiredTag", ())),
            platform=parameters.get("Platform", ""),
            job_type=parameters.get("JobType", ""),
            owner_group=parameters.get("OwnerGroup", ""),
            whole_node="WholeNode" in parameters,
            size_known=size_known,
        )


def obstacles(wanted: Wanted, offered: Offered) -> tuple[Obstacle, ...]:
    """Every requirement that keeps these jobs from this VM type; none when it may take them."""
    found = (_vo, _place, _sizes, _words, _tags, _required_tags)
    return tuple(obstacle for rule in found for obstacle in rule(wanted, offered))


def _vo(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    # A pilot gets jobs of its own VO's groups only; which VOs get one is the CS's word, compared as DIRAC does.
    if offered.vos and not _in(wanted.vo, offered.vos):
        yield Obstacle(Requirement.VO, f"the jobs are {wanted.vo}'s, it serves {_list(offered.vos)}")
    if offered.owner_group and not _same(wanted.owner_group, offered.owner_group):
        yield Obstacle(
            Requirement.OWNER_GROUP,
            f"the jobs are of the group {wanted.owner_group}, it serves {offered.owner_group} only",
        )


def _place(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    site, ce = offered.vm_type.site, offered.vm_type.ce
    if wanted.sites and not _in(site, wanted.sites):
        yield Obstacle(Requirement.SITE, f"the jobs may run at {_list(wanted.sites)} only")
    if _in(site, wanted.banned_sites):
        yield Obstacle(Requirement.BANNED_SITE, f"the jobs ban the site {site}")
    if wanted.ces and not _in(ce, wanted.ces):
        yield Obstacle(Requirement.CE, f"the jobs may run at the CE {_list(wanted.ces)} only")


def _sizes(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    if wanted.cpu_time > offered.cpu_time:
        yield Obstacle(
            Requirement.CPU_TIME, f"the jobs want {wanted.cpu_time} s of CPU time (HS06), it offers {offered.cpu_time}"
        )
    if offered.ram_mib and wanted.min_ram_mib > offered.ram_mib:
        yield Obstacle(Requirement.RAM, f"the jobs want {wanted.min_ram_mib} MiB of RAM, it offers {offered.ram_mib}")


def _words(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    for requirement, values, value, what in (
        (Requirement.PLATFORM, wanted.platforms, offered.platform, "the platform"),
        (Requirement.JOB_TYPE, wanted.job_types, offered.job_type, "the job type"),
    ):
        if values and value and not _any(value) and not _in(value, values):
            yield Obstacle(requirement, f"the jobs have {what} {_list(values)}, it takes {value} only")


def _tags(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    if any(_any(tag) for tag in offered.tags):
        return
    known = {_folded(tag) for tag in _tags_of(offered)}
    missing = {_folded(tag): tag for tag in wanted.tags if tag and _folded(tag) not in known}
    named = {tag: match for tag in missing if (match := _PROCESSORS.match(tag))}
    several = _MULTI in missing and not missing.keys() & {_WHOLE}
    if named or several:
        number = max((int(match[1]) for match in named.values()), default=0)
        has = offered.processors if offered.size_known else "as many as its flavor has, which is not known here"
        yield Obstacle(Requirement.PROCESSORS, f"the jobs want {number or 'several'} processors, it offers {has}")
    if _WHOLE in missing:
        yield Obstacle(Requirement.WHOLE_NODE, "the jobs want a whole node, and its WholeNode is not set")
    others = sorted(tag for folded, tag in missing.items() if folded not in (_MULTI, _WHOLE, *named))
    if others:
        yield Obstacle(Requirement.TAG, f"the jobs want the tag {_list(others)}, which it does not have")


def _required_tags(wanted: Wanted, offered: Offered) -> Iterator[Obstacle]:
    required = offered.required_tags
    if not required or any(_any(tag) for tag in required):
        return
    if unknown := required - _tags_of(offered):
        yield Obstacle(
            Requirement.REQUIRED_TAG,
            f"it requires the tag {_list(unknown)}, which is not among its own (Tag): the Matcher refuses that",
        )
    elif lacking := sorted(tag for tag in required if not _in(tag, wanted.tags)):
        yield Obstacle(Requirement.REQUIRED_TAG, f"it takes jobs with the tag {_list(lacking)} only")


def _tags_of(offered: Offered) -> set[str]:
    """Its tags, and those that the Matcher makes of its processors."""
    tags, processors = set(offered.tags), offered.processors
    if processors <= _MOST_PROCESSORS:
        tags |= {f"{number}Processors" for number in range(1, processors + 1)}
    if processors > 1:
        tags.add("MultiProcessor")
    if offered.whole_node:
        tags.add("WholeNode")
    return tags


def _folded(value: str) -> str:
    # As MariaDB compares texts by default: without case, and without blanks at the end.
    return value.lower().rstrip()


def _same(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _in(value: str, values: Iterable[str]) -> bool:
    return any(_same(value, one) for one in values)


def _any(value: str) -> bool:
    return value.lower().translate(_NO_PUNCTUATION) == "any"


def _list(values: Iterable[str]) -> str:
    return ", ".join(sorted(values)) or "(none)"
