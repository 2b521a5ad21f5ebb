"""DIRAC's answers as values. Questions that change nothing are asked again when a connection breaks off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenacity import retry, stop_after_attempt, wait_exponential

from lab.common.errors import LabError


def value_of(answer: Mapping[str, Any]) -> Any:
    """The value of an ``S_OK``.

    :raises LabError: it is an ``S_ERROR``
    """
    if not answer["OK"]:
        raise LabError(f"DIRAC answered: {answer['Message']}")
    return answer["Value"]


# On a busy machine a service may not answer for seconds: the waits add up to 9.
@retry(stop=stop_after_attempt(8), wait=wait_exponential(multiplier=0.1, max=3), reraise=True)
def ask(question: Callable[..., Mapping[str, Any]], *arguments: Any) -> Any:
    """The value that a DIRAC client's method gives for these arguments.

    :raises LabError: the last of eight answers was no value either
    """
    return value_of(question(*arguments))
