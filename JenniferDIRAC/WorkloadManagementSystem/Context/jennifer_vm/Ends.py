"""How a VM ends: codes of HSF-TN-2016-04, and the exception that carries one."""

STOPPED, SUCCESS, NO_WORK, BANNED, BAD_NODE, BAD_VO, OTHER = 100, 200, 300, 400, 500, 600, 700


class Ended(Exception):
    """This VM's end: an HSF code and a reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code
        self.reason = reason
