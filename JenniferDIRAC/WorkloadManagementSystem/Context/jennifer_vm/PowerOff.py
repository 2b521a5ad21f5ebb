"""The power switch."""

import time

from .Machine import under, within

POWER_OFF_PATIENCE = 30  # seconds for one way of switching off before the next is tried


def switch_off(root="/", pause=time.sleep):
    """Switch the machine off: by systemd, without it, and by the kernel's magic key."""
    import signal
    import subprocess

    for command in (["systemctl", "poweroff", "--force"], ["poweroff", "-f"]):
        if within(POWER_OFF_PATIENCE, subprocess.call, command) == 0:
            # The machine's last act is to wait for whoever ignores SIGTERM.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            pause(POWER_OFF_PATIENCE)
    for path, value in (("/proc/sys/kernel/sysrq", "1"), ("/proc/sysrq-trigger", "o")):
        try:
            with open(under(root, path), "w") as file:
                file.write(value)
        except OSError:  # the first may be read-only and the second work all the same
            pass
