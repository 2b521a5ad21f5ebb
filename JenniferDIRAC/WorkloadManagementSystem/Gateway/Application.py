"""The gateway's HTTP interface, version 1: what VMs say and hear. Nothing else is served."""

# Without annotations from the future: FastAPI reads those of local functions.
import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import printable
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import BadTicket, digest, is_token, unseal
from JenniferDIRAC.WorkloadManagementSystem.DB.Database import StoreUnavailable
from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import NoTicket, Sessions, SessionState, TicketRefused
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Bounds import BodyBounds, Guard, address_of
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogFiles import LABEL, VM_ID
from JenniferDIRAC.WorkloadManagementSystem.Gateway.LogStore import (
    MAX_CHUNK,
    DiskFull,
    LogStore,
    QuotaFull,
    TooFast,
    WrongOffset,
)
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Messages import (
    EndReport,
    Health,
    Heartbeat,
    LogSize,
    Orders,
    Redemption,
    Refusal,
    Welcome,
)
from JenniferDIRAC.WorkloadManagementSystem.Gateway.Orders import LifeLimits, orders
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

BASE = "/vm/v1"
DESCRIPTION = f"{BASE}/openapi.json"
_MAX_JSON = 64 * 1024
_UPLOADS_AT_ONCE = 4  # of one VM: each takes up to 1 MiB of memory
_DATABASE_AWAY, _DISK_FULL = 30, 300  # seconds after which to try again

_INTRODUCTION = """What a virtual machine says to the gateway and hears from it.

A VM redeems its one-time ticket once, for its envelope; with the ticket it sends a session secret that it made itself,
and shows that as `Authorization: Bearer …` from then on. It sends heartbeats, its logs in pieces, and at last why it
ends. Whatever a VM says concerns itself alone.

Take every 5xx, every time-out and every broken connection as "away: try again", after `Retry-After` if it is told.
"""


@dataclass(frozen=True)
class Parts:
    """What the application is made of.

    :param limits: the director's time-outs as they are now
    :param log: with DIRAC's ``verbose``, ``warn`` and ``error``
    :param now: seconds since 1970
    """

    sessions: Sessions
    logs: LogStore
    limits: Callable[[], LifeLimits]
    log: Any
    now: Callable[[], float]
    chunk_time: timedelta


def make_app(parts: Parts) -> FastAPI:
    """The application; it has no state of its own but the uploads that are under way."""
    app = FastAPI(
        title="JenniferDIRAC gateway",
        version="1",
        description=_INTRODUCTION,
        openapi_url=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # It would send exceptions, and what was in a request, wherever the process's environment says.
        telemetry=dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False),
    )
    _add_routes(app, parts)
    app.add_exception_handler(405, _not_allowed)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(StoreUnavailable, _database_away(parts.log))
    bounds = {"PUT": MAX_CHUNK, "": _MAX_JSON}
    app.add_middleware(BodyBounds, max_bytes=bounds, seconds=parts.chunk_time.total_seconds())
    app.add_middleware(Guard, log=parts.log)
    return app


VM = Annotated[str, Path(pattern=VM_ID, description="the VM's id, 32 hexadecimal digits")]
Label = Annotated[str, Path(pattern=LABEL, description="which of the VM's logs: `jennifer`, `pilot`, `cloud-init`, …")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="where the body begins in the log, in bytes")]
_bearer = HTTPBearer(auto_error=False, description="the VM's session secret", scheme_name="session")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _told(*codes: int, **others: dict) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Refusal, "description": _MEANING[code]} for code in (*_ALWAYS, *codes)}


_ALWAYS = (400, 408, 413, 422, 500, 503)
_MEANING = {
    400: "This is no HTTP request, or its body is no JSON.",
    401: "There is no such VM, or this is not its session. Which of the two is not told.",
    403: "The ticket was refused. Why is told to the operator only.",
    408: "The body came too slowly. The connection is closed.",
    410: "This VM's life is over.",
    413: "The body is too large; the connection is closed.",
    422: "The request is not as described here. What was sent is not repeated.",
    429: "The VM sends more than it may: come again after `Retry-After`.",
    500: "The gateway failed; try again.",
    503: "The database does not answer, or too many connections: try again, after `Retry-After` if it is told.",
    507: "There is no room for logs now: try again after `Retry-After`.",
}


