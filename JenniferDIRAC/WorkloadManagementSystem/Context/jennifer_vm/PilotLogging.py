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
        lines = self._console.lines[self._sent :]
        if lines:
            self._call("sendMessage", [line.rstrip("\n") for line in lines])
            self._sent += len(lines)

    def close(self, code):
        """Tell that no pilot will say more: DIRAC keeps only logs that are closed. A pilot that began does so itself.

        :raises OSError: it was not taken
        """
        self._call("finaliseLogs", {"retCode": str(code)})

    def _call(self, method, message):
        from urllib.parse import urlencode
        from urllib.request import urlopen

        told = self._settings
        arguments = json.dumps([json.dumps(message), told.get("stamp", ""), told.get("vo", "")])
        form = urlencode({"method": method, "args": arguments}).encode("ascii")
        with urlopen(told["url"], form, timeout=TIMEOUT, context=self._context):
            pass
