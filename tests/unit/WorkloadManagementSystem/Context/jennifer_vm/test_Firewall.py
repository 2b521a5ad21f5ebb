"""The metadata service is closed to payloads by whatever this machine has, or it is said that it is not."""

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm.Firewall import ADDRESSES, close_metadata

V4, V6 = ADDRESSES


@pytest.fixture
def machine(tmp_path):
    """A function that gives this machine a tool which writes down its use."""
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/if_inet6").write_text("00000000000000000000000000000001 01 80 10 80       lo\n")

    def tool(name, script="exit 0"):
        path = tmp_path / "usr/sbin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/used\n{script}\n')
        path.chmod(0o755)

    return tool


def used(tmp_path):
    return (tmp_path / "used").read_text().splitlines()


def close(tmp_path):
    return close_metadata(ADDRESSES, str(tmp_path))


def test_nft_closes_both_addresses_to_users_and_to_all_that_is_forwarded(machine, tmp_path):
    machine("nft", f"cat > {tmp_path}/rules")
    machine("iptables")
    assert close(tmp_path) == ("", "closed by nft")
    assert used(tmp_path) == ["nft -f -"]
    rules = (tmp_path / "rules").read_text()
    output, forward = rules.split("chain forward")
    for family, address in (("ip", V4), ("ip6", V6)):
        assert f"{family} daddr {address} meta skuid != 0 reject" in output
        assert f"{family} daddr {address} reject" in forward


def test_a_kernel_that_cannot_reject_drops(machine, tmp_path):
    machine("nft", "! grep -q reject")
    assert close(tmp_path) == ("", "closed by nft")
    assert used(tmp_path) == ["nft -f -"] * 2


def test_iptables_closes_them_where_nft_does_not_work(machine, tmp_path):
    machine("nft", "exit 1")
    machine("iptables")
    machine("ip6tables")
    assert close(tmp_path) == ("", "closed by iptables and ip6tables")
    assert used(tmp_path)[2:] == [
        f"iptables -w -I OUTPUT -d {V4} -m owner ! --uid-owner 0 -j REJECT",
        f"iptables -w -I FORWARD -d {V4} -j REJECT",
        f"ip6tables -w -I OUTPUT -d {V6} -m owner ! --uid-owner 0 -j REJECT",
        f"ip6tables -w -I FORWARD -d {V6} -j REJECT",
    ]


def test_a_route_to_nowhere_is_the_last_way(machine, tmp_path):
    machine("ip")
    machine("ip6tables")
    assert close(tmp_path) == ("", "closed by a route and ip6tables")
    assert used(tmp_path)[0] == f"ip route replace unreachable {V4}"


def test_a_link_local_address_that_only_a_route_could_close_counts_as_open(machine, tmp_path):
    machine("ip")
    still_open, done = close(tmp_path)
    assert V6 in still_open
    assert V4 not in still_open
    assert done == "closed by a route"


def test_a_machine_without_ipv6_has_nothing_to_close_there(machine, tmp_path):
    (tmp_path / "proc/net/if_inet6").write_text("")
    machine("iptables")
    assert close(tmp_path) == ("", "closed by iptables")


@pytest.mark.parametrize("resolv_conf", ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"])
def test_an_address_that_serves_names_too_keeps_doing_so(machine, tmp_path, resolv_conf):
    (tmp_path / resolv_conf).parent.mkdir(parents=True)
    (tmp_path / resolv_conf).write_text(f"search here.org\nnameserver {V4}\n")
    machine("nft", f"cat > {tmp_path}/rules")
    close(tmp_path)
    rules = (tmp_path / "rules").read_text()
    assert f"daddr {V4} tcp dport 80 meta skuid" in rules
    assert f"daddr {V6} meta skuid" in rules
    machine("nft", "exit 1")
    machine("iptables")
    machine("ip6tables")
    close(tmp_path)
    assert f"iptables -w -I FORWARD -d {V4} -p tcp --dport 80 -j REJECT" in used(tmp_path)
    machine("iptables", "exit 1")
    machine("ip")
    assert V4 in close(tmp_path)[0]
    assert not any(line.startswith("ip ") for line in used(tmp_path))


def test_a_machine_without_any_tool_says_so(machine, tmp_path):
    still_open, done = close(tmp_path)
    assert f"{V4}: no nft that works, no iptables; {V6}: no nft that works, no ip6tables" == still_open
    assert done == "open"


def test_a_tool_that_fails_says_why(machine, tmp_path):
    machine("iptables", "echo 'Permission denied (you must be root)'; exit 4")
    machine("ip", "echo 'RTNETLINK answers: Operation not permitted'; exit 2")
    still_open, _ = close(tmp_path)
    assert "Permission denied (you must be root); ip route: RTNETLINK answers" in still_open