def _add_routes(routes: FastAPI, parts: Parts) -> None:
    sessions, logs = parts.sessions, parts.logs
    uploads = _Uploads()

    def caller(vm_id: VM, credentials: Credentials) -> SessionState:
        token = credentials.credentials if credentials else ""
        vm = sessions.state(vm_id)
        mine = digest(token) if is_token(token) else "no session"
        if not hmac.compare_digest(mine, vm.digest if vm and vm.digest else "none"):
            raise HTTPException(401, "there is no such VM, or this is not its session", {"WWW-Authenticate": "Bearer"})
        if vm.state is VMState.ENDED:
            raise HTTPException(410, "this VM's life is over")
        return vm

    Caller = Annotated[SessionState, Depends(caller)]

    @routes.post(f"{BASE}/{{vm_id}}/redeem", summary="Redeem the ticket", tags=["life"], responses=_told(403))
    def redeem(vm_id: VM, sent: Redemption, request: Request, response: Response) -> Welcome:
        """Begins the VM's session and gives its envelope. With the same ticket and session it may be asked for again
        until the first heartbeat shows that the envelope came; with any other it is refused."""
        address = address_of(request.scope)
        try:
            sealed = sessions.redeem(vm_id, digest(sent.ticket), digest(sent.session), address)
            envelope = unseal(sent.ticket, sealed)
        except (TicketRefused, BadTicket) as refused:
            tell = parts.log.verbose if isinstance(refused, NoTicket) else parts.log.warn
            tell("A ticket was refused", f"VM {vm_id}, brought from {address}: {refused}")
            raise HTTPException(403, "the ticket was refused") from None
        response.headers["Cache-Control"] = "no-store"
        return Welcome(envelope=envelope, now=parts.now())

    @routes.post(f"{BASE}/{{vm_id}}/heartbeat", summary="Tell how it goes", tags=["life"], responses=_told(401, 410))
    def heartbeat(vm_id: VM, vm: Caller, sent: Heartbeat) -> Orders:
        """What the VM tells is kept for an operator; the answer says whether it is to take no further payload, and
        when it has to be off."""
        sessions.beat(vm_id, sent.model_dump(exclude_none=True))
        drain, deadline = orders(vm, parts.limits())
        return Orders(drain=drain, deadline=deadline and deadline.timestamp(), now=parts.now())

    @routes.post(
        f"{BASE}/{{vm_id}}/end", summary="Tell why it ends", tags=["life"], status_code=204, responses=_told(401, 410)
    )
    def end(vm_id: VM, vm: Caller, sent: EndReport) -> None:
        """The first report stands; a repetition is answered the same."""
        sessions.end(vm_id, sent.code, printable(sent.reason))

    @routes.get(
        f"{BASE}/{{vm_id}}/logs/{{label}}",
        summary="How much of a log the gateway has",
        tags=["logs"],
        responses=_told(401, 410, 507),
    )
    def log_size(vm_id: VM, label: Label, vm: Caller) -> LogSize:
        """From there the VM goes on."""
        try:
            return LogSize(size=logs.size(vm_id, label))
        except OSError as error:
            raise no_room(error, vm_id, label) from None

    @routes.put(
        f"{BASE}/{{vm_id}}/logs/{{label}}",
        summary="Append to a log",
        tags=["logs"],
        responses=_told(401, 410, 429, 507)
        | {
            409: {"model": LogSize, "description": "The log does not end at `offset`, but here: go on from there."},
            413: {
                "model": Refusal,
                "description": "The body is too large (the connection is closed), or the log or the VM has all the "
                "space that it gets: stop this log.",
            },
        },
        openapi_extra={
            "requestBody": {
                "description": f"At most {MAX_CHUNK} bytes. All of them are appended, or none.",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def append(vm_id: VM, label: Label, offset: Offset, vm: Caller, request: Request) -> LogSize:
        """What was answered 200 is kept, even if the gateway is killed in the next moment."""
        with uploads.one_more(vm_id):
            body = bytearray()
            try:
                async for piece in request.stream():
                    body += piece
            except ClientDisconnect:
                raise HTTPException(400, "the body broke off") from None
            try:
                return LogSize(size=await run_in_threadpool(logs.append, vm_id, label, offset, body))
            except WrongOffset as refused:
                return JSONResponse({"size": refused.size}, 409)
            except QuotaFull as refused:
                raise HTTPException(413, str(refused)) from None
            except TooFast as refused:
                raise HTTPException(429, str(refused), {"Retry-After": str(refused.seconds)}) from None
            except DiskFull as refused:
                raise no_room(refused, vm_id, label) from None

    def no_room(error: Exception, vm_id: str, label: str) -> HTTPException:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        parts.log.error("A log cannot be kept", f"VM {vm_id}, {label}: {error}{cause}")
        return HTTPException(507, "logs cannot be kept now", {"Retry-After": str(_DISK_FULL)})

    @routes.get("/health", summary="Whether the gateway works", tags=["gateway"], responses=_told())
    def health() -> Health:
        """Without authorisation; 503 while the database is away."""
        sessions.gateway_since()
        return Health(status="ok", version=version("JenniferDIRAC"))


class _Uploads:
    """Those under way, by VM."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @contextmanager
    def one_more(self, vm_id: str) -> Iterator[None]:
        if self._of[vm_id] >= _UPLOADS_AT_ONCE:
            raise HTTPException(429, "too many uploads of this VM at once", {"Retry-After": "1"})
        self._of[vm_id] += 1
        try:
            yield
        finally:
            self._of[vm_id] -= 1
            if not self._of[vm_id]:
                del self._of[vm_id]


async def _not_allowed(request: Request, _: Exception) -> JSONResponse:
    """Names all methods of the path; the framework names those of the first route only."""
    here = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = sorted({method for route in here for method in route.methods})
    return JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": ", ".join(allowed)})


async def _unprocessable(_: Request, error: RequestValidationError) -> JSONResponse:
    """Where it is wrong and what was expected; neither what was found nor a name that the client chose."""
    details = (
        "an unknown key" if one["type"] == "extra_forbidden" else f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        for one in error.errors()
        if "notes" not in one["loc"]
    )
    return JSONResponse({"detail": "; ".join(sorted(set(details))) or "body.notes: too many, or too long"}, 422)


def _database_away(log: Any):
    async def answer(_: Request, error: StoreUnavailable) -> JSONResponse:
        log.verbose("The database is away", str(error))
        headers = {"Retry-After": str(_DATABASE_AWAY)}
        return JSONResponse({"detail": "the database does not answer: try again"}, 503, headers)

    return answer
