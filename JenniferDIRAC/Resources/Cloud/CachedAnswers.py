"""Answers of public web services, kept on disk for the day when the service does not answer."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urljoin

import requests

from JenniferDIRAC.Resources.Cloud import SafeHTTP
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Unreachable
from JenniferDIRAC.Resources.Cloud.SafeHTTP import UnsafeURL, check_url, host, shown

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_REDIRECTS = 3


class NotThere(Exception):
    """The service answers, and does not know what it was asked for (404)."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """``stale``: the service gives no newer one now."""

    value: T
    age: timedelta
    stale: bool = False


class CachedAnswers:
    """GET over https, without any credential.

    :param directory: where the answers are kept
    :param fresh_for: so long an answer is not asked for again
    """

    def __init__(self, directory: Path, session: requests.Session, clock: Callable[[], datetime], fresh_for: timedelta):
        self._directory, self._session, self._clock, self._fresh_for = directory, session, clock, fresh_for

    def get(self, url: str, parse: Callable[[str], T]) -> Answer[T]:
        """
        :param parse: makes the value of an answer's text; a ValueError says that it is none
        :raises NotThere: 404
        :raises Unreachable: no answer that makes sense, neither now nor on disk
        """
        kept = self._kept(url, parse)
        if kept is not None and kept.age < self._fresh_for:
            return kept
        try:
            text = self._fetch(url)
            value = parse(text)
        except (requests.RequestException, ValueError, RecursionError) as error:
            if kept is None:
                raise Unreachable(f"{url} gives no answer that can be used: {error}") from None
            return Answer(kept.value, kept.age, stale=True)
        self._keep(url, text)
        return Answer(value, timedelta())

    def _fetch(self, url: str) -> str:
        pin = host(check_url(url, "directory"))
        for _ in range(_REDIRECTS):
            response = self._session.get(url, allow_redirects=False, stream=True, timeout=SafeHTTP.TIMEOUT)
            if not response.is_redirect:
                body = SafeHTTP.read(response)
                if response.status_code == 404:
                    raise NotThere(url)
                response.raise_for_status()
                return body.decode("utf-8")
            response.close()
            url = urljoin(url, response.headers["location"])
            if host(check_url(url, "redirect")) != pin:
                raise UnsafeURL(f"it redirects to another host, {shown(url)}, which is not followed")
        raise requests.TooManyRedirects(f"more than {_REDIRECTS} redirects")

    def _file(self, url: str) -> Path:
        return self._directory / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"

    def _kept(self, url: str, parse: Callable[[str], T]) -> Answer[T] | None:
        """A file that is damaged is none."""
        try:
            kept = json.loads(self._file(url).read_text())
            age = self._clock() - datetime.fromtimestamp(kept["at"], UTC)
            return Answer(parse(kept["text"]), max(age, timedelta())) if kept["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def _keep(self, url: str, text: str) -> None:
        file = self._file(url)
        new = file.with_suffix(f".{os.getpid()}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"url": url, "at": self._clock().timestamp(), "text": text}))
            new.replace(file)
        except OSError as error:
            LOG.warning("The answer of %s is not kept: %s", url, error)
