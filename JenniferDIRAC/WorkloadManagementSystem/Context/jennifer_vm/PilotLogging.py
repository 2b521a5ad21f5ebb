"""DIRAC's own remote pilot logging (``TornadoPilotLogging``): our words there, beside the pilot's."""

import json

from .Console import printable

TIMEOUT = 8  # seconds
TAKEN = b'{"OK": true'  # how the service's answer begins; a refusal comes with HTTP's 200 too
MAX_LINE = 1000  # characters


class PilotLogging:
    """Sends the console's lines; whatever fails is nobody's business.

    :param settings: ``url``, ``stamp`` of the pilot, ``vo``
    :param proxy: the file to show as client certificate; read here, because later it is the payload's
    """

    def __init__(self, settings, proxy, cert_dir, console):
        from .PilotFiles import tls_context

        self._settings = settings
        self._console = console
        self._sent = 0
        self._context = tls_context(cert_dir)
        self._context.load_cert_chain(proxy)

    def begin(self):
        """Send the words so far; why they are not taken is noted on the console."""
        try:
            self._send()
        except (OSError, ValueError) as error:
            self._console.note(f"remote pilot logging: {error}")

    def end(self, code, pilot_began):
        """Send the rest, and close the log: DIRAC keeps only closed ones.

        A pilot that ends in good order has closed it itself. Words that come after that would begin a second log of the
        same name, which stays for ever, or replaces the first when it is closed; so they are not sent.

        :raises OSError, ValueError: it was not taken
        """
        if pilot_began:
            self._call("getLogs", self._settings.get("stamp", ""), self._settings.get("vo", ""))
        self._send()
        self._tell("finaliseLogs", {"retCode": str(code)})

    def _send(self):
        """The lines that were not sent yet; as Pilot 3's RemoteLogger does."""
        lines = self._console.lines[self._sent :]
        if lines:
            self._tell("sendMessage", [printable(line.rstrip("\n"), MAX_LINE) for line in lines])
            self._sent += len(lines)

    def _tell(self, method, message):
        self._call(method, json.dumps(message), self._settings.get("stamp", ""), self._settings.get("vo", ""))

    def _call(self, method, *arguments):
        """:raises OSError, ValueError: no answer, or a refusal (of a closed log too)"""
        from urllib.parse import urlencode
        from urllib.request import urlopen

        form = urlencode({"method": method, "args": json.dumps(arguments)}).encode("ascii")
        with urlopen(self._settings["url"], form, timeout=TIMEOUT, context=self._context) as answer:
            beginning = answer.read(500)
        if not beginning.startswith(TAKEN):
            raise ValueError(f"{method} was refused: {beginning.decode('ascii', 'replace')}")
