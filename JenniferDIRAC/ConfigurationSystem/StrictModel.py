"""Typed sections of the Configuration System that refuse what they do not know, and say so to an operator."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

_SHOWN_AT_MOST = 80
_ORIGIN = re.compile(r"https://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?/?")
_SQUID = re.compile(r"http://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}/?")


@dataclass(frozen=True)
class ConfigProblem:
    """One thing wrong in the CS: where, what was expected, what was found, and what to do about it."""

    path: str
    expected: str
    found: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: expected {self.expected}, found {self.found}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(Exception):
    """A section that cannot be used; ``problems`` are all that is wrong with it."""

    def __init__(self, problems: Iterable[ConfigProblem]):
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class StrictModel(BaseModel):
    """A CS section: options are fields, their CS names are the aliases, unknown options are refused."""

    # Inputs stay out of pydantic's own messages: an option may hold what should never have been written there.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def options(cls) -> frozenset[str]:
        """The CS names of all options."""
        return frozenset(field.alias for field in cls.model_fields.values() if field.alias)

    @classmethod
    def read(cls, section: str, options: Mapping[str, Any], also_known: Iterable[str] = ()) -> Self:
        """The model of a section's options; those of ``also_known`` are DIRAC's own and pass unread.

        :raises ConfigError: with one problem for each option that is unknown, wrong or missing
        """
        passing = frozenset(also_known)
        try:
            return cls.model_validate({name: value for name, value in options.items() if name not in passing})
        except ConfigError as error:  # of a model's own validator, which knows options and not where they stand
            raise ConfigError(
                replace(problem, path=f"{section}/{problem.path}") for problem in error.problems
            ) from None
        except ValidationError as error:
            known = cls.options() | passing
            raise ConfigError(_problem(section, details, cls, known) for details in error.errors()) from None


def _problem(section: str, details: ErrorDetails, model: type[StrictModel], known: frozenset[str]) -> ConfigProblem:
    name = str(details["loc"][0]) if details["loc"] else ""
    path = f"{section}/{name}" if name else section
    match details["type"]:
        case "extra_forbidden":
            # The value is left out: nothing is known about it, it may be a secret.
            return ConfigProblem(path, "an option that exists", f"{name}, which does not", did_you_mean(name, known))
        case "missing":
            field = next(field for field in model.model_fields.values() if field.alias == name)
            return ConfigProblem(path, f"a value: {field.description}", "nothing")
        case "value_error":
            return ConfigProblem(path, str(details["ctx"]["error"]), shown(details["input"]))
    return ConfigProblem(path, details["msg"], shown(details["input"]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a word that does not exist: the nearest that do, or "" when nothing is near."""
    by_folded = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=2, cutoff=0.7)
    return f"did you mean {' or '.join(by_folded[word] for word in near)}?" if near else ""


def shown(value: Any) -> str:
    """A CS value as an error message quotes it: on one line and not too long."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    if not text:
        return "an empty value"
    return text if len(text) <= _SHOWN_AT_MOST else f"{text[:_SHOWN_AT_MOST]}…"


def whole_number(minimum: int, maximum: int | None = None) -> BeforeValidator:
    """A validator for a CS option that is a whole number."""
    wanted = f"a whole number, at least {minimum}" + ("" if maximum is None else f", at most {maximum}")

    def parse(value: Any) -> int | None:
        if value is None:  # only where the option may be left out, which pydantic judges
            return None
        text = str(value).strip()
        if not (text.isascii() and text.isdecimal()) or int(text) < minimum:
            raise ValueError(wanted)
        if maximum is not None and int(text) > maximum:
            raise ValueError(wanted)
        return int(text)

    return BeforeValidator(parse)


def one_of(*words: str) -> BeforeValidator:
    """A validator for a CS option with a closed set of values."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return BeforeValidator(parse)


def _parse_names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    return tuple(item.strip() for item in items if item.strip())


def _parse_text(value: Any) -> str:
    # DIRAC hands out a list where an option's value has commas and somebody asked for a list.
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value).strip()


def _parse_flag(value: Any) -> bool:
    match str(value).strip().lower():
        case "true" | "yes" | "y" | "1" | "on":
            return True
        case "false" | "no" | "n" | "0" | "off":
            return False
    raise ValueError("True or False")


def _parse_absolute_path(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    if not Path(text).is_absolute():
        raise ValueError("an absolute path")
    return text  # reading JSON, pydantic makes a path of nothing else


def _parse_origin(value: Any) -> str:
    text = _parse_text(value)
    if text and not _ORIGIN.fullmatch(text):
        raise ValueError("https://HOST:PORT")
    return text.rstrip("/")


def _parse_squids(value: Any) -> tuple[str, ...]:
    names = [name.replace(";", ",") for name in _parse_names(value)]
    groups = [group.split("|") for name in names for group in _parse_names(name)]
    # DIRECT always comes last.
    groups = [[one for squid in group if (one := squid.strip()) not in ("", "DIRECT")] for group in groups]
    if not all(_SQUID.fullmatch(squid) for group in groups for squid in group):
        raise ValueError("squids as http://HOST:PORT, separated by commas, or by | to share the load")
    return tuple("|".join(group) for group in groups if group)


Count = Annotated[int, whole_number(0)]
Positive = Annotated[int, whole_number(1)]
Percent = Annotated[int, whole_number(1, 100)]
Port = Annotated[int, whole_number(1, 65535)]
# The validator stands outside the union, so that a wrong value is one problem and not one per member.
OptionalCount = Annotated[int | None, whole_number(0)]
OptionalPositive = Annotated[int | None, whole_number(1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_parse_names)]
Text = Annotated[str, BeforeValidator(_parse_text)]
Origin = Annotated[str, BeforeValidator(_parse_origin)]
Squids = Annotated[tuple[str, ...], BeforeValidator(_parse_squids)]
Flag = Annotated[bool, BeforeValidator(_parse_flag)]
OptionalPath = Annotated[Path | None, BeforeValidator(_parse_absolute_path)]
