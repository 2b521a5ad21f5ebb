"""The service's exported methods, called as a client does."""

import json

from DIRAC.Core.Utilities import DEncode

from JenniferDIRAC.WorkloadManagementSystem.Service.VirtualMachineManagerHandler import (
    VirtualMachineManager,
    VirtualMachineManagerHandler,
)


def caller(store, username, now):
    """A function that calls a method as this user does, with what DIRAC's transport makes of arguments and answer."""

    class Handler(VirtualMachineManagerHandler):
        manager = VirtualMachineManager(store, lambda: now)

        def __init__(self):
            """No server behind it."""

        def getRemoteCredentials(self):
            return {"username": username, "group": "dirac_admin"}

    def call(method, *arguments):
        arguments, _ = DEncode.decode(DEncode.encode(list(arguments)))
        result = getattr(Handler(), f"export_{method}")(*arguments)
        sent = {key: result[key] for key in ("OK", "Value", "Message") if key in result}
        received, _ = DEncode.decode(DEncode.encode(sent))
        json.dumps(received)
        return received

    return call
