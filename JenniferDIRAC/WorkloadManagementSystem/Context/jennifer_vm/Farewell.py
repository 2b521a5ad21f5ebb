"""What the gateway is told at the end: the logs to their end, and why it is one."""

from .Gateway import Away, Over, Refused
from .Pauses import growing

HOST_PATIENCE = 20  # seconds that are left when the host wants its machine back
LEAST_SECONDS = 60  # for one who ends because its time is over


def say_farewell(gateway, heartbeat, uploads, code, reason, clock, lease, latest):
    """Send the logs, then the end report; wait for a gateway that is away.

    It is waited for ``lease`` seconds since it last answered or since now, whichever is later, and never for more than
    twice that, as one that answers and never takes the logs would have us.

    :param latest: on the monotonic clock, when to give up whatever happens
    :return: "", or why the gateway does not have all
    """
    began = clock.monotonic()
    for pause in growing():
        heartbeat.tell()
        try:
            uploads.send()
            gateway.end(code, reason)
            return ""
        except (Over, Refused) as error:
            return str(error)
        except Away as error:
            problem, pause = str(error), max(pause, error.again)
        until = min(max(gateway.last_answer, began) + lease, began + 2 * lease, latest)
        if heartbeat.deadline is not None:
            until = min(until, max(heartbeat.deadline, began + LEAST_SECONDS))
        left = until - clock.monotonic()
        if left < 1:
            return f"{problem}; {say_end(gateway, code, reason)}"
        clock.sleep(min(pause, left))
    raise AssertionError("pauses have no end")


def say_end(gateway, code, reason):
    """The end report alone, tried once; what became of it."""
    try:
        gateway.end(code, reason)
    except (Away, Refused) as error:
        return f"no end report: {error}"
    return "but it has the end report"
