"""What is shown of a cloud, as text and as JSON."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from diraccfg import CFG
from rich.console import Console

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CESection, QueueSection
from JenniferDIRAC.ConfigurationSystem.Registration import check_names, section_of
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    AuthenticationFailed,
    Catalogue,
    Expiry,
    Flavor,
    Image,
    Limits,
    Network,
    Unreachable,
)
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery, discover
from JenniferDIRAC.Resources.Cloud.FakeEndpoint import Call, FakeEndpoint, Fault
from JenniferDIRAC.WorkloadManagementSystem.CLI import Discover

CATALOGUE = Catalogue(
    flavors=(Flavor("f1", "m1.small", 1, 2048, 20),),
    images=(
        Image("i1", "AlmaLinux-9", datetime(2026, 1, 1, tzinfo=UTC), properties={"os_distro": "almalinux"}),
        Image("i2", "evil\x1b[2J[red]name[/red]", datetime(2026, 2, 1, tzinfo=UTC)),
    ),
    networks=(Network("n1", "inside", subnets=("10.0.0.0/24",)),),
    zones=("nova",),
)


def told(days: int = 100, **parts) -> Discovery:
    expiry = Expiry("application credential", datetime.now(UTC) + timedelta(days=days, hours=1))
    account = Account("alice", "p1", "belle", "R", "https://grif/v3", (("p1", "belle"), ("p2", "t2k")), (expiry,))
    return Discovery(
        **{"account": account, "limits": Limits(max_cores=8, used_cores=3), "catalogue": CATALOGUE, **parts}
    )


def shown(found: Discovery, cloud: str = "grif", site: str = "", vos: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=200)
    suggested = Discover.suggestion(found)
    Discover.print_discovery(cloud, found, suggested, site, vos, console)
    return console.file.getvalue()


def test_everything_that_the_cloud_told_is_shown_newest_image_first():
    text = shown(told())
    for word in (
        "alice",
        "belle (p1)",
        "t2k (p2)",
        "m1.small",
        "10.0.0.0/24",
        "internal, own",
        "Zones: nova",
        "100 days",
    ):
        assert word in text
    assert text.index("evil") < text.index("AlmaLinux-9")
    assert "│ 3    │ 8     │ 5" in text


def test_what_a_cloud_says_cannot_steer_the_terminal():
    text = shown(told())
    assert "\x1b" not in text and "[red]name[/red]" in text


def test_the_section_is_one_that_the_project_takes():
    text = shown(told(), site="CLOUD.GRIF.fr", vos=("belle", "t2k.org"))
    section = text[text.index("Resources\n") : text.index("\n\n  Image")]
    cfg = CFG().loadFromBuffer(section)
    path = "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif"
    ce = CESection.read(path, section_of(cfg, path))
    assert (ce.cloud, ce.vos, ce.networks) == ("grif", ("belle", "t2k.org"), ("name:inside",))
    queue = QueueSection.read("q", section_of(cfg, f"{path}/Queues/el9-1core"))
    assert (queue.image, queue.flavor, queue.max_cpu_time) == ("name:AlmaLinux-9", "name:m1.small", 1440)
    assert "dirac-admin-cloud register CLOUD.GRIF.fr --cloud grif --vo belle --vo t2k.org" in text
    assert "is an example" not in text


def test_names_that_nobody_gave_are_called_examples_and_are_not_in_the_next_command():
    text = shown(told())
    assert "The site CLOUD.GRIF.cc is an example: --site takes yours" in text
    assert "The VO belle is an example: --vo takes yours" in text
    assert text.endswith("Next: dirac-admin-cloud register SITE --cloud grif\n")


@pytest.mark.parametrize("cloud", ["grif", "my cloud", "CESGA_vo.x", "-", "été"])
def test_the_example_has_names_that_dirac_takes_whatever_the_entry_is_called(cloud):
    made = Discover.example(cloud, Discover.suggestion(told()))
    check_names(made.site, made.ce, made.queue)


def test_a_part_that_is_not_told_is_named_and_the_rest_is_shown():
    text = shown(told(limits=Unreachable("no answer from nova")))
    assert "Not known: no answer from nova" in text and "m1.small" in text


def test_without_images_there_is_no_section_but_a_reason():
    text = shown(told(catalogue=Catalogue(flavors=CATALOGUE.flavors)))
    assert "No section of the CS can be suggested: no image" in text and "CEType" not in text


@pytest.mark.parametrize("catalogue", [Catalogue(flavors=CATALOGUE.flavors), Unreachable("no answer")])
def test_json_has_no_section_that_could_not_be_used(catalogue):
    found = told(catalogue=catalogue)
    value = Discover.as_json("grif", found, Discover.example("grif", Discover.suggestion(found)))
    assert (value["section"], value["options"]) == (None, None)


@pytest.mark.parametrize(("days", "alarms"), [(29, 0), (20, 0), (6, 1)])
def test_only_a_credential_at_its_end_is_an_alarm(days, alarms):
    assert len(Discover.alarms(told(days=days))) == alarms
    assert ("replace it in time" in shown(told(days=days))) == (days < 29)


def test_json_has_the_same_and_plain_values():
    found = told(limits=Unreachable("no answer"))
    value = Discover.as_json("grif", found, Discover.example("grif", Discover.suggestion(found)))
    value = json.loads(json.dumps(value))
    assert value["account"]["expiries"][0]["days_left"] == 100
    assert value["limits"] == {"error": "no answer"}
    assert value["catalogue"]["images"][0]["created_at"] == "2026-01-01T00:00:00+00:00"
    assert "Image = name:AlmaLinux-9" in value["section"]


def test_a_cloud_that_fails_in_one_call_still_tells_the_rest():
    cloud = FakeEndpoint()
    cloud.faults.next(Call.LIMITS, Fault.UNREACHABLE)
    found = discover(cloud)
    assert isinstance(found.limits, Unreachable)
    assert isinstance(found.catalogue, Catalogue)
    assert cloud.calls[Call.LIST] == 0


def test_after_a_refused_login_nothing_more_is_asked():
    class Locked(FakeEndpoint):
        def account(self):
            raise AuthenticationFailed("401")

    cloud = Locked()
    found = discover(cloud, with_servers=True)
    assert isinstance(found.catalogue, AuthenticationFailed)
    assert not cloud.calls
