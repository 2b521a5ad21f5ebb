"""What the pilot finds: an account, an environment, certificates, hosts."""

import os

from .Ends import BAD_NODE, Ended
from .Machine import read_text, under

HOSTS = "/etc/hosts"


def add_hosts(path, lines):
    """Add lines to the hosts file that are not there yet."""
    text = read_text(path)
    missing = [line for line in lines if line not in text.splitlines()]
    if missing:
        with open(path, "a") as file:
            file.write("".join(line + "\n" for line in ([""] if text and not text.endswith("\n") else []) + missing))


def install_files(directory, files):
    """Write public files (CA certificates by their hash names) into a directory for all to read."""
    for name, text in files.items():
        if os.path.basename(name) != name or name.startswith("."):
            raise Ended(BAD_NODE, "a trust anchor has a name that is no file name")
        os.makedirs(directory, mode=0o755, exist_ok=True)
        with open(os.path.join(directory, name), "w") as file:
            file.write(text)
        os.chmod(os.path.join(directory, name), 0o644)


def pilot_account(name):
    """The account of the pilot's user, made when it is missing."""
    import pwd
    import subprocess

    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    command = ["useradd", "--create-home", "--shell", "/bin/bash", name]
    try:
        subprocess.check_call(command, stdin=subprocess.DEVNULL)
        return pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise Ended(BAD_NODE, f"cannot make the user {name}: {error}") from error


def pilot_environment(settings, account, root):
    """The pilot's environment: a log-in's few variables and what the director set."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "LANG": "C.UTF-8",
        # A pilot that dies takes what is in its buffer with it.
        "PYTHONUNBUFFERED": "yes",
    }
    environment.update(settings["pilot_env"])
    for name in ("X509_CERT_DIR", "X509_VOMS_DIR", "X509_VOMSES"):
        if name in environment:
            environment[name] = under(root, environment[name])
            fill_empty_directory(environment[name])
    return environment


def fill_empty_directory(path):
    """Make a directory, with an empty file in it: the pilot stops without a word at an empty VOMS directory."""
    if path.startswith("/cvmfs/") or (os.path.exists(path) and not os.path.isdir(path)):
        return  # VOMS takes a file in place of the directory too
    if os.path.isdir(path) and os.listdir(path):
        return
    os.makedirs(path, mode=0o755, exist_ok=True)
    with open(os.path.join(path, "none"), "w"):
        pass


def give(directory, account):
    """Make a directory and all in it the pilot's."""
    if account.pw_uid == os.geteuid():
        return
    for parent, directories, files in os.walk(directory):
        for name in [parent] + [os.path.join(parent, name) for name in directories + files]:
            os.chown(name, account.pw_uid, account.pw_gid, follow_symlinks=False)
