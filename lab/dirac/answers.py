"""Questions to DIRAC's services that change nothing, asked again when a connection breaks off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenacity import retry, stop_after_attempt, wait_fixed


@retry(stop=stop_after_attempt(3), wait=wait_fixed(0.3), reraise=True)
def ask(question: Callable[..., dict], *arguments: Any) -> Any:
    """The value that a DIRAC client's method gives for these arguments.

    :raises SErrorException: the third answer was no value either
    """
    from DIRAC.Core.Utilities.ReturnValues import returnValueOrRaise

    return returnValueOrRaise(question(*arguments))
