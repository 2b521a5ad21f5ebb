"""The serial console, where the director listens."""

import json
import os
import re
import select

from .Machine import read_text, under

ACTIVE_CONSOLES = "/sys/class/tty/console/active"
MAX_KEPT_LINES = 1000


class Console:
    """The serial console, standard output, and a file of the same words for the gateway.

    ``lines`` are those words that are our own, not the pilot's.
    """

    def __init__(self, devices, copy=None, vm_id="unknown"):
        self.devices = devices
        self.copy = copy
        self.vm_id = vm_id
        self.lines = []

    def say(self, word, **values):
        text = "".join(f" {name}={json.dumps(value)}" for name, value in values.items())
        # It begins on a line of its own, whatever the kernel was just saying.
        line = f"\n@jennifer {self.vm_id} {word}{text}\n"
        for device in self.devices:
            try:
                # Not to wait for ever on a console that nobody reads.
                file = os.open(device, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK)
                try:
                    os.write(file, line.encode("ascii", "replace"))
                finally:
                    os.close(file)
            except OSError:
                pass
        try:
            if select.select([], [1], [], 0)[1]:
                os.write(1, line.encode("ascii", "replace"))
        except OSError:
            pass
        self._keep(word, line[1:])

    def note(self, text):
        """What an operator may want to know; nothing acts upon it."""
        self.say("note", text=printable(text))

    def _keep(self, word, line):
        if word != "line" and len(self.lines) < MAX_KEPT_LINES:
            self.lines.append(line)
        if self.copy:
            try:
                os.makedirs(os.path.dirname(self.copy), mode=0o700, exist_ok=True)
                file = os.open(self.copy, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                try:
                    os.write(file, line.encode("ascii", "replace"))
                finally:
                    os.close(file)
            except OSError:  # a full disk
                pass


def serial_consoles(root):
    """The kernel's consoles that are serial lines (the cloud records these), else its main console."""
    names = read_text(under(root, ACTIVE_CONSOLES)).split()
    serial = [name for name in names if not re.match(r"tty\d*$", name)] or ["console"]
    return [under(root, "/dev/" + name) for name in serial]


def printable(text, limit=200):
    """At most ``limit`` characters that no terminal acts upon."""
    return "".join(char if char.isprintable() else " " for char in str(text))[:limit]
