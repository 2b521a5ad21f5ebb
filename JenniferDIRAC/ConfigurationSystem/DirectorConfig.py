"""The CloudDirector's own section: which VOs it serves, and the time-outs and caps of its planner."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from DIRAC import gConfig
from DIRAC.ConfigurationSystem.Client import PathFinder
from pydantic import BeforeValidator, Field

from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, ConfigProblem, Names, Positive, StrictModel
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Policy

AGENT_NAME = "WorkloadManagement/CloudDirector"

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
    """Options of the agent's section. All times are seconds in the CS."""

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
        _POLICY.max_lifetime, alias="MaxLifetime", description="the longest a VM may live, whatever it does"
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
        _POLICY.max_booting, alias="MaxBooting", description="per endpoint: more unready VMs than these are no use"
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
    missed_listings: Positive = Field(
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

    @property
    def policy(self) -> Policy:
        """The planner's policy."""
        return Policy(**{name: getattr(self, name) for name in Policy.__dataclass_fields__})


def read_director_config(agent_name: str = AGENT_NAME) -> DirectorConfig:
    """The options of the agent's section.

    :raises ConfigError: an option is unknown, wrong or missing, or looks like a secret
    """
    section = PathFinder.getAgentSection(agent_name)
    options = gConfig.getOptionsDict(section).get("Value", {})
    if secrets := find_secrets(section, options):
        raise ConfigError(secrets)
    config = DirectorConfig.read(section, options, DIRAC_AGENT_WORDS)
    if not config.vos:
        raise ConfigError([ConfigProblem(f"{section}/VO", "at least one VO", "none")])
    return config
