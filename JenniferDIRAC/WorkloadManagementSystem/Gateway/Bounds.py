"""What surrounds the application: bodies have an end, and an error tells nothing of what was sent."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE = {"Connection": "close"}
_SWALLOWED = 4  # so many times what it may be


class BodyBounds:
    """No request's body is longer, or takes longer, than it may: 413 and 408, and the connection is closed.

    :param max_bytes: by the request's method; ``""`` for all others
    :param seconds: from the request's headers to the end of its body
    """

    def __init__(self, app: ASGIApp, max_bytes: dict[str, int], seconds: float):
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        most = self._max_bytes.get(scope["method"], self._max_bytes[""])
        length = Headers(scope=scope).get("content-length", "0")
        told = int(length[:20]) if length.isascii() and length.isdecimal() else 0
        deadline = asyncio.get_running_loop().time() + self._seconds
        received, ended = 0, False

        async def bounded() -> Message:
            nonlocal received, ended
            if ended:  # what comes now is that the client went away, which it may do at any time
                return await receive()
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        message = await receive()
                except TimeoutError:
                    raise HTTPException(408, f"the body took longer than {self._seconds:g} s", _CLOSE) from None
                received += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if received <= most and told <= most:
                    return message
                # Whoever sent a little too much reads the answer only when all was taken from them.
                if ended or max(received, told) > _SWALLOWED * most:
                    raise HTTPException(413, f"expected a body of at most {most} bytes", _CLOSE)

        await self._app(scope, bounded, send)


class Guard:
    """The last resort for an error that nothing else expected, and one line per request for the log.

    Of such an error its kind and its place are logged, not its words: they may hold what a VM sent.
    """

    def __init__(self, app: ASGIApp, log: Any, clock: Callable[[], float] = time.monotonic):
        self._app, self._log, self._clock = app, log, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = self._clock(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            self._log.error("A request failed", told_without_words(error))
            if not status:
                answer = JSONResponse({"detail": "the gateway failed"}, HTTPStatus.INTERNAL_SERVER_ERROR, _CLOSE)
                await answer(scope, receive, watched)
        finally:
            # The path as it was sent is anybody's word; that of the route is ours.
            route = getattr(scope.get("route"), "path", "(no such path)")
            vm_id = scope.get("path_params", {}).get("vm_id", "") if status not in (401, 403, 404, 405, 422) else ""
            seconds = self._clock() - began
            self._log.verbose(f"{address_of(scope)} {scope['method']} {route} {vm_id} {status} {seconds:.3f} s")


def told_without_words(error: BaseException) -> str:
    """An exception's kind and place, and those of its cause."""
    frames = traceback.extract_tb(error.__traceback__)
    way = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames[-6:]))
    told = f"{type(error).__name__} at {way}"
    cause = error.__cause__ or error.__context__
    return f"{told}, after {type(cause).__name__}" if cause else told


def address_of(scope: Scope) -> str:
    """The caller's; one of IPv4 as such, where a socket is for both kinds."""
    return scope["client"][0].removeprefix("::ffff:") if scope.get("client") else "?"
