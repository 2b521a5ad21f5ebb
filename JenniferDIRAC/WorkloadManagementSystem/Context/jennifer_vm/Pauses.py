"""How long to wait: with jitter, so that a thousand VMs do not ask at once when a gateway comes back."""

import os

FIRST, LONGEST = 5, 60  # seconds between attempts


def fraction():
    """A random number from 0 to below 1 (the module random takes long to import)."""
    return int.from_bytes(os.urandom(4), "big") / 2.0**32


def jittered(seconds, fraction=fraction):
    """So long, give or take a fifth."""
    return seconds * (0.8 + 0.4 * fraction())


def growing(first=FIRST, longest=LONGEST):
    """Pauses that double up to a longest."""
    seconds = first
    while True:
        yield jittered(seconds)
        seconds = min(2 * seconds, longest)
