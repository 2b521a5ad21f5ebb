"""The metadata service, closed to payloads: it would tell them this VM's user-data and the cloud's credentials."""

from .Machine import find_tool, read_text, run_tool, under

ADDRESSES = ("169.254.169.254", "fe80::a9fe:a9fe")
RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
TOOL_SECONDS = 20


def close_metadata(addresses, root):
    """Close these addresses to all users but root, and to all that is forwarded.

    By nft; else by iptables and ip6tables; else by a route to nowhere, which closes them for root too.

    :return: what is open still and why, "" if nothing; and what was done
    """
    if not read_text(under(root, "/proc/net/if_inet6")):
        addresses = [address for address in addresses if ":" not in address]
    resolvers = _resolvers(root)
    nft = find_tool(root, "nft")
    if nft:
        for verdict in ("reject", "drop"):  # a kernel may be without the module for rejecting
            code, said = run_tool([nft, "-f", "-"], TOOL_SECONDS, _ruleset(addresses, resolvers, verdict))
            if code == 0:
                return "", "closed by nft"
    problems, ways = [], []
    for address in addresses:
        problem, way = _close_one(address, address in resolvers, root)
        problems += [f"{address}: {problem}"] if problem else []
        ways += [way] if way and way not in ways else []
    return "; ".join(problems), "closed by " + " and ".join(ways) if ways else "open"


def _resolvers(root):
    """The name servers: some clouds have one at the metadata service's address."""
    lines = [line.split() for path in RESOLVERS for line in read_text(under(root, path)).splitlines()]
    return {words[1].split("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver"}


def _ruleset(addresses, resolvers, verdict):
    """nft's rules, in a table of our own; names of users and files cannot come into it."""
    output, forward = [], []
    for address in addresses:
        match = f"{'ip6' if ':' in address else 'ip'} daddr {address}"
        match += " tcp dport 80" if address in resolvers else ""
        output.append(f"{match} meta skuid != 0 {verdict}")
        forward.append(f"{match} {verdict}")
    chains = "".join(
        f"chain {name} {{ type filter hook {name} priority 0; policy accept;\n" + "\n".join(rules) + "\n}\n"
        for name, rules in (("output", output), ("forward", forward))
    )
    return f"table inet jennifer {{\n{chains}}}\n"


def _close_one(address, resolves, root):
    """By iptables or a route; gives the problem, "" if there is none, and the tool."""
    name = "ip6tables" if ":" in address else "iptables"
    tool = find_tool(root, name)
    problem = f"no nft that works, no {name}"
    if tool:
        port = ["-p", "tcp", "--dport", "80"] if resolves else []
        others = ["-m", "owner", "!", "--uid-owner", "0"]
        for chain, who in (("OUTPUT", others), ("FORWARD", [])):
            command = [tool, "-w", "-I", chain, "-d", address] + port + who + ["-j", "REJECT"]
            code, said = run_tool(command, TOOL_SECONDS)
            if code != 0:
                problem = f"{name}: {said.splitlines()[-1] if said else code}"
                break
        else:
            return "", name
    ip = find_tool(root, "ip")
    if not ip or resolves or ":" in address:
        # Who names the interface reaches a link-local IPv6 address in spite of any route.
        return problem, ""
    code, said = run_tool([ip, "route", "replace", "unreachable", address], TOOL_SECONDS)
    return (f"{problem}; ip route: {said or code}", "") if code != 0 else ("", "a route")
