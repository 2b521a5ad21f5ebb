"""The whole life of a VM: from its first word to the power switch."""

import json
import os
import sys
import time

from .Console import Console, printable, serial_consoles
from .Ends import BAD_NODE, OTHER, Ended
from .Interrupts import Interrupts
from .Machine import Clock, TrialClock, guard, under, uptime, within

SETTINGS = "/etc/jennifer/vm.json"
WORDS = "/var/log/jennifer/jennifer.log"
LOG_FILE = "/var/log/jennifer/pilot.log"
CLOUD_INIT_LOG = "/var/log/cloud-init-output.log"
MIN_DISK_MIB = 512
GRACE = 10  # seconds for one step of the end; what hangs longer, as on a dead file system, is left behind


def from_command_line():
    """``--version`` tells it; ``--root DIR`` lives in a directory, whose machine stays on; else this VM's life.

    With ``--redeemed`` the gateway has given all for the ticket, and standard input has it.
    """
    arguments = sys.argv[1:]
    redeemed = arguments[:1] == ["--redeemed"] and arguments.pop(0) and sys.stdin
    if arguments == ["--version"]:
        print(f"jennifer-vm {version()}")
    elif len(arguments) == 2 and arguments[0] == "--root":
        main(
            root=arguments[1],
            power_off=lambda: print("this is a trial: the machine stays on"),
            redeemed=redeemed,
        )
    elif arguments:
        usage = "[--version | [--redeemed] [--root DIR]]; without options it ends by switching this machine off"
        sys.exit(f"usage: {sys.argv[0]} {usage}")
    elif not os.path.exists(SETTINGS):
        # Somebody tries this on a machine of his own; and a VM of which we know nothing is the director's to delete.
        sys.exit(f"no {SETTINGS}: this is no VM of JenniferDIRAC, and it stays on")
    else:
        main(redeemed=redeemed)


