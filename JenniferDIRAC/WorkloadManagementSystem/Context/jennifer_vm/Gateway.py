"""The gateway's client: HTTPS and JSON, no redirects, no proxies; every trouble is one of three exceptions."""

import json
import os

from .Console import printable
from .Ends import BAD_NODE, Ended

TIMEOUT = 20  # seconds without a byte
ANSWER_SECONDS = 60  # for one whole answer
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_REASON = 1000  # characters of an end report
LONGEST_RETRY = 600  # seconds that a gateway may ask us to wait


class Away(Exception):
    """No use for now, try again: not reached, broken off, busy, full, or it does not know this session.

    ``again``: seconds that it asks to wait. ``slow``: the body came too slowly.
    """

    def __init__(self, text, again=0, slow=False):
        super().__init__(text)
        self.again = again
        self.slow = slow


class Over(Away):
    """This VM's life is over, says the gateway."""


class Refused(Exception):
    """The gateway will not do this, however often it is asked; ``status`` is HTTP's."""

    def __init__(self, status, text):
        super().__init__(f"HTTP status {status}: {text}")
        self.status = status


class OtherOffset(Exception):
    """The gateway has ``size`` bytes of this log."""

    def __init__(self, size):
        super().__init__(f"the gateway has {size} bytes")
        self.size = size


class Gateway:
    """One VM's view of the gateway. The session is made here, and is nowhere but in this object.

    :param settings: ``url``, and ``ca``: PEM of more authorities than the system's, or ""
    """

    def __init__(self, settings, vm_id, clock):
        from base64 import urlsafe_b64encode
        from urllib.parse import quote, urlsplit

        parts = urlsplit(settings["url"])
        if parts.scheme != "https" or not parts.hostname:
            raise Ended(BAD_NODE, "the gateway's URL is not of the form https://host:port")
        self._address = parts.hostname, parts.port or 443
        self._base = f"{parts.path.rstrip('/')}/vm/v1/{quote(vm_id, safe='')}"
        self._ca = settings.get("ca", "")
        self._clock = clock
        self._context = None
        self._session = urlsafe_b64encode(os.urandom(32)).decode("ascii").rstrip("=")
        self.last_answer = clock.monotonic()

    def redeem(self, ticket):
        """Give the ticket, and make our session known: the envelope, and the gateway's time in seconds since 1970.

        May be repeated: a ticket goes with one session for good.
        """
        answer = self._post("/redeem", {"ticket": ticket, "session": self._session}, authorised=False)
        if not isinstance(answer.get("envelope"), dict):
            raise Away("an answer without an envelope")
        return answer["envelope"], _number(answer, "now")

    def resume(self, session):
        """Go on with a session that the gateway knows."""
        self._session = session

    def heartbeat(self, report):
        """Tell how the VM is: whether to drain, and seconds from now to be off by or None."""
        answer = self._post("/heartbeat", report)
        left = None if answer.get("deadline") is None else _number(answer, "deadline") - _number(answer, "now")
        return answer.get("drain") is True, left

    def end(self, code, reason):
        self._post("/end", {"code": code, "reason": printable(reason, MAX_REASON)})

    def append(self, label, offset, data):
        """Send bytes of a log: the size that the gateway now has.

        :raises OtherOffset: it has another size than ``offset``
        """
        path = f"/logs/{label}?offset={offset}"
        answer = self._call("PUT", path, data, {"Content-Type": "application/octet-stream"}, authorised=True)
        return int(_number(answer, "size"))

    def _post(self, path, values, authorised=True):
        body = json.dumps(values).encode("ascii")
        return self._call("POST", path, body, {"Content-Type": "application/json"}, authorised)

    def _call(self, method, path, body, headers, authorised):
        """:raises Away, Over, Refused, OtherOffset:"""
        from http.client import HTTPException, HTTPSConnection

        if authorised:
            headers["Authorization"] = "Bearer " + self._session
        try:
            if self._context is None:
                self._context = self._trust()
            connection = HTTPSConnection(*self._address, timeout=TIMEOUT, context=self._context)
            try:
                try:
                    connection.request(method, self._base + path, body, headers)
                except ConnectionError:
                    # One that refuses a body does not always read it; its answer may be there all the same.
                    if connection.sock is None:
                        raise
                answer = connection.getresponse()
                content = self._read(answer)
            finally:
                connection.close()
        except TimeoutError as error:
            raise Away(f"no answer within {TIMEOUT} s", slow=True) from error
        except (OSError, HTTPException, ValueError) as error:  # SSLError is an OSError
            raise Away(f"{type(error).__name__}: {error}") from error
        return self._judge(answer.status, answer.getheader("Retry-After", ""), content)

    def _trust(self):
        import ssl

        context = ssl.create_default_context()
        # Python 3.13 is stricter than RFC 5280 was when some of the grid's CAs began; all before it take them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self._ca:
            context.load_verify_locations(cadata=self._ca)
        return context

    def _read(self, answer):
        """The body, unless it is endless in length or time."""
        content, latest = b"", self._clock.monotonic() + ANSWER_SECONDS
        while True:
            piece = answer.read1(65536)
            content += piece
            if not piece:
                return content
            if len(content) > MAX_ANSWER_BYTES or self._clock.monotonic() > latest:
                raise ValueError("an answer without end")

    def _judge(self, status, retry_after, content):
        try:
            values = json.loads(content.decode("utf-8")) if content else {}
        except ValueError:
            values = None
        if 200 <= status < 300:
            if not isinstance(values, dict):
                raise Away("an answer that is no JSON object")
            self.last_answer = self._clock.monotonic()
            return values
        values = values if isinstance(values, dict) else {}
        text = printable(values.get("detail", "no reason given"))
        if status == 409 and isinstance(values.get("size"), int):
            raise OtherOffset(values["size"])
        if status == 410:
            raise Over(f"HTTP status 410: {text}")
        if status in (400, 401, 408, 429) or status >= 500:  # 400: a body that broke off
            again = min(int(retry_after), LONGEST_RETRY) if retry_after.isdigit() else 0
            raise Away(f"HTTP status {status}: {text}", again, slow=status == 408)
        raise Refused(status, text)


def _number(answer, name):
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Away(f"an answer without the number {name}")
    return value
