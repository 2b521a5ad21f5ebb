"""The service's answers as tables for people. What came from a cloud or a VM is printed as plain text, never markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_STATE_STYLE = {"Running": "green", "Booting": "cyan", "Requested": "cyan", "Planned": "cyan", "Ended": "dim"}
_OUTCOME_STYLE = {"Worked": "green", "NoWork": "yellow"}
_RECORD = (
    ("vm_id", "VM"),
    ("site", "site"),
    ("ce", "endpoint"),
    ("queue", "VM type"),
    ("vo", "VO"),
    ("cores", "cores"),
    ("ram_mib", "RAM (MiB)"),
    ("state", "state"),
    ("outcome", "outcome"),
    ("outcome_reason", "reason"),
    ("code", "HSF code"),
    ("jobs", "jobs matched"),
    ("server_id", "server"),
    ("image", "image"),
    ("flavor", "flavor"),
    ("networks", "networks"),
    ("zone", "zone"),
    ("template", "template"),
    ("version", "version of its context"),
    ("task_queue", "started for task queue"),
    ("pilot_reference", "pilot reference"),
    ("pilot_stamp", "pilot stamp"),
    ("said_code", "said code"),
    ("said_reason", "said"),
)


def status(value: Mapping[str, Any], console: Console) -> None:
    """Installation, VMs per endpoint and VO, and the last cycle's words about each."""
    console.print(f"Installation {value['installation']}", markup=False)
    shown = table("Endpoint", "VO", "Wanted cores", "VMs", "Started", "What stopped the rest", "Age")
    now = datetime.fromisoformat(value["now"])
    for report in value["reports"]:
        states = ", ".join(f"{count} {state}" for state, count in report["vms"].items()) or "none"
        stopped = report["problem"] or "; ".join(
            dict.fromkeys(f"{unmet['cores']} cores: {unmet['limit']}, {unmet['detail']}" for unmet in report["unmet"])
        )
        endpoint = f"{report['site']}/{report['ce']}" if report["ce"] else "(nowhere)"
        age = f"{(now - datetime.fromisoformat(report['at'])).total_seconds():.0f} s"
        row = (endpoint, report["vo"], str(report["wanted_cores"]), states, str(report["started"]), stopped, age)
        shown.add_row(*map(plain, row))
    if value["reports"]:
        console.print(shown)
    else:
        console.print("No cycle was reported yet: is the CloudDirector running?")


def vms(records: Sequence[Mapping[str, Any]], console: Console) -> None:
    """One line per VM."""
    if not records:
        console.print("No such VM.")
        return
    shown = table(
        "VM", "Endpoint", "VM type", "Version", "VO", "Cores", "State", "Since (UTC)", "Jobs", "Outcome", "Reason"
    )
    for one in records:
        shown.add_row(
            plain(one["vm_id"][:12]),
            plain(f"{one['site']}/{one['ce']}"),
            plain(one["queue"]),
            plain(one.get("version", "")),
            plain(one["vo"]),
            str(one["cores"]),
            Text(one["state"], style=_STATE_STYLE.get(one["state"], "yellow")),
            moment(one["since"]),
            str(one["jobs"]),
            Text(one["outcome"] or "", style=_OUTCOME_STYLE.get(one["outcome"], "red")),
            plain(one["outcome_reason"]),
        )
    console.print(shown)


def vm(value: Mapping[str, Any], console: Console) -> None:
    """All that is known of one VM."""
    facts = Table.grid(padding=(0, 2))
    for name, label in _RECORD:
        if value.get(name) not in (None, ""):
            facts.add_row(Text(label, style="bold"), plain(str(value[name])))
    for label, text in _gateway(value.get("gateway")):
        facts.add_row(Text(label, style="bold"), plain(text))
    console.print(facts)
    console.print()
    history = table("At (UTC)", "From", "To", "Why", "By")
    for step in value["history"]:
        row = (moment(step["at"]), step["source"] or "", step["target"], step["reason"], step["actor"])
        history.add_row(*map(plain, row))
    console.print(history)
    if value["console_tail"]:
        console.print("\nThe end of its console:", style="bold")
        console.print(plain(value["console_tail"]))


def _gateway(guest: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What the gateway knows of a VM. The heartbeat is the VM's own word."""
    if guest is None:
        return
    if guest["redeemed_at"]:
        yield "ticket", f"redeemed at {moment(guest['redeemed_at'])} from {guest['redeemed_from']}"
    else:
        yield "ticket", f"not redeemed, good until {moment(guest['expires_at'])}"
    if guest["refusals"]:
        last = f"{moment(guest['refused_at'])} from {guest['refused_from']}: {guest['refused_why']}"
        yield "ticket refused", f"{guest['refusals']} times, last at {last}"
    for name, said in guest["heartbeat"].items():
        said = "; ".join(f"{key}: {text}" for key, text in said.items()) if isinstance(said, Mapping) else said
        if said not in (None, ""):
            yield f"last {name.replace('_mib', ' (MiB)')}", str(said)


def table(*columns: str) -> Table:
    """A table whose cells are folded where they do not fit: a name cut off is no name."""
    made = Table()
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def plain(text: str) -> Text:
    """A text as it is, without what could steer the operator's terminal: clouds and VMs may say anything."""
    lines = text.replace("\r\n", "\n").split("\n")
    safe = ("".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line) for line in lines)
    return Text("\n".join(safe))