def version():
    """The beginning of the SHA-256 of this program, as a preview of user-data shows it."""
    import hashlib

    try:
        with open(sys.argv[0], "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except OSError:
        return "unpacked"


def main(settings_path=SETTINGS, root="/", power_off=None, clock=None, redeemed=None):
    """The whole life of this VM.

    :param root: stands for ``/`` in every path, so that all of this can be tried in a directory
    :param power_off: called last, whatever happened. Default: this machine is switched off
    :param redeemed: a stream with what the gateway gave for the ticket. Default: it is still to be asked
    """
    clock = clock or (Clock() if root == "/" else TrialClock())
    life = Life(root, clock, redeemed)
    code, reason = OTHER, "jennifer-vm stopped without a reason"
    try:
        code, reason = life.lead(under(root, settings_path))
    except Ended as end:
        code, reason = end.code, end.reason
    except BaseException as error:  # there is nobody above us who would switch the machine off
        code, reason = BAD_NODE, f"{type(error).__name__}: {error}"
    finally:
        try:
            life.interrupts.ignore()
            life.end(code, reason)
        finally:
            (power_off or switch_off)()
    return code


def switch_off():
    from .PowerOff import switch_off

    switch_off()


class Life:
    """What the steps of a life have in common.

    ``settings`` are those of the file, and after the ticket's redemption the gateway's over them.
    """

    def __init__(self, root, clock, redeemed=None):
        self.root = root
        self.clock = clock
        self.redeemed = redeemed
        self.began = clock.monotonic()
        self.console = Console(serial_consoles(root), under(root, WORDS))
        self.interrupts = Interrupts()
        self.settings = {}
        self.contact = None
        self.logging = None
        self.pilot_began = False

    def lead(self, settings_path):
        """Everything from the first word to the pilot's end; gives its HSF code and reason."""
        with open(settings_path) as file:
            self.settings = json.load(file)
        self.console.vm_id = self.settings["vm_id"]
        self.console.say("hello", time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), uptime=uptime())
        self._arm()
        guard(self.root)
        self._meet_gateway()
        return self._work()

    def end(self, code, reason):
        """The last words, wherever they can be heard; takes its time, and survives whatever happens."""
        from .Hygiene import remove_secrets

        within(GRACE, remove_secrets, self.settings, self.root)
        if self.contact:
            self.console.say("verdict", code=code, reason=printable(reason))
            try:
                self.contact.end(code, reason, self.latest, self.interrupts)
            except BaseException as error:  # by a signal of the host, which has waited long enough
                self.console.note(f"the gateway does not have all: {error}")
            self.interrupts.ignore()
        # Twice, because the kernel may speak in the middle of one; the director wants one whole line.
        for _ in range(2):
            self.console.say("end", code=code, reason=printable(reason))
        if self.logging:
            within(GRACE, self.logging.end, code, self.pilot_began)
        within(GRACE, os.sync)

    @property
    def latest(self):
        """The end of the longest lifetime, on the monotonic clock."""
        return self.began + self.settings["max_lifetime"]

    def _arm(self):
        longest = self.settings["max_lifetime"]
        left = self.latest - self.clock.monotonic()
        self.interrupts.arm(left, f"reached its longest lifetime of {longest} s")

    def _meet_gateway(self):
        """Redeem the ticket, and begin to tell the gateway how this VM is."""
        from .PilotEnvironment import HOSTS, add_hosts

        add_hosts(under(self.root, HOSTS), self.settings["extra_hosts"])
        if "gateway" not in self.settings:
            return
        from .Contact import Contact
        from .Gateway import Gateway
        from .Hygiene import WORK_DIRECTORY
        from .Redemption import redeem, take_over

        gateway = Gateway(self.settings["gateway"], self.settings["vm_id"], self.clock)
        if self.redeemed:
            take_over(self.redeemed, gateway, self.settings, self.root, self.clock, self.console)
        else:
            redeem(gateway, self.settings, self.root, self.clock, self.console, self.began)
        self._arm()
        add_hosts(under(self.root, HOSTS), self.settings["extra_hosts"])
        logs = {"jennifer": WORDS, "pilot": LOG_FILE, "cloud-init": CLOUD_INIT_LOG}
        paths = {label: under(self.root, path) for label, path in logs.items()}
        work = under(self.root, os.path.dirname(WORK_DIRECTORY))
        os.makedirs(work, exist_ok=True)
        self.contact = Contact(
            gateway, self.settings, paths, self.root, work, self.clock, self.console, self.interrupts.order
        )

    def _work(self):
        from .Hygiene import WORK_DIRECTORY, close_drives, hand_over_proxy, remove_cloud_init_copies
        from .PilotEnvironment import give, install_files, pilot_account, pilot_environment
        from .PilotFiles import fetch_pilot, unpack
        from .PilotLog import PilotLog
        from .PilotProcess import run_pilot

        settings, root, console = self.settings, self.root, self.console
        work = under(root, WORK_DIRECTORY)
        cert_dir = under(root, settings["cert_dir"])
        install_files(cert_dir, settings["trust_anchors"])
        account = pilot_account(settings["pilot_user"])
        os.makedirs(work, mode=0o755, exist_ok=True)
        os.chmod(work, 0o700)
        proxy = hand_over_proxy(settings, root, work)
        # Who looks there too early makes autofs remember that it cannot be mounted.
        on_cvmfs = cert_dir.startswith("/cvmfs/")
        if not on_cvmfs:
            self._begin_logging(proxy, cert_dir)
        self._need_disk(work)
        self._close_metadata()
        self._configure_cvmfs()
        if on_cvmfs:
            self._begin_logging(proxy, cert_dir)
        fetch_pilot(settings["pilot_file_urls"], work, cert_dir, self.clock)
        unpack(os.path.join(work, "pilot.tar"), work)
        environment = pilot_environment(settings, account, root)
        environment["X509_USER_PROXY"] = proxy
        remove_cloud_init_copies(root)
        close_drives(root)
        give(work, account)
        console.say("pilot-start", disk_mib=self._need_disk(work))
        if self.logging:
            within(GRACE, self.logging.begin)
        self.pilot_began = True
        log = PilotLog()
        if self.contact:
            self.contact.pilot_starts(log)
        command = [sys.executable, "dirac-pilot.py"] + settings["pilot_argv"]
        log_file, alone = under(root, LOG_FILE), root == "/"
        exit_code = run_pilot(command, work, environment, account, log, console, log_file, self.interrupts, alone)
        console.say("pilot-end", exit=exit_code, jobs=log.jobs)
        return log.verdict(exit_code)

    def _need_disk(self, work):
        """MiB that are free for the pilot.

        :raises Ended: too few
        """
        from .Vitals import disk_mib

        free, needed = disk_mib(work), self.settings.get("min_disk_mib", MIN_DISK_MIB)
        if free < needed:
            raise Ended(BAD_NODE, f"{free} MiB of disk are free for the pilot, and {needed} are needed")
        return free

    def _close_metadata(self):
        from .Firewall import ADDRESSES, close_metadata

        still_open, done = close_metadata(self.settings.get("metadata", ADDRESSES), self.root)
        if still_open:
            self.console.note(f"the metadata service is open to payloads: {still_open}")
        self._note("metadata", f"open: {still_open}" if still_open else done)

    def _configure_cvmfs(self):
        from .CVMFS import configure

        proxies = configure(self.settings.get("cvmfs", {}), self.root, self.console)
        if proxies:
            self._note("cvmfs", proxies)

    def _note(self, name, text):
        if self.contact:
            self.contact.status.notes[name] = text

    def _begin_logging(self, proxy, cert_dir):
        wanted = self.settings.get("pilot_logger", {})
        if wanted.get("url"):
            from .PilotLogging import PilotLogging

            try:
                self.logging = PilotLogging(wanted, proxy, cert_dir, self.console)
            except (OSError, ValueError) as error:
                self.console.note(f"no remote pilot logging: {error}")
