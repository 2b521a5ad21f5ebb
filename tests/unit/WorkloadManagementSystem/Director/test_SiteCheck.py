"""What a cloud told, judged for the site admin."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    AuthenticationFailed,
    Catalogue,
    Expiry,
    Flavor,
    Identity,
    Image,
    Limits,
    Network,
    Rejected,
    Server,
    ServerStatus,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery
from JenniferDIRAC.WorkloadManagementSystem.Director.SiteCheck import TRIAL_PREFIX, Aspect, Verdict, check_cloud

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NETWORK = Network("n1", "inside", subnets=("10.0.0.0/24",))
TOLD = Discovery(
    Account("alice", "p1", "belle", "R", "https://grif/v3"),
    Limits(),
    Catalogue(
        flavors=(Flavor("f1", "small", 1, 2048, 20),),
        images=(Image("i1", "el9"),),
        networks=(NETWORK,),
        key_pairs=("key",),
        zones=("nova",),
        security_groups=("default",),
    ),
)


def endpoint(max_vms: int | None = None, **words) -> EndpointConfig:
    options = {"image": "name:el9", "flavor": "name:small", **words}
    vm_type = VMTypeConfig(
        site="CLOUD.GRIF.fr",
        ce="grif",
        queue="el9",
        vos=frozenset({"belle"}),
        cpu_time=1000,
        wall_time=timedelta(days=1),
        **options,
    )
    return EndpointConfig(
        site="CLOUD.GRIF.fr", ce="grif", ce_type="JenniferOpenStack", max_vms=max_vms, vm_types=(vm_type,)
    )


def verdicts(told: Discovery = TOLD, config: EndpointConfig | None = None) -> dict[Aspect, Verdict]:
    return {one.aspect: one.verdict for one in check_cloud(config or endpoint(), told, NOW)}


def finding(aspect: Aspect, told: Discovery = TOLD, config: EndpointConfig | None = None):
    (found,) = [one for one in check_cloud(config or endpoint(), told, NOW) if one.aspect is aspect]
    return found


def test_a_cloud_that_has_everything_is_ok_in_every_line():
    config = endpoint(zones="nova", key_pair="key", security_groups="default")
    assert set(verdicts(config=config).values()) == {Verdict.OK}
    assert finding(Aspect.IMAGE).detail == "name:el9 is el9 (i1)"
    assert finding(Aspect.NETWORK).detail == "what fits is inside (n1)"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (AuthenticationFailed("401"), "openstack --os-cloud grif token issue"),
        (Unreachable("refused"), "auth_url"),
        (Rejected("no entry"), "dirac-admin-cloud discover"),
    ],
)
def test_without_a_login_nothing_else_is_tried(error, advice):
    told = Discovery(error, error, error, error)
    assert advice in finding(Aspect.CREDENTIAL, told).advice
    assert verdicts(told) == {
        Aspect.CREDENTIAL: Verdict.FAILED,
        Aspect.PROJECT: Verdict.NOT_TRIED,
        Aspect.SERVERS: Verdict.NOT_TRIED,
        Aspect.QUOTA: Verdict.NOT_TRIED,
    }


def test_a_part_that_the_cloud_does_not_tell_fails_alone():
    assert verdicts(replace(TOLD, limits=Unreachable("503")))[Aspect.QUOTA] is Verdict.FAILED
    assert verdicts(replace(TOLD, limits=Unreachable("503")))[Aspect.IMAGE] is Verdict.OK
    assert verdicts(replace(TOLD, servers=Unreachable("503")))[Aspect.SERVERS] is Verdict.FAILED
    silent = verdicts(replace(TOLD, catalogue=Unreachable("503")))
    assert (silent[Aspect.IMAGE], silent[Aspect.FLAVOR], silent[Aspect.QUOTA]) == (
        Verdict.FAILED,
        Verdict.NOT_TRIED,
        Verdict.NOT_TRIED,
    )
    assert silent[Aspect.PROJECT] is Verdict.OK


@pytest.mark.parametrize(
    ("days", "verdict", "word"),
    [
        (29, Verdict.OK, "29 days"),
        (28, Verdict.WARNING, "in time"),
        (7, Verdict.WARNING, "ALARM"),
        (-1, Verdict.WARNING, "ALARM"),
    ],
)
def test_a_credential_that_ends_soon_is_warned_of(days, verdict, word):
    account = Account("alice", "p1", expiries=(Expiry("token", NOW + timedelta(days=days)), Expiry("other", None)))
    found = finding(Aspect.CREDENTIAL, replace(TOLD, account=account))
    assert found.verdict is verdict
    assert word in found.detail + found.advice


@pytest.mark.parametrize(
    ("words", "aspect", "said"),
    [
        ({"image": "name:el10"}, Aspect.IMAGE, "el9"),
        ({"flavor": "cores>=8"}, Aspect.FLAVOR, "small"),
        ({"networks": "name:outside"}, Aspect.NETWORK, "inside"),
        ({"zones": "mars"}, Aspect.ZONE, "nova"),
        ({"key_pair": "lost"}, Aspect.KEY_PAIR, "key"),
        ({"security_groups": "open"}, Aspect.SECURITY_GROUPS, "default"),
    ],
)
def test_what_does_not_exist_fails_with_what_does_and_the_others_are_told_all_the_same(words, aspect, said):
    found = finding(aspect, config=endpoint(**words))
    assert found.verdict is Verdict.FAILED
    assert said in found.detail and found.advice
    assert verdicts(config=endpoint(**words))[Aspect.QUOTA] is Verdict.NOT_TRIED
    assert list(verdicts(config=endpoint(**words)).values()).count(Verdict.FAILED) == 1


def test_an_image_that_the_flavor_does_not_carry_fails_though_both_exist():
    told = replace(TOLD, catalogue=replace(TOLD.catalogue, images=(Image("i1", "el9", min_ram_mib=4096),)))
    assert "needs 4096" in finding(Aspect.FLAVOR, told).detail
    assert verdicts(told)[Aspect.IMAGE] is Verdict.OK


@pytest.mark.parametrize(
    ("limits", "verdict", "said"),
    [
        (Limits(), Verdict.OK, "no limit"),
        (Limits(max_instances=5, used_instances=3, max_ram_mib=9000), Verdict.OK, "room for 2 more"),
        (Limits(max_instances=5, used_instances=5), Verdict.WARNING, "5 of 5 servers are in use"),
        (Limits(max_ram_mib=4096, used_ram_mib=3000), Verdict.WARNING, "MiB of RAM"),
        (Limits(max_ram_mib=1024), Verdict.FAILED, "one VM needs 2048"),
        (Limits(max_cores=0), Verdict.FAILED, "the quota is 0 cores"),
    ],
)
def test_a_full_quota_is_a_warning_and_one_that_never_suffices_a_failure(limits, verdict, said):
    found = finding(Aspect.QUOTA, replace(TOLD, limits=limits))
    assert (found.verdict, said in found.detail) == (verdict, True), found


def test_limits_of_the_cs_that_keep_every_vm_out_are_told():
    assert "MaxVMs = 0" in finding(Aspect.QUOTA, config=endpoint(max_vms=0)).detail
    assert "MaxCores = 0" in finding(Aspect.QUOTA, config=endpoint(max_cores=0)).detail


def test_a_login_for_no_project_fails():
    assert verdicts(replace(TOLD, account=Account("alice")))[Aspect.PROJECT] is Verdict.FAILED


def test_trials_that_were_left_behind_are_told_and_other_servers_only_counted():
    def server(installation: str, age: timedelta) -> Server:
        identity = Identity(installation, "1" * 32, "belle", 1)
        return Server("s", identity.name, ServerStatus.ACTIVE, identity.metadata, created_at=NOW - age)

    trial = TRIAL_PREFIX + "a" * 24
    old, fresh = server(trial, timedelta(hours=3)), server(trial, timedelta(minutes=3))
    real = server("b" * 32, timedelta(days=3))
    assert finding(Aspect.SERVERS, replace(TOLD, servers=(fresh, real))).verdict is Verdict.OK
    found = finding(Aspect.SERVERS, replace(TOLD, servers=(old, fresh, real)))
    assert found.verdict is Verdict.WARNING
    assert found.advice == f"openstack --os-cloud grif server delete {old.name}"
