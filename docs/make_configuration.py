"""Writes ``configuration.md`` from the models that read the CS: ``python docs/make_configuration.py``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic.fields import FieldInfo

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CESection, QueueSection, SharedOptions, VOLimits
from JenniferDIRAC.ConfigurationSystem.GatewayConfig import GatewayConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import StrictModel

TARGET = Path(__file__).with_name("configuration.md")

_INTRODUCTION = """# Configuration

All options live in DIRAC's Configuration System (CS); times are seconds unless an option says otherwise. This page is
written by `docs/make_configuration.py` from the models that read the CS, so it is complete. An option that is unknown
or wrong is reported with its path, what was expected and what was found. It disables that endpoint, or that VO, and no
other; one of the director's own stops its cycles until it is mended.

No secret may stand under `/Resources` or `/Operations`: every client reads them, and `pilot.json` publishes them. What
looks like one is refused, and its value is never repeated.
"""


def _table(model: type[StrictModel], without: frozenset[str] = frozenset()) -> str:
    rows = [
        f"| `{field.alias}` | {_default(field)} | {field.description} |"
        for field in sorted(model.model_fields.values(), key=lambda field: not field.is_required())
        if field.alias and field.alias not in without
    ]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _default(field: FieldInfo) -> str:
    """The default as the CS would hold it; what has none but a description says so there."""
    if field.is_required():
        return "required"
    if isinstance(field.default, timedelta):
        return f"{field.default.total_seconds():.0f}"
    return str(field.default) if field.default not in (None, "", (), 0) else ""


def text() -> str:
    """The whole page."""
    shared = SharedOptions.options()
    return "\n".join(
        [
            _INTRODUCTION,
            "## An endpoint: `/Resources/Sites/<Grid>/<Site>/CEs/<ce>/`\n",
            "A CE whose `CEType` begins with `Jennifer`. The CE's name must be unique among all sites.\n",
            _table(CESection, without=shared),
            "\nIt may also hold any option of a VM type in the last table of the next section, for all its queues. "
            "What stands in `…/CEs/` itself DIRAC hands down to every CE of the site.\n",
            "## VOs at an endpoint: `…/CEs/<ce>/Shares/` and `…/CEs/<ce>/VOLimits/<vo>/`\n",
            "`Shares` weighs the VOs: `belle = 50`. Any numbers will do, for only their ratio counts; without the "
            "section all VOs weigh alike. A VO that is not in it, or has 0, gets what the others leave. One of another "
            "installation that uses the same project belongs into it too. `VOLimits/<vo>` limits one VO:\n",
            _table(VOLimits),
            "\n## A VM type: `…/CEs/<ce>/Queues/<queue>/`\n",
            _table(QueueSection, without=shared),
            "\nThese may stand at the queue or, for all queues, at the CE:\n",
            _table(SharedOptions),
            "\n## A VO's profile: `/Operations/<vo>/Cloud/` (or `/Operations/Defaults/Cloud/`)\n",
            "The pilot's own options are drawn from `/Operations/<vo>/Pilot/` as DIRAC's SiteDirector draws them.\n",
            _table(ProfileConfig, without=VOLimits.options()),
            "\nThe four limits of `VOLimits` may stand here too, for the VO over all endpoints.",
            "\n## The director: `/Systems/WorkloadManagement/Agents/CloudDirector/`\n",
            "Besides these, all options that DIRAC knows for every agent.\n",
            _table(DirectorConfig),
            "\n`QuotaDomains/<name>/` holds the four limits over all endpoints whose `QuotaDomain` is that name.\n",
            "## The gateway: `/Systems/WorkloadManagement/Services/CloudGateway/`\n",
            "Of DIRAC's own words it knows `LogLevel`, `LogBackends` and `LogColor`. See [gateway.md](gateway.md).\n",
            _table(GatewayConfig),
            "",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(text())
