"""Secrets: handed over, and nowhere left behind."""

import os

from .Ends import BAD_NODE, Ended
from .Machine import under

# Where cloud-init keeps user-data, or a configuration with user-data's files in it, for root alone to read.
CLOUD_INIT_COPIES = (
    "/var/lib/cloud/instances/*/user-data.txt*",
    "/var/lib/cloud/instances/*/cloud-config.txt",
    "/var/lib/cloud/instances/*/obj.pkl",
    "/var/lib/cloud/seed/*/user-data",
    "/run/cloud-init/instance-data-sensitive.json",
    "/run/cloud-init/combined-cloud-config.json",
)
DRIVES = ("/sys/class/block", "/sys/class/scsi_generic")
WORK_DIRECTORY = "/var/lib/jennifer/pilot"
PROXY = "proxy.pem"  # in the work directory
MAX_SHREDDED_BYTES = 64 * 1024 * 1024


def hand_over_proxy(settings, root, work):
    """Write the proxy into a file that becomes the pilot's, and give its path; nothing of root's keeps it."""
    credential = settings["credential"]
    kind, source = credential.get("kind"), None
    if kind == "proxy":
        content = credential.pop("pem").encode("ascii")
    elif kind == "proxy-file":
        source = under(root, credential["path"])
        with open(source, "rb") as file:
            content = file.read()
    else:
        raise Ended(BAD_NODE, "unknown kind of credential")
    path = os.path.join(work, PROXY)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    if source:
        shred(source)
    return path


def remove_cloud_init_copies(root):
    """Remove the copies of the user-data that cloud-init keeps: they hold the credential too.

    A payload that becomes root finds it in the seed drive still; and everybody in a metadata service, if there is one.
    """
    import glob

    for pattern in CLOUD_INIT_COPIES:
        for path in glob.glob(under(root, pattern)):
            shred(path)


def close_drives(root):
    """Let root alone read block devices, the seed drive among them: images put their users into groups that may."""
    for directory in DRIVES:
        directory = under(root, directory)
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            try:
                os.chmod(under(root, "/dev/" + name.replace("!", "/")), 0o600)
            except FileNotFoundError:
                pass


def remove_secrets(settings, root):
    """Remove every copy of the credential but the seed drive's."""
    for path in (settings.get("credential", {}).get("path"), settings.get("gateway", {}).get("ticket")):
        if path:
            shred(under(root, path))
    shred(os.path.join(under(root, WORK_DIRECTORY), PROXY))
    remove_cloud_init_copies(root)


def shred(path):
    """Overwrite and remove a file, if it is there; only remove what a payload has put in its place."""
    import stat

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "wb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                file.write(b"\0" * min(status.st_size, MAX_SHREDDED_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        pass
    try:
        os.unlink(path)
    except OSError:
        pass
