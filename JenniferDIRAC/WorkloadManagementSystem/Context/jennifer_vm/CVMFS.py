"""CVMFS: squids that answer, in order; the configuration; and whether the repositories can be read."""

import json
import os
import re
import shlex

from .Console import printable
from .Ends import BAD_NODE, Ended
from .Machine import find_tool, read_text, run_tool, under

CONFIGURATION = "/etc/cvmfs/default.local"
STRATUM_ONE = "http://cvmfs-stratum-one.cern.ch/cvmfs/{}/.cvmfspublished"
PROXY_TIMEOUT = 4  # seconds
SHOAL_TIMEOUT = 10
MAX_SHOAL_BYTES = 1024 * 1024
TOOL_SECONDS = 120  # for one repository, which may have to be fetched from far away
DIRECT = "DIRECT"


def configure(settings, root, console):
    """Write the configuration for the repositories that the settings name, and read them once.

    :return: the proxies, as CVMFS is told them; "" when no repository is named: the image's own stays
    :raises Ended: there is no CVMFS, or a repository cannot be read
    """
    repositories = settings.get("repositories", ())
    if not repositories:
        return ""
    tool = find_tool(root, "cvmfs_config")
    if not tool:
        raise Ended(BAD_NODE, f"CVMFS is not installed, and {', '.join(repositories)} is wanted")
    url = STRATUM_ONE.format(repositories[0])
    groups, silent = answering(configured(settings.get("proxies", ())), url)
    found = nearest(settings["shoal"], console) if settings.get("shoal") else []
    more, silent_too = answering([[proxy] for proxy in found], url)
    groups += [group for group in more if group not in groups]
    proxies = ";".join(["|".join(group) for group in groups] + [DIRECT])
    silent += silent_too
    console.note(f"CVMFS goes by {proxies}" + (f"; no answer from {', '.join(silent)}" if silent else ""))
    write(under(root, CONFIGURATION), repositories, proxies)
    if any(line.split()[1:2] and line.split()[1].startswith("/cvmfs/") for line in _mounts(root)):
        run_tool([tool, "reload"], TOOL_SECONDS)
    for repository in repositories:
        code, said = run_tool([tool, "probe", repository], TOOL_SECONDS)
        if code != 0:  # a mount that failed before, without a proxy, may be remembered
            run_tool([tool, "reload"], TOOL_SECONDS)
            code, said = run_tool([tool, "probe", repository], TOOL_SECONDS)
        if code != 0:
            last = said.splitlines()[-1] if said else f"exit code {code}"
            tried = proxies + (f", no answer from {', '.join(silent)}" if silent else "")
            raise Ended(BAD_NODE, printable(f"CVMFS repository {repository} by {tried}: {last}", 500))
    return proxies


def configured(proxies):
    """Groups of proxies, in order: CVMFS balances within a group and falls back to the next. DIRECT is left out."""
    groups = [group.split("|") for text in proxies for group in text.split(";")]
    groups = [[proxy.strip() for proxy in group if proxy.strip() not in ("", DIRECT)] for group in groups]
    return [group for group in groups if group]


def answering(groups, url):
    """The same groups without the proxies that do not answer; and those."""
    silent = [proxy for group in groups for proxy in group if not answers(proxy, url)]
    groups = [[proxy for proxy in group if proxy not in silent] for group in groups]
    return [group for group in groups if group], silent


def answers(proxy, url):
    """Whether a proxy forwards for us: whatever the other side says, it does not refuse us itself."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(proxy)
        connection = HTTPConnection(parts.hostname, parts.port or 3128, timeout=PROXY_TIMEOUT)
        try:
            connection.request("GET", url)
            return connection.getresponse().status not in (403, 407)
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError, TypeError, OverflowError):
        return False


def nearest(url, console):
    """The proxies that a Shoal server lists (``/nearest``), nearest first; [] if it does not."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=SHOAL_TIMEOUT) as answer:
            return shoal_proxies(json.loads(answer.read(MAX_SHOAL_BYTES).decode("utf-8")))
    except (OSError, HTTPException, ValueError) as error:
        console.note(f"Shoal at {url}: {error}")
        return []


def shoal_proxies(listed):
    """Shoal's answer as proxies: an object of caches by rank, null if it knows none.

    A cache is ``local`` when it is in our network: its private address comes first then.
    """
    if not isinstance(listed, dict):
        return []
    proxies = []
    for rank in sorted((rank for rank in listed if rank.isdigit() and isinstance(listed[rank], dict)), key=int):
        cache = listed[rank]
        names = ["public_ip"] if not cache.get("local") else ["private_ip", "public_ip"]
        port = str(cache.get("squid_port"))
        for address in (str(cache.get(name)) for name in names):
            # A word of somebody else's, which root's shell is going to read.
            if re.match(r"\d+(\.\d+){3}$", address) and re.match(r"\d{1,5}$", port):
                proxies.append(f"http://{address}:{port}")
    return proxies


def write(path, repositories, proxies):
    """Write CVMFS's configuration, which shells read."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(f"CVMFS_REPOSITORIES={shlex.quote(','.join(repositories))}\n")
        file.write(f"CVMFS_HTTP_PROXY={shlex.quote(proxies)}\n")
    os.chmod(path, 0o644)


def _mounts(root):
    return read_text(under(root, "/proc/mounts")).splitlines()
