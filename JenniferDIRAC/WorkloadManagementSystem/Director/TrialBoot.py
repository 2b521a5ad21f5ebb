"""One VM as the director would start it, but nobody's: followed to its first word, and deleted whatever happens."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import read_profile
from JenniferDIRAC.Resources.Cloud.Choice import Choice
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    AmbiguousOutcome,
    CloudEndpoint,
    CloudError,
    Identity,
    Server,
    ServerRequest,
    ServerStatus,
)
from JenniferDIRAC.Resources.Cloud.Secret import Secret
from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import build_context
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import render_user_data
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import TRIAL_PREFIX
from JenniferDIRAC.WorkloadManagementSystem.Planner.Policy import Policy

# In place of the proxy: the first word is said, and the pilot fetched, before anything looks at it.
NO_PROXY = "This is a trial of dirac-admin-cloud check --boot: there is no proxy here, and no pilot can work.\n"
POLL_SECONDS = 2.0
SHOW_SECONDS = 120.0  # for a server that was perhaps made to show up
FETCH_SECONDS = 300.0  # by then jennifer-vm has tried squids and CVMFS, and fetched the pilot or given up
DELETE_SECONDS = 180.0
_MISSED_LOOKS = 3
_TAIL = 4000  # bytes of a console to show


class Stage(StrEnum):
    """How far a trial came."""

    REQUESTED = "requested"
    ACTIVE = "ACTIVE"
    FIRST_WORD = "first word"
    PILOT_FETCHED = "pilot fetched"
    GONE = "deleted and gone"


class TrialFailed(Exception):
    """The VM did not get as far as its first word, or told why it ends."""


class Interrupted(Exception):
    """Somebody wants the trial to end."""


@dataclass
class TrialResult:
    """``reached``: seconds since the request by stage. ``problem`` "" means that it spoke and fetched its pilot."""

    name: str
    reached: dict[Stage, float] = field(default_factory=dict)
    problem: str = ""
    console: str = ""
    left_behind: bool = False


def trial_request(
    config: EndpointConfig, vm_type: VMTypeConfig, choice: Choice, vo: str, max_user_data_bytes: int
) -> ServerRequest:
    """The request of a VM that no director knows, with the user-data that it would get but for the proxy.

    :raises ContextError, ConfigError: the user-data cannot be made
    """
    identity = Identity(TRIAL_PREFIX + uuid.uuid4().hex[8:], uuid.uuid4().hex, vo, choice.flavor.cores)
    context = build_context(
        config,
        vm_type,
        read_profile(vo),
        vo,
        vm_id=identity.vm,
        name=identity.name,
        pilot_reference=f"cloud://{config.ce}/{identity.vm}",
        pilot_stamp=uuid.uuid4().hex,
        proxy=Secret(NO_PROXY),
        policy=Policy(),
        processors=choice.flavor.cores,
    )
    user_data = render_user_data(context, max_user_data_bytes)
    return choice.request(identity, user_data, f"JenniferDIRAC: trial boot for {vo} at {config}/{vm_type.queue}")


class TrialBoot:
    """One trial.

    :param tell: called as each stage is reached
    :param stopping: whether somebody wants it to end; asked at every look
    """

    def __init__(
        self,
        cloud: CloudEndpoint,
        request: ServerRequest,
        tell: Callable[[Stage, float], None] = lambda stage, seconds: None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._cloud, self._request = cloud, request
        self._tell, self._stopping, self._clock, self._sleep = tell, stopping, clock, sleep
        self._began = clock()
        self._result = TrialResult(request.identity.name)
        self._server: Server | None = None
        self._made = False
        self._doubt = ""  # what the cloud said instead of whether it made the server
        self._missed = 0

    def run(self, timeout: float) -> TrialResult:
        """Request, follow for at most ``timeout`` seconds to the first word, delete, and wait until it is gone."""
        self._began = self._clock()
        try:
            self._create()
            self._follow(self._began + timeout)
        except (CloudError, TrialFailed) as error:
            self._result.problem = str(error)
        except Interrupted:
            self._result.problem = "interrupted"
        finally:
            self._clear()
        return self._result

    def _reached(self, stage: Stage) -> bool:
        return stage in self._result.reached

    def _reach(self, stage: Stage) -> None:
        if not self._reached(stage):
            seconds = self._clock() - self._began
            self._result.reached[stage] = seconds
            self._tell(stage, seconds)

    def _create(self) -> None:
        self._made = True  # until the cloud denies it
        try:
            self._server = self._cloud.create_server(self._request)
        except AmbiguousOutcome as error:
            self._doubt = str(error)  # following it by name tells
        except CloudError:
            self._made = False
            raise
        else:
            self._reach(Stage.REQUESTED)

    def _follow(self, end: float) -> None:
        while True:
            if self._stopping():
                raise Interrupted
            server = self._look()
            if server is not None:
                self._reach(Stage.REQUESTED)
                self._heed(server)
            elif self._doubt and self._server is None and self._clock() > min(end, self._began + SHOW_SECONDS):
                raise TrialFailed(f"no server showed up after the cloud's answer: {self._doubt}")
            if self._reached(Stage.PILOT_FETCHED):
                return
            if self._reached(Stage.FIRST_WORD):
                if self._clock() > self._began + self._result.reached[Stage.FIRST_WORD] + FETCH_SECONDS:
                    raise TrialFailed(f"it spoke, and did not fetch the pilot within {FETCH_SECONDS:.0f} s")
            elif self._clock() > end:
                last = list(self._result.reached)[-1]
                status = f", its server is {server.status.value}" if server else ""
                if self._reached(Stage.ACTIVE) and not self._result.console:
                    status += "; its console shows nothing: does this cloud give consoles?"
                raise TrialFailed(f"no first word in time; it came as far as '{last}'{status}")
            self._sleep(POLL_SECONDS)

    def _look(self) -> Server | None:
        """The server now. A look that fails is followed by the next."""
        try:
            server = self._cloud.find_server(self._request.identity.name)
        except CloudError:
            return None
        if server is not None:
            self._server, self._missed = server, 0
            return server
        self._missed += 1
        if self._server is not None and self._missed >= _MISSED_LOOKS:
            raise TrialFailed("its server disappeared")
        return None

    def _heed(self, server: Server) -> None:
        """What a server's state and console say."""
        if server.status is ServerStatus.ERROR:
            raise TrialFailed(f"the cloud could not start it: {server.fault or 'no reason given'}")
        if server.status not in (ServerStatus.ACTIVE, ServerStatus.STOPPED):
            return
        self._reach(Stage.ACTIVE)
        self._read(server)
        report = parse_console(self._result.console, self._request.identity.vm)
        if report.spoke:
            self._reach(Stage.FIRST_WORD)
        if report.pilot_started:
            self._reach(Stage.PILOT_FETCHED)
        elif report.said is not None:
            raise TrialFailed(f"it ended before its pilot started, code {report.said.code}: {report.said.reason}")
        elif server.status is ServerStatus.STOPPED:
            raise TrialFailed("it stopped without a word of why")

    def _read(self, server: Server) -> None:
        try:
            self._result.console = self._cloud.console_log(server.id)
        except CloudError as error:
            self._result.console = self._result.console or f"(its console cannot be read: {error})"

    def _clear(self) -> None:
        """Delete until the cloud no longer knows it; nothing interrupts this."""
        if not self._made:
            return
        end, missed = self._clock() + DELETE_SECONDS, 0
        while self._clock() < end:
            try:
                if self._server is not None:
                    self._cloud.delete_server(self._server.id)
                found = self._cloud.find_server(self._request.identity.name)
                # Nova may not list one that it is about to build, and show it again afterwards.
                missed = 0 if found else missed + 1
                # One that may or may not have been made could still show up.
                settled = self._server is not None or self._clock() > end - DELETE_SECONDS / 2
                if missed >= _MISSED_LOOKS and settled:
                    if self._server is not None:
                        self._reach(Stage.GONE)
                    return
                self._server = found or self._server
            except CloudError:
                pass
            self._sleep(POLL_SECONDS)
        self._result.left_behind = True


def console_tail(text: str) -> str:
    """The end of a console, for people; from a line's beginning."""
    tail = text[-_TAIL:]
    return tail if tail == text else tail.split("\n", 1)[-1]
