"""What ``jennifer-vm`` says on the serial console, and how it is read.

The words here are those that the director heeds; ``note`` and ``verdict`` are for people, or for the log. One line per
word: ``@jennifer <vm> <word> key=value …``, values in JSON. The console is untrusted: a payload cannot
write to it, but kernel and cloud-init do, in the middle of lines too, and whoever owns the cloud can say anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport

HELLO = "hello"
PILOT_START = "pilot-start"
PILOT_END = "pilot-end"
LINE = "line"
END = "end"

CODES = frozenset(range(100, 800, 100))  # HSF-TN-2016-04
MAX_REASON = 200
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|.)?")
# The reason ends at its first quote that is not escaped, because a kernel message with quotes of its own may follow.
_END = re.compile(r'code=(?P<code>\d{3}) reason=(?P<reason>"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class ConsoleReport:
    """What one VM said. ``said`` is None until it tells its end."""

    spoke: bool = False
    said: EndReport | None = None
    pilot_started: bool = False


def parse_console(text: str, vm_id: str) -> ConsoleReport:
    """What the VM ``vm_id`` said; words of any other are nobody's."""
    lines = [printable(line) for line in re.split(r"[\r\n]+", _ESCAPE.sub("", text))]
    mark = f"@jennifer {vm_id} "
    words = [line.split(mark, 1)[1] for line in lines if mark in line]
    spoke = any(re.match(rf"(?:{HELLO}|{PILOT_START}|{PILOT_END}|{LINE}|{END})\b", word) for word in words)
    ends = [end for word in words if word.startswith(f"{END} ") and (end := _end_report(word))]
    started = any(re.match(rf"{PILOT_START}\b", word) for word in words)
    return ConsoleReport(spoke, ends[0] if ends else None, started)


def printable(text: str) -> str:
    """A text on one line, without anything that a terminal would act upon."""
    return _plain(_ESCAPE.sub("", text)).strip()


def printable_lines(text: str) -> str:
    """A text of many lines, indented as they are, without anything else that a terminal would act upon."""
    lines = re.split(r"\r*\n|\r", _ESCAPE.sub("", text).expandtabs())
    return "\n".join(_plain(line).rstrip() for line in lines)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _end_report(word: str) -> EndReport | None:
    match = _END.search(word)
    if match is None or int(match["code"]) not in CODES:
        return None
    try:
        reason = json.loads(match["reason"])
    except ValueError:
        return None
    return EndReport(int(match["code"]), printable(reason)[:MAX_REASON])
