"""Values that a command needs: from its options, from what stands in the CS, from the user, or as suggested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.prompt import Prompt
from rich.text import Text

from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain

_SHOWN_AT_MOST = 12
_NONE = "none"  # what a user types for no value where Enter takes the standing one


@dataclass(frozen=True)
class Question:
    """One value to be had.

    ``option``: what gives it on the command line; ``what``: what it is for. ``stands``: what the CS has already;
    ``suggested``: what is taken when nobody says anything else; ``choices``: values with a description, to pick by
    number. ``check`` gives what is wrong with a value, or "". ``obvious``: no need to name it.
    """

    option: str
    what: str
    given: str | None = None
    stands: str = ""
    suggested: str = ""
    choices: Sequence[tuple[str, str]] = ()
    several: bool = False
    required: bool = True
    obvious: bool = False
    check: Callable[[str], str] = lambda value: ""


@dataclass
class Form:
    """Asks on a terminal; elsewhere collects what is ``missing``, unless suggestions may be taken (``assume``)."""

    console: Console | None = None
    assume: bool = False
    missing: list[str] = field(default_factory=list)

    def get(self, question: Question) -> str:
        """The value; "" for one that is not required, or is missing."""
        if question.given is not None:
            return question.given.strip()
        if self.console is not None:
            return self._ask(self.console, question)
        if question.stands:
            return question.stands
        if (self.assume or question.obvious) and question.suggested:
            return question.suggested
        if question.required:
            hint = f", for instance {question.option} '{question.suggested}'" if question.suggested else ""
            self.missing.append(f"{question.option}: {question.what}{hint}")
        return ""

    def _ask(self, console: Console, question: Question) -> str:
        default = question.stands or question.suggested
        console.print()
        shown = question.choices[:_SHOWN_AT_MOST]
        for number, (value, description) in enumerate(shown, 1):
            console.print(Text(f"  {number:>2}  ", style="bold") + plain(f"{value}  {description}".rstrip()))
        if len(question.choices) > len(shown):
            console.print(f"      and {len(question.choices) - len(shown)} more, see dirac-admin-cloud discover")
        prompt = Text(f"{question.what[:1].upper()}{question.what[1:]}", style="bold")
        prompt.append(f" [{question.option}]", style="dim")
        if not question.required:
            prompt.append(f" ('{_NONE}' removes it)" if default else " (empty: none)", style="dim")
        while True:
            value = Prompt.ask(prompt, console=console, default=default, show_default=bool(default)).strip()
            if value == _NONE and not question.required:
                return ""
            if value != default:
                value = _picked(value, question)
            wrong = question.check(value) if value else "a value is needed" if question.required else ""
            if not wrong:
                return value
            console.print(plain(f"  {wrong}"), style="red")


def _picked(text: str, question: Question) -> str:
    """The text with numbers of the list replaced by what they stand for; a value of the list is itself."""
    parts = [part.strip() for part in text.split(",")] if question.several else [text]
    picked = []
    for part in parts:
        known = any(part == value for value, _ in question.choices)
        number = int(part) if part.isascii() and part.isdecimal() and not known else 0
        picked.append(question.choices[number - 1][0] if 1 <= number <= len(question.choices) else part)
    return ", ".join(part for part in picked if part)
