"""The CloudDirector's own section: which VOs it serves, and the time-outs and caps of its planner."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client import PathFinder
from pydantic import BeforeValidator, Field

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import LimitOptions
from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets
from JenniferDIRAC.ConfigurationSystem.StrictModel import (
    ConfigError,
    ConfigProblem,
    Count,
    Names,
    OptionalPath,
    Origin,
    Percent,
    Positive,
    StrictModel,
    whole_number,
)
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

AGENT_NAME = "WorkloadManagement/CloudDirector"
_DOMAINS = "QuotaDomains"

# What DIRAC's AgentModule and its logging read from every agent's section.
DIRAC_AGENT_WORDS = frozenset(
    {
        "ControlDirectory",
        "Enabled",
        "Load",
        "LogBackends",
        "LogColor",
        "LogLevel",
        "MaxCycles",
        "Module",
        "MonitoringEnabled",
        "Status",
        "WatchdogTime",
        "WorkDirectory",
        "shifterProxy",
        "shifterProxyLocation",
    }
)


def _parse_seconds(value: Any) -> timedelta:
    text = str(value).strip()
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError("a whole number of seconds, at least 1")
    return timedelta(seconds=int(text))


Seconds = Annotated[timedelta, BeforeValidator(_parse_seconds)]
_POLICY = Policy()


class DirectorConfig(StrictModel):
    """Options of the agent's section. All times are seconds in the CS.

    ``quota_domains`` are the limits of ``QuotaDomains/<name>``, over all endpoints that name it.
    """

    vos: Names = Field(alias="VO", description="the VOs to serve, separated by commas")
    polling_time: Seconds = Field(
        timedelta(seconds=30),
        alias="PollingTime",
        description="time from one cycle's start to the next. Half a minute, because a waiting job waits for it, and "
        "a cycle costs a cloud two requests; DIRAC's scheduler knows no less than 10",
    )
    settle_timeout: Seconds = Field(
        _POLICY.settle_timeout,
        alias="SettleTimeout",
        description="an intent without a server for so long was never made. Clouds list a new server within seconds",
    )
    launch_timeout: Seconds = Field(
        _POLICY.launch_timeout,
        alias="LaunchTimeout",
        description="request to active server. Research clouds copy a cold image in several minutes",
    )
    registration_timeout: Seconds = Field(
        _POLICY.registration_timeout,
        alias="RegistrationTimeout",
        description="active server to its first word. A boot without hardware virtualisation takes a minute",
    )
    poweroff_timeout: Seconds = Field(
        _POLICY.poweroff_timeout,
        alias="PoweroffTimeout",
        description="pilot finished to server stopped. Uploads of the last job may go on for some minutes",
    )
    max_lifetime: Seconds = Field(
        _POLICY.max_lifetime,
        alias="MaxLifetime",
        description="the longest a VM may live, whatever it does. Jobs of several days fit, and what hangs unnoticed "
        "costs a week at most",
    )
    fizzle_time: Seconds = Field(
        _POLICY.fizzle_time,
        alias="FizzleTime",
        description="a VM that ends sooner, without a job or a reason, fizzled. No real payload is done so soon",
    )
    backoff: Seconds = Field(
        _POLICY.backoff,
        alias="Backoff",
        description="pause of a VM type after VMs that came to nothing, for their VO, or for all if the cloud failed",
    )
    max_booting: Positive = Field(
        _POLICY.max_booting,
        alias="MaxBooting",
        description="per endpoint: most VMs that have not shown life yet. So many come to nothing before a sick cloud "
        "is noticed, and a burst gets no more of them in one boot time",
    )
    max_creates_per_cycle: Positive = Field(
        _POLICY.max_creates_per_cycle,
        alias="MaxCreatesPerCycle",
        description="per endpoint: spares the cloud's API, and limits what one wrong cycle can do",
    )
    max_deletes_per_cycle: Positive = Field(
        _POLICY.max_deletes_per_cycle,
        alias="MaxDeletesPerCycle",
        description="per endpoint: spares the cloud's API, and limits what one wrong cycle can do",
    )
    missed_listings: Annotated[int, whole_number(2)] = Field(
        _POLICY.missed_listings,
        alias="MissedListings",
        description="complete listings in a row without a server before it is believed gone; one may be a hiccup",
    )
    suspect_timeout: Seconds = Field(
        _POLICY.suspect_timeout,
        alias="SuspectTimeout",
        description="a list that lacks more than half of an endpoint's servers for longer is believed. Most servers "
        "of a cloud are seldom gone at once, and a cloud's operators take a while to mend its database",
    )
    idle_timeout: Seconds = Field(
        _POLICY.idle_timeout,
        alias="IdleTimeout",
        description="a pilot at work that never got a job for so long: its VM is ended. A pilot asks for jobs every "
        "two minutes and a few times only; several cores wait for a job no longer than one",
    )
    heartbeat_timeout: Seconds = Field(
        _POLICY.heartbeat_timeout,
        alias="HeartbeatTimeout",
        description="silence of a VM of the gateway until it is lost, while the gateway is there and hears others; "
        "one whose pilot is at work is lost after Lease more. It sends three heartbeats in that time. A network that "
        "is restarted is away for a few minutes",
    )
    lease: Seconds = Field(
        _POLICY.lease,
        alias="Lease",
        description="a VM that reached no gateway for so long and has no job switches itself off; with a job it does "
        "when that is done. An hour, because a gateway's host is mended or moved within it",
    )
    gateway: Origin = Field(
        "",
        alias="Gateway",
        description="how VMs reach the gateway, as https://HOST:PORT. Default: there is none, and a VM's proxy "
        "stands in its user-data",
    )
    gateway_ca: OptionalPath = Field(
        None,
        alias="GatewayCA",
        description="PEM file of the director's host with the CAs of the gateway's certificate. Default: the image's",
    )
    drain_timeout: Seconds = Field(
        _POLICY.drain_timeout,
        alias="DrainTimeout",
        description="how long a draining VM may finish its work, and so long before MaxLifetime it is drained. Jobs "
        "of a day are usual",
    )
    delete_timeout: Seconds = Field(
        _POLICY.delete_timeout,
        alias="DeleteTimeout",
        description="a server that is still listed so long after its delete is told of, and asked for less often. "
        "Clouds delete within minutes",
    )
    no_room_ttl: Seconds = Field(
        _POLICY.no_room_ttl,
        alias="NoRoomPause",
        description="pause of a VM type for which a cloud had no room; doubles each time in a row. A batch of jobs "
        "seldom ends within less",
    )
    no_room_ttl_max: Seconds = Field(
        _POLICY.no_room_ttl_max,
        alias="NoRoomPauseMax",
        description="the longest such pause: room that comes free is found within it",
    )
    lend_after: Seconds = Field(
        _POLICY.lend_after,
        alias="LendAfter",
        description="room that the VOs of other installations leave unused for so long is lent. Several of their "
        "cycles",
    )
    health_window: Positive = Field(
        _POLICY.health_window,
        alias="HealthWindow",
        description="so many boots of a VM type measure its boot success. Few, because a cloud that was mended is to "
        "be trusted again soon",
    )
    turnover_boots: Count = Field(
        _POLICY.turnover_boots,
        alias="TurnoverBoots",
        description="jobs that VMs at work are going to take within so many boot times are left to them; 0: none. "
        "With 1 a job waits for that no longer than for a VM of its own",
    )
    slow_start: Seconds = Field(
        _POLICY.slow_start,
        alias="SlowStart",
        description="create to first word; a VM that takes longer is unready. Real clouds need up to ten minutes",
    )
    max_unready_percent: Percent = Field(
        _POLICY.max_unready_percent,
        alias="MaxUnreadyPercent",
        description="per endpoint: with more unready VMs than that, and more than three, nothing is started. A cloud "
        "where almost every second VM does not come up is sick, and back-off comes later",
    )
    gc_min_age: Seconds = Field(
        _POLICY.gc_min_age,
        alias="CollectAfter",
        description="age of a server that no record knows before it is deleted. Records are made before servers, so "
        "only a lost database leaves such",
    )
    max_collects_per_cycle: Positive = Field(
        _POLICY.max_collects_per_cycle,
        alias="MaxCollectsPerCycle",
        description="per endpoint: limits what one wrong cycle can do",
    )
    drift_percent: Percent = Field(
        _POLICY.drift_percent,
        alias="DriftPercent",
        description="per endpoint: so many of its VMs, at least one, are drained at a time because they run an old "
        "image or flavor. The work goes on with the others, and a new image that is bad shows in a few VMs",
    )
    max_kill_percent: Percent = Field(
        _POLICY.max_kill_percent,
        alias="MaxKillPercent",
        description="per endpoint: so many of the VMs that show life, at least one, are ended by time-outs in a "
        "cycle; limits what one wrong clock can do",
    )

    quota_domains: dict[str, LimitOptions] = {}

    @property
    def policy(self) -> Policy:
        """The planner's policy."""
        return Policy(**{name: getattr(self, name) for name in Policy.__dataclass_fields__})


def read_director_config(agent_name: str = AGENT_NAME) -> DirectorConfig:
    """The options of the agent's section.

    :raises ConfigError: an option is unknown, wrong or missing, or looks like a secret
    """
    section = PathFinder.getAgentSection(agent_name)
    domains = {
        name: gConfig.getOptionsDict(f"{section}/{_DOMAINS}/{name}").get("Value", {})
        for name in gConfig.getSections(f"{section}/{_DOMAINS}").get("Value", [])
    }
    options = gConfig.getOptionsDict(section).get("Value", {})
    sections = {section: options} | {f"{section}/{_DOMAINS}/{name}": values for name, values in domains.items()}
    if secrets := [problem for path, values in sections.items() for problem in find_secrets(path, values)]:
        raise ConfigError(secrets)
    config = DirectorConfig.read(section, options, DIRAC_AGENT_WORDS)
    if not config.vos:
        raise ConfigError([ConfigProblem(f"{section}/VO", "at least one VO", "none")])
    limits = {name: LimitOptions.read(f"{section}/{_DOMAINS}/{name}", values) for name, values in domains.items()}
    return config.model_copy(update={"quota_domains": limits})
