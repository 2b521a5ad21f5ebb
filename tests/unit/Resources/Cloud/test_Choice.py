"""What the CS says about images and flavors, and what is chosen."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import SharedOptions
from JenniferDIRAC.Resources.Cloud.Choice import choose, choose_flavor, choose_image, choose_networks
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, Flavor, Identity, Image, Network, Rejected


def image(id: str, day: int | None = None, name: str = "", **properties: str) -> Image:
    created_at = None if day is None else datetime(2026, 1, day, tzinfo=UTC)
    return Image(id=id, name=name or id, created_at=created_at, properties=properties)


IMAGES = Catalogue(
    images=(
        image("i1", 1, "AlmaLinux-9", os_distro="almalinux", os_version="9.4"),
        image("i2", 2, "AlmaLinux-10", os_distro="almalinux", os_version="10"),
        image("i3", 3, "AlmaLinux-8", os_distro="almalinux", os_version="8.10"),
        image("i4", 4, "Debian", os_distro="debian", os_version="12", os_codename="bookworm"),
        image("i5", 5, "twin"),
        image("i6", 6, "twin"),
    )
)
FLAVORS = Catalogue(
    flavors=(
        Flavor("f8", "large", 8, 16384, 80),
        Flavor("f4b", "medium.ram", 4, 16384, 40),
        Flavor("f4a", "medium", 4, 8192, 40),
        Flavor("f4d", "medium.disk", 4, 8192, 80),
        Flavor("f2", "odd", 2, 7680, 20),
    )
)


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ("i3", "i3"),
        (" i3 ", "i3"),
        ("name:AlmaLinux-9", "i1"),
        ("name: AlmaLinux-9", "i1"),
        ("os_distro=almalinux", "i3"),
        ("os_distro=AlmaLinux, os_version>=9", "i2"),
        ("os_distro = almalinux,os_version>8.9,os_version<9", "i3"),
        ("os_version=10.0", "i2"),
        ("os_distro!=almalinux", "i4"),
        ("os_codename=bookworm", "i4"),
    ],
)
def test_an_image_is_found_by_id_by_name_or_by_properties(spec, chosen):
    assert choose_image(spec, IMAGES).id == chosen


def test_the_newest_of_several_images_wins_in_whatever_order_they_are_listed():
    images = (image("old", 1, os="x"), image("new", 2, os="x"), image("undated", os="x"))
    assert {choose_image("os=x", Catalogue(images=order)).id for order in permutations(images)} == {"new"}


def test_an_id_that_looks_like_a_requirement_is_still_an_id():
    catalogue = Catalogue(images=(image("os=x"), image("other", 1, os="x")))
    assert choose_image("os=x", catalogue).id == "os=x"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("name:twin", "2 have that name; give the id of one: i5, i6"),
        ("name:Fedora", "none has that name; the endpoint offers: AlmaLinux-10 (i2)"),
        ("i7", "expected an id, name:NAME, or requirements"),
        ("", "expected an id, name:NAME, or requirements"),
        ("os_distro=almalinux,", "'' is none of these"),
        ("os_version=>9", "'os_version=>9' is none of these"),
        ("os_version>=11, os_distro=almalinux", "no image has these properties"),
        ("os_codename>=bookworm", "no image has these properties"),
        ("hw_architecture!=arm64", "no image has these properties"),
    ],
)
def test_an_image_that_cannot_be_chosen_is_refused_with_the_candidates(spec, said):
    with pytest.raises(Rejected) as refused:
        choose_image(spec, IMAGES)
    assert said in str(refused.value)
    assert "i5" in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ("f8", "f8"),
        ("name:medium", "f4a"),
        ("cores>=1", "f2"),
        ("cores>=3", "f4a"),
        ("cores>=3, ram>8", "f4b"),
        ("cores>=2, ram>=7.5", "f2"),
        ("cores>=2, ram>=7.6", "f4a"),
        ("cores=4, disk>40", "f4d"),
        ("ram>=16, cores>4", "f8"),
        ("cores<=4, cores!=2", "f4a"),
    ],
)
def test_the_flavor_that_wastes_least_is_chosen(spec, chosen):
    assert choose_flavor(spec, FLAVORS).id == chosen


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cores>=64", "no flavor meets this; the endpoint offers: large (f8)"),
        ("gpus>=1", "gpus: expected one of cores, ram, disk"),
        ("ram>=8G", "ram>=8G: expected a number"),
        ("m1.huge", "expected an id"),
        ("name:m1.huge", "none has that name"),
    ],
)
def test_a_flavor_that_cannot_be_chosen_is_refused_with_a_reason(spec, said):
    with pytest.raises(Rejected, match="Flavor") as refused:
        choose_flavor(spec, FLAVORS)
    assert said in str(refused.value)


def test_an_empty_catalogue_says_so():
    with pytest.raises(Rejected, match="offers none at all"):
        choose_flavor("cores>=1", Catalogue())


def test_a_long_catalogue_is_cut_in_the_message():
    catalogue = Catalogue(flavors=tuple(Flavor(f"f{n:03}", f"f{n:03}", 1, 1024) for n in range(500)))
    with pytest.raises(Rejected, match="f019.* and 480 more") as refused:
        choose_flavor("cores>=2", catalogue)
    assert "f020" not in str(refused.value)


flavors = st.builds(
    Flavor,
    id=st.uuids().map(str),
    name=st.sampled_from(["a", "b", "c"]),
    cores=st.integers(1, 8),
    ram_mib=st.integers(1, 16).map(lambda gib: gib * 1024),
    disk_gib=st.integers(0, 3),
)


@given(st.lists(flavors, min_size=1, max_size=8), st.integers(1, 8), st.integers(1, 16), st.randoms())
def test_no_fitting_flavor_is_smaller_than_the_chosen_one_and_order_does_not_matter(offered, cores, ram, random):
    fitting = [flavor for flavor in offered if flavor.cores >= cores and flavor.ram_mib >= ram * 1024]
    spec = f"cores>={cores}, ram>={ram}"
    if not fitting:
        with pytest.raises(Rejected):
            choose_flavor(spec, Catalogue(flavors=tuple(offered)))
        return
    chosen = choose_flavor(spec, Catalogue(flavors=tuple(offered)))
    assert chosen in fitting
    assert all((chosen.cores, chosen.ram_mib, chosen.disk_gib) <= (f.cores, f.ram_mib, f.disk_gib) for f in fitting)
    shuffled = random.sample(offered, len(offered))
    assert choose_flavor(spec, Catalogue(flavors=tuple(shuffled))) == chosen


def test_an_owner_can_be_required_so_that_nobody_elses_image_of_that_name_is_taken():
    ours, squatted = (
        Image("i1", "el9", owner="site"),
        Image("i2", "el9", owner="stranger", properties={"owner": "site"}),
    )
    assert choose_image("name=el9, owner=site", Catalogue(images=(ours, squatted))) == ours


OWN = Network("n1", "private", subnets=("192.168.0.0/24",))
PROVIDER = Network("n2", "provider", shared=True, subnets=("10.0.0.0/16",))
OUTSIDE = Network("n3", "public", external=True, shared=True, subnets=("10.77.0.0/16",))
FLOATING_ONLY = Network("n4", "floating", external=True)
WITHOUT_ADDRESSES = Network("n5", "bare")


@pytest.mark.parametrize(
    ("specs", "offered", "chosen"),
    [
        ((), [OWN, OUTSIDE, FLOATING_ONLY, WITHOUT_ADDRESSES], ["n1"]),
        ((), [PROVIDER, OUTSIDE], ["n2"]),
        ((), [OUTSIDE, FLOATING_ONLY], ["n3"]),
        ((), [], []),
        (["name:public", "n2"], [OWN, PROVIDER, OUTSIDE], ["n3", "n2"]),
    ],
)
def test_networks_are_found_by_name_or_id_and_without_either_the_one_that_fits(specs, offered, chosen):
    assert [network.id for network in choose_networks(specs, Catalogue(networks=tuple(offered)))] == chosen


@pytest.mark.parametrize(
    ("specs", "offered", "said"),
    [
        ((), [OWN, PROVIDER], ["2 fit", "private (n1)", "provider (n2)"]),
        ((), [FLOATING_ONLY, WITHOUT_ADDRESSES], ["no single network", "floating (n4)", "bare (n5)"]),
        (["private"], [OWN], ["Networks = private", "name:NAME", "private (n1)"]),
        (["name:nope"], [OWN], ["Networks = name:nope", "private (n1)"]),
        (["name:private"], [OWN, Network("n9", "private")], ["n1", "n9"]),
    ],
)
def test_a_network_that_is_missing_or_ambiguous_is_an_error_that_lists_the_candidates(specs, offered, said):
    with pytest.raises(Rejected) as refusal:
        choose_networks(specs, Catalogue(networks=tuple(offered)))
    assert all(words in str(refusal.value) for words in said)


SMALL_CLOUD = Catalogue(
    flavors=(Flavor("f2", "small", 2, 4096, 20),),
    images=(Image("i1", "el9"),),
    networks=(OWN,),
    key_pairs=("admin",),
    zones=("a", "b"),
    security_groups=("default", "pilots"),
)


def wanted(**options) -> SharedOptions:
    return SharedOptions(**{"image": "name:el9", "flavor": "cores>=1", **options})


def test_a_vm_type_is_resolved_as_a_whole():
    options = wanted(zones=["b"], key_pair="admin", security_groups=["pilots"], boot_volume_per_core=15)
    choice = choose(options, SMALL_CLOUD)
    request = choice.request(Identity("1" * 32, "2" * 32, "belle", 2), b"#!/bin/sh", "words")
    assert (request.image.id, request.flavor.id, request.networks) == ("i1", "f2", (OWN,))
    assert (request.zone, request.key_pair, request.security_groups) == ("b", "admin", ("pilots",))
    assert (request.boot_volume_gib, request.description) == (30, "words")


def test_zones_are_taken_in_turn_and_one_vm_always_gets_the_same():
    choice = choose(wanted(zones=["a", "b"]), SMALL_CLOUD)
    zones = [choice.request(Identity("1" * 32, f"{vm:032x}", "belle", 1), b"").zone for vm in (0, 1, 2, 2)]
    assert zones == ["a", "b", "a", "a"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zones": ["c"]}, "Zones = c"),
        ({"key_pair": "nobody"}, "KeyPair = nobody"),
        ({"security_groups": ["open"]}, "SecurityGroups = open"),
    ],
)
def test_a_name_that_the_cloud_does_not_offer_is_an_error(options, said):
    with pytest.raises(Rejected, match=said):
        choose(wanted(**options), SMALL_CLOUD)


def test_what_a_cloud_does_not_show_is_left_to_find_out():
    choice = choose(wanted(zones=["z"], key_pair="k"), Catalogue(SMALL_CLOUD.flavors, SMALL_CLOUD.images))
    assert (choice.zones, choice.key_pair) == (("z",), "k")


@pytest.mark.parametrize(
    ("image", "volume", "said"),
    [
        (Image("i1", "el9", min_ram_mib=8192), 0, "image el9 needs 8192"),
        (Image("i1", "el9", min_disk_gib=30), 0, "image el9 needs 30"),
        (Image("i1", "el9", min_disk_gib=30), 10, "has 20 GiB of disk"),
    ],
)
def test_a_flavor_too_small_for_the_image_is_an_error_here_and_not_at_the_cloud(image, volume, said):
    with pytest.raises(Rejected, match=said):
        choose(wanted(boot_volume_per_core=volume), Catalogue(SMALL_CLOUD.flavors, (image,)))


def test_a_boot_volume_makes_room_for_an_image_that_the_flavors_disk_lacks():
    catalogue = Catalogue(SMALL_CLOUD.flavors, (Image("i1", "el9", min_disk_gib=30),))
    assert choose(wanted(boot_volume_per_core=15), catalogue).image.id == "i1"


def test_of_the_flavors_that_meet_requirements_only_those_that_carry_the_image_are_taken():
    flavors = (Flavor("f1", "tiny", 1, 512, 1), Flavor("f2", "small", 1, 4096, 20), Flavor("f3", "big", 8, 16384, 80))
    catalogue = Catalogue(flavors, (Image("i1", "el9", min_ram_mib=2048),))
    assert choose(wanted(), catalogue).flavor.id == "f2"


def test_a_name_that_two_security_groups_have_is_an_error_here_and_not_at_the_cloud():
    catalogue = replace(SMALL_CLOUD, security_groups=("pilots", "pilots"))
    with pytest.raises(Rejected, match="2 have that name"):
        choose(wanted(security_groups=["pilots"]), catalogue)
