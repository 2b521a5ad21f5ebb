"""What a cycle knows before it looks at any cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds, EndpointKey, Lever
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy


@dataclass(frozen=True)
class Briefing:
    """For whom, where and by which rules a cycle works: what configuration, leases and operators say.

    ``now`` is the moment that the cycle judges by, ``watching_since`` since when cycles follow each other without a
    pause. ``configs`` are the endpoints to look after. ``others`` says who has those that are another director's: they
    are not looked at. ``closed`` says why nothing is started at an endpoint, besides what DIRAC says of it.

    ``gateway_since`` is since when VMs could reach a gateway without a break; None: there is none, or it is away.
    ``vos`` can be served, ``refused_vos`` say why others cannot. ``profiles`` are those of the VOs that can be served.
    ``vo_bounds`` are limits of VOs everywhere, ``domains`` those of quota domains.
    """

    installation: str
    now: datetime
    watching_since: datetime
    director: DirectorConfig
    policy: Policy
    configs: Mapping[EndpointKey, EndpointConfig]
    vos: frozenset[str]
    refused_vos: dict[str, str] = field(default_factory=dict)
    others: Mapping[EndpointKey, str] = field(default_factory=dict)
    closed: Mapping[EndpointKey, str] = field(default_factory=dict)
    levers: tuple[Lever, ...] = ()
    vo_bounds: Mapping[str, Bounds] = field(default_factory=dict)
    domains: Mapping[str, Bounds] = field(default_factory=dict)
    gateway_since: datetime | None = None
    profiles: Mapping[str, ProfileConfig] = field(default_factory=dict)
