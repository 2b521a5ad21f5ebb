"""What is suggested to a site admin, and that it means exactly that."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.ConfigurationSystem.Registration import check_names
from JenniferDIRAC.Resources.Cloud.Choice import choose_flavor, choose_image, choose_networks
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, Flavor, Image, Limits, Network
from JenniferDIRAC.Resources.Cloud.Suggestion import spec_of, suggest, vm_type_name


def image(name: str, day: int = 1, id: str = "", **properties: str) -> Image:
    return Image(id or f"id of {name}", name, datetime(2026, 1, day, tzinfo=UTC), properties=properties)


SMALL = Flavor("f1", "m1.small", 1, 2048, 20)


def suggested_image(*images: Image) -> str:
    return suggest(Catalogue(images=images, flavors=(SMALL,))).image.spec


def suggested_flavor(*flavors: Flavor, images: tuple[Image, ...] = (), limits: Limits | None = None) -> str:
    return suggest(Catalogue(images=images, flavors=flavors), limits).flavor.spec


@pytest.mark.parametrize(
    ("images", "spec"),
    [
        ((image("Debian 12", 9), image("AlmaLinux 9", 1)), "name:AlmaLinux 9"),
        ((image("AlmaLinux-9-old", 1), image("AlmaLinux-9-new", 2)), "name:AlmaLinux-9-new"),
        ((image("AlmaLinux-8", 9), image("Rocky-9", 1)), "name:Rocky-9"),
        ((image("ubuntu-18.04", 9), image("ubuntu-24.04", 1)), "name:ubuntu-24.04"),
        ((image("cirros-0.6", 9), image("own work", 1)), "name:own work"),
        ((image("AlmaLinux-9", 9), image("ours", 1, dirac_version="9.1")), "name:ours"),
        ((image("base", 1, os_distro="almalinux", os_version="9.4"), image("Debian 12", 9)), "name:base"),
        ((image("AlmaLinux-9 snapshot", 9, image_type="snapshot"), image("Debian 12", 1)), "name:Debian 12"),
    ],
)
def test_the_newest_image_of_the_system_that_suits_pilots_best_is_suggested(images, spec):
    assert suggested_image(*images) == spec


def test_an_image_is_suggested_by_id_where_its_name_would_not_mean_it_alone_or_not_survive_the_cs():
    assert suggested_image(image("AlmaLinux-9", 1, "a"), image("AlmaLinux-9", 2, "b")) == "b"
    for name in ("AlmaLinux 9, of May", "# AlmaLinux 9", "AlmaLinux  9", "AlmaLinux 9\n", '"AlmaLinux 9"', "alma{9}"):
        assert suggested_image(image(name, id="the-id")) == "the-id"


def test_the_smallest_flavor_that_suits_one_job_is_suggested():
    tiny, small, large = Flavor("f0", "tiny", 1, 512, 20), SMALL, Flavor("f2", "large", 4, 8192, 80)
    assert suggested_flavor(tiny, large, small) == "name:m1.small"
    assert suggested_flavor(tiny, large) == "name:large"
    cramped = Flavor("f3", "cramped", 1, 2048, 5)
    assert suggested_flavor(cramped, large) == "name:large"
    assert suggested_flavor(cramped) == "name:cramped"
    assert suggest(Catalogue(flavors=(cramped, large))).flavor.why == "the smallest with 2048 MiB and 10 GiB of disk"
    assert suggest(Catalogue(flavors=(small, large))).flavor.why == "the smallest with 2048 MiB"


def test_a_flavor_that_the_quota_never_allows_or_that_does_not_carry_the_image_is_not_suggested():
    large = Flavor("f2", "large", 4, 8192, 80)
    assert suggested_flavor(Flavor("f0", "tiny", 1, 512, 20), large, limits=Limits(max_cores=2)) == "name:tiny"
    needy = Image("i", "AlmaLinux-9", min_disk_gib=30)
    assert suggested_flavor(SMALL, large, images=(needy,)) == "name:large"
    assert suggested_flavor(SMALL, images=(needy,)) == ""


def test_the_network_that_fits_is_named_and_several_leave_the_choice_to_the_admin():
    outside = Network("n0", "public", external=True, subnets=("192.0.2.0/24",))
    own, shared = (
        Network("n1", "own", subnets=("10.0.0.0/24",)),
        Network("n2", "all", shared=True, subnets=("10.1.0.0/24",)),
    )

    def networks(*there: Network) -> str:
        return suggest(Catalogue(networks=there)).networks.spec

    assert networks(outside, own) == "name:own"
    assert networks(own, shared) == "name:own"
    assert networks(own, Network("n3", "own", subnets=("10.0.0.0/24",))) == ""
    assert networks() == ""


def test_a_vm_type_is_named_after_system_and_cores():
    assert vm_type_name(image("AlmaLinux-9.4"), SMALL) == "el9-1core"
    assert vm_type_name(image("x", os_distro="debian", os_version="12"), Flavor("f", "f", 4, 1, 1)) == "debian12-4core"
    assert vm_type_name(image("own work"), SMALL) == "vm-1core"
    assert vm_type_name(None, None) == "vm-1core"


@pytest.mark.parametrize(
    ("distro", "name"),
    [
        ("openSUSE Leap", "opensuse-leap15-1core"),
        ("Rocky Linux!", "rocky-linux15-1core"),
        ("été", "t15-1core"),
        ("?", "vm15-1core"),
    ],
)
def test_a_vm_type_has_a_name_that_dirac_takes_whatever_the_system_is_called(distro, name):
    made = vm_type_name(image("x", os_distro=distro, os_version="15"), SMALL)
    check_names("CLOUD.GRIF.fr", queue=made)
    assert made == name


NAMES = st.text(st.sampled_from("aB9 .-_,#={}\n\"'"), max_size=6)
IDS = st.integers(0, 10**6).map("id-{}".format)


@given(st.lists(st.tuples(IDS, NAMES), min_size=1, max_size=6, unique_by=lambda one: one[0]))
def test_what_is_suggested_is_what_choosing_finds(things):
    images = tuple(Image(id, name) for id, name in things)
    flavors = tuple(Flavor(id, name, 1, 2048, 20) for id, name in things)
    networks = tuple(Network(id, name, subnets=("10.0.0.0/24",)) for id, name in things)
    catalogue = Catalogue(flavors, images, networks)
    for one in images:
        assert choose_image(spec_of(one, images), catalogue) == one
    for one in flavors:
        assert choose_flavor(spec_of(one, flavors), catalogue) == one
    for one in networks:
        assert choose_networks([spec_of(one, networks)], catalogue) == (one,)
