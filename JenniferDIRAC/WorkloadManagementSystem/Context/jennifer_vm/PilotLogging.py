"""DIRAC's own remote pilot logging (``TornadoPilotLogging``): our words there, beside the pilot's."""

import json

TIMEOUT = 8  # seconds


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

    def send(self):
        """Send the lines that were not sent yet; as Pilot 3's RemoteLogger does.

        :raises OSError: it was not taken
        """
        from urllib.parse import urlencode
        from urllib.request import urlopen

        lines = self._console.lines[self._sent :]
        if lines:
            message = json.dumps([line.rstrip("\n") for line in lines])
            arguments = json.dumps([message, self._settings.get("stamp", ""), self._settings.get("vo", "")])
            form = urlencode({"method": "sendMessage", "args": arguments}).encode("ascii")
            with urlopen(self._settings["url"], form, timeout=TIMEOUT, context=self._context):
                self._sent += len(lines)
