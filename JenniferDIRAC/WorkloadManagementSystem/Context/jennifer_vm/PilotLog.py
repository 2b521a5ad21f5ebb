"""What the pilot's output tells about its end."""

import re

from .Ends import BAD_NODE, BAD_VO, BANNED, NO_WORK, OTHER, STOPPED, SUCCESS


class PilotLog:
    """What the pilot's output tells about why it stopped; fed line by line."""

    STOP = re.compile(r'JobAgent will stop with message "(.*)", execution complete')
    JOB = re.compile(r"JobAgent\b.* Received JobID=\d+")
    PAYLOAD_FAILED = re.compile(r"JobAgent\b.* Payload execution failed with error code")
    NO_MATCH = re.compile(r"JobAgent\b.* Job request OK, but no match found")
    REFUSED = re.compile(r"version mismatch|version .*not (?:matching|allowed)|\bbanned\b|not permitted", re.IGNORECASE)
    ERROR = re.compile(r"\b(?:ERROR|FATAL|[A-Z]\w*Error:)")
    STEP = re.compile(r"Command \w+ instantiated")

    def __init__(self):
        self.stop_message = None
        self.jobs = 0
        self.failed_payloads = 0
        self.no_match = False
        self.refused = ""
        self.last_error = ""

    def feed(self, line):
        """Take a line in; true when it is worth a line on the console."""
        stop = self.STOP.search(line)
        if stop:
            self.stop_message = stop.group(1)
        elif self.JOB.search(line):
            self.jobs += 1
        elif self.PAYLOAD_FAILED.search(line):
            self.failed_payloads += 1
        elif self.NO_MATCH.search(line):
            self.no_match = True
        elif self.ERROR.search(line):
            self.last_error = line.strip()
            if self.REFUSED.search(line):
                self.refused = line.strip()
        else:
            return bool(self.STEP.search(line))
        return True

    def verdict(self, exit_code):
        """The HSF code and reason for a pilot that ended by itself."""
        message = self.stop_message
        if message is None:
            if self.jobs:
                ok = exit_code == 0
                return (SUCCESS if ok else OTHER), f"the pilot ran {self.jobs} job(s), exit code {exit_code}"
            if self.refused:
                return BANNED, self.refused
            if exit_code == 0:
                return (NO_WORK, "no match found") if self.no_match else (OTHER, "the pilot said nothing of its end")
            error = self.last_error or "no error said"
            return BAD_NODE, f"the pilot ended before any job, exit code {exit_code}: {error}"
        if "drained by an operator" in message:
            return STOPPED, message
        if self.jobs:
            if self.failed_payloads >= self.jobs:
                return BAD_VO, f"{message} (all {self.jobs} payload(s) failed)"
            return SUCCESS, f"{message} (after {self.jobs} job(s))"
        if "No more time left" in message:
            return STOPPED, message
        if "Nothing to do" in message or "no match" in message.lower():
            return NO_WORK, message
        if self.refused or self.REFUSED.search(message):
            return BANNED, self.refused or message
        if "JDL Problem" in message:
            return BAD_VO, message
        return OTHER, message
