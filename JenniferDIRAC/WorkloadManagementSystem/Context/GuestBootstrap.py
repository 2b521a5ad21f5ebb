"""What starts a VM whose user-data have no room for the in-VM program, see ``templates/minimal.yaml.j2``.

It redeems the ticket, writes the program that comes in the envelope, and becomes that program, which finds the answer
and the session on its standard input: a file without a name, so they are in no argument list, environment or directory.
Where it ends instead, the shell that called it switches the machine off.

Python 3.6 to 3.13, standard library only; every word of it is in user-data (``GuestProgram.packed_bootstrap``).
"""

import base64
import json
import os
import ssl
import sys
import tempfile
import time
import urllib.request


def start(root):
    with open(root + "/etc/jennifer/vm.json") as file:
        settings = json.load(file)
    with open(root + "/dev/console", "w") as console:
        vm_id = settings["vm_id"]
        console.write(f"\n@jennifer {vm_id} hello\n")
        console.flush()
        try:
            with open(root + "/etc/hosts", "a") as file:
                file.write("\n".join(["", *settings["extra_hosts"], ""]))
            become(root, redeem(root, settings))
        except Exception as error:
            reason = json.dumps(f"no start by the gateway: {error!r}"[:180])
            console.write(f"\n@jennifer {vm_id} end code=500 reason={reason}\n" * 2)


def redeem(root, settings):
    """What the gateway answers, with the session that goes with it; as in ``jennifer_vm/Redemption.py``."""
    gateway = settings["gateway"]
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if gateway["ca"]:
        context.load_verify_locations(cadata=gateway["ca"])
    session = base64.urlsafe_b64encode(os.urandom(32)).decode()[:43]
    with open(root + gateway["ticket"]) as file:
        body = json.dumps({"ticket": file.read().strip(), "session": session}).encode()
    url = gateway["url"] + "/vm/v1/" + settings["vm_id"] + "/redeem"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    latest = time.monotonic() + settings["boot_patience"]
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                assert answer.geturl() == url
                return dict(json.loads(answer.read().decode()), session=session)
        except Exception as error:
            if getattr(error, "code", 0) == 403 or time.monotonic() > latest:
                raise
            time.sleep(20 + os.urandom(1)[0] / 13)


def become(root, answer):
    program = root + "/opt/jennifer/jennifer-vm"
    with open(program, "wb") as file:
        file.write(base64.b64decode(answer["envelope"].pop("program")))
    with tempfile.TemporaryFile("w+", dir=root + "/run") as file:
        json.dump(answer, file)
        file.seek(0)
        os.dup2(file.fileno(), 0)
    os.execv(sys.executable, [sys.executable, program, "--redeemed", *sys.argv[1:]])


if __name__ == "__main__":
    start("".join(sys.argv[2:]))
