"""Tells operators in time that a cloud's credential ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import EXPIRY_ALARM, Expiry
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndpointKey

# Asking costs a call or two, and what is told ends in weeks.
_ASK_EVERY = timedelta(hours=1)
_TELL_EVERY = timedelta(days=1)


class ExpiryWatch:
    """``warn`` is for the last weeks of a credential, ``alarm`` for its last days; each once a day, and anew when a
    clock was set back by more than that."""

    def __init__(self, warn: Callable[[str], None], alarm: Callable[[str], None]):
        self._warn = warn
        self._alarm = alarm
        self._asked: dict[EndpointKey, datetime] = {}
        self._told: dict[tuple[EndpointKey, str], datetime] = {}

    def is_due(self, key: EndpointKey, now: datetime) -> bool:
        """Whether the endpoint should be asked again."""
        return key not in self._asked or abs(now - self._asked[key]) >= _ASK_EVERY

    def heard(self, key: EndpointKey, expiries: Iterable[Expiry], now: datetime) -> None:
        """What an endpoint that was asked said."""
        self._asked[key] = now
        for expiry in expiries:
            told = self._told.get((key, expiry.what))
            if expiry.is_near(now) and (told is None or abs(now - told) >= _TELL_EVERY):
                self._told[key, expiry.what] = now
                tell = self._alarm if expiry.is_near(now, EXPIRY_ALARM) else self._warn
                tell(f"{key}: {expiry.words(now)}: renew it on the director's host, in clouds.yaml or its files")
