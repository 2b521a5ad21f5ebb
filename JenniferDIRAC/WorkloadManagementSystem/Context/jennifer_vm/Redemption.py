"""The ticket, given to the gateway for all that this VM is told."""

import json
import os
import time

from .Ends import BAD_NODE, Ended
from .Gateway import Away, Refused
from .Hygiene import shred
from .Machine import under
from .Pauses import growing

BOOT_PATIENCE = 900  # seconds from our first word
CLOCK_TOLERANCE = 30  # seconds
OUR_OWN = ("vm_id", "gateway")  # what no envelope changes


def redeem(gateway, settings, root, clock, console, began):
    """Merge what the gateway tells into the settings, and set the clock by it.

    :param began: when this program did, on the monotonic clock
    :raises Ended: it refuses, or is away for too long
    """
    path = under(root, settings["gateway"]["ticket"])
    try:
        with open(path) as file:
            ticket = file.read().strip()
    except OSError as error:
        raise Ended(BAD_NODE, f"no ticket for the gateway: {error}") from error
    envelope, now = _ask(gateway, ticket, clock, console, began + settings.get("boot_patience", BOOT_PATIENCE))
    shred(path)
    _accept(envelope, now, settings, clock, console)


def take_over(stream, gateway, settings, root, clock, console):
    """The same with what a bootstrap has got for the ticket, and its session.

    :raises Ended: it is not that
    """
    try:
        given = json.load(stream)
        envelope, now = given["envelope"], given["now"]
        gateway.resume(given["session"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Ended(BAD_NODE, f"the bootstrap handed over no answer of the gateway: {type(error).__name__}") from None
    # The file has no name any more: with its last descriptor it is gone.
    os.dup2(os.open(os.devnull, os.O_RDONLY), stream.fileno())
    shred(under(root, settings["gateway"]["ticket"]))
    _accept(envelope, now, settings, clock, console)


def _accept(envelope, now, settings, clock, console):
    settings.update((name, value) for name, value in envelope.get("settings", {}).items() if name not in OUR_OWN)
    settings["credential"] = envelope.get("credential", {})
    set_clock(now, clock, console)


def _ask(gateway, ticket, clock, console, latest):
    told = False
    for pause in growing():
        again = 0
        try:
            return gateway.redeem(ticket)
        except Refused as error:
            if error.status == 403:
                text = "the gateway refused the ticket: used by another, expired, or this VM's life is over"
                raise Ended(BAD_NODE, text) from error
            problem = str(error)
        except Away as error:
            problem, again = str(error), error.again
        left = latest - clock.monotonic()
        if left < 1:
            # A certificate is not yet, or no longer, valid by a clock that is wrong.
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(clock.now()))
            raise Ended(BAD_NODE, f"cannot redeem the ticket at the gateway (clock {when} UTC); last: {problem}")
        if not told:
            console.note(f"the gateway is away: {problem}")
        told = True
        clock.sleep(min(max(pause, again), left))
    raise AssertionError("pauses have no end")


def set_clock(now, clock, console):
    """Set this machine's clock if it is off; proxies and certificates are not valid by a wrong one."""
    off = clock.now() - now
    if abs(off) <= CLOCK_TOLERANCE:
        return
    try:
        clock.set(now)
        console.note(f"the clock was {off:+.0f} s off, and is set by the gateway's")
    except OSError as error:
        console.note(f"the clock is {off:+.0f} s off, and cannot be set: {error}")
