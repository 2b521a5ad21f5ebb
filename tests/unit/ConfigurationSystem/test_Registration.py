"""What registering makes of the CS."""

import pytest
from diraccfg import CFG

from JenniferDIRAC.ConfigurationSystem.Registration import (
    Registration,
    Standing,
    all_ces,
    change,
    check_names,
    section_text,
    value_of,
)
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError

CE = {"CEType": "JenniferOpenStack", "Cloud": "grif", "VO": "belle, t2k.org"}
QUEUE = {"Image": "name:AlmaLinux-9", "Flavor": "cores>=1, ram>=2", "maxCPUTime": "1440"}


def registration(site="CLOUD.GRIF.fr", ce="grif", queue="el9-1core", **more: str) -> Registration:
    return Registration(site, ce, queue, {**CE, **more}, QUEUE)


def cs(*registrations: Registration) -> CFG:
    current = CFG().loadFromDict({"Resources": {"Sites": {"LCG": {"LCG.CERN.ch": {"CEs": {"ce503": {"SI00": "1"}}}}}}})
    for one in registrations:
        current = change(current, one).after
    return current


def test_a_new_site_is_added_and_nothing_else_changes():
    made = change(cs(), registration())
    assert value_of(made.after, "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif/Queues/el9-1core/Image") == (
        "name:AlmaLinux-9"
    )
    assert value_of(made.after, "/Resources/Sites/LCG/LCG.CERN.ch/CEs/ce503/SI00") == "1"
    assert all_ces(made.after) == {"ce503": "LCG.CERN.ch", "grif": "CLOUD.GRIF.fr"}
    assert len(made.options) == 6
    assert "CERN" not in made.diff
    assert {line[0] for line in made.diff.splitlines()[3:]} == {"+"}


def test_the_same_again_changes_nothing_however_its_lists_are_spaced():
    assert not change(cs(registration()), registration()).options
    assert not change(cs(registration(VO="belle,t2k.org")), registration()).options
    assert change(cs(registration()), registration()).diff == ""


def test_another_value_is_all_that_the_diff_shows():
    made = change(cs(registration()), registration(VO="belle"))
    assert list(made.options) == ["/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif/VO"]
    changed = [line for line in made.diff.splitlines()[2:] if line[0] in "+-"]
    assert [line.split() for line in changed] == [["-", "VO", "=", "belle,", "t2k.org"], ["+", "VO", "=", "belle"]]


def test_another_queue_or_ce_joins_those_that_stand_there_and_unnamed_options_stay():
    current = cs(registration(MaxVMs="5"))
    made = change(current, registration(queue="el9-4core"))
    assert value_of(made.after, "/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif/MaxVMs") == "5"
    assert not [line for line in made.diff.splitlines()[2:] if line[0] == "-"]
    both = change(made.after, registration(ce="grif-2")).after
    assert set(all_ces(both)) == {"ce503", "grif", "grif-2"}


def test_what_was_current_stays_as_it_was():
    current = cs()
    change(current, registration())
    assert all_ces(current) == {"ce503": "LCG.CERN.ch"}


def test_the_text_of_a_registration_is_read_back_as_it_was():
    wanted = registration(Networks="name:a b, c=d", CVMFSProxy="http://squid:3128")
    read = CFG().loadFromBuffer(section_text(wanted))
    assert not change(read, wanted).options


@pytest.mark.parametrize("site", ["CLOUD.GRIF.fr", "VCYCLE.Napoli.it", "CLOUD.CESGA-2.es", "CLOUD.CERN.org"])
def test_sites_of_clouds_are_taken(site):
    check_names(site)


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("LCG.CERN.ch", "CLOUD or VCYCLE"),
        ("cloud.GRIF.fr", "CLOUD or VCYCLE"),
        ("CLOUD.GRIF", "GRID.Name.country"),
        ("CLOUD.GRIF.France", "GRID.Name.country"),
        ("CLOUD.GRIF/x.fr", "GRID.Name.country"),
        ("CLOUD..fr", "GRID.Name.country"),
        ("", "GRID.Name.country"),
    ],
)
def test_other_sites_are_refused_with_the_reason(site, said):
    with pytest.raises(ConfigError, match=said):
        check_names(site)


@pytest.mark.parametrize("name", ["a/b", "a b", "{", "-a", "a=b", "#", "é"])
def test_names_that_the_cs_would_not_take_are_refused(name):
    with pytest.raises(ConfigError, match="letters"):
        check_names("CLOUD.GRIF.fr", name)
    with pytest.raises(ConfigError, match="letters"):
        check_names("CLOUD.GRIF.fr", "ce", name)


def test_a_ce_of_another_kind_is_left_alone():
    sites = {"CLOUD": {"CLOUD.GRIF.fr": {"CEs": {"grif": {"CEType": "SSH"}}}}}
    current = CFG().loadFromDict({"Resources": {"Sites": sites}})
    with pytest.raises(ConfigError, match="another CE name"):
        change(current, registration())


def standing(ce: dict | None = None, site: dict | None = None, **queues: dict) -> Standing:
    return Standing("/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif", site or {}, ce or {}, queues)


@pytest.mark.parametrize(
    ("stands", "queue", "value", "of_ce", "of_queue"),
    [
        (standing({"Networks": "n"}, q={}), "q", {"Networks": "n"}, {}, {}),
        (standing({"Networks": "n"}, q={}), "q", {"Networks": "m"}, {"Networks": "m"}, {}),
        (standing({"Networks": "n"}, q={"Networks": "m"}), "q", {"Networks": "m"}, {}, {}),
        (standing({"Networks": "n"}, q={"Networks": "m"}), "q", {"Networks": "n"}, {}, {"Networks": "n"}),
        (standing({"Networks": "n"}, q={}), "new", {"Networks": "n"}, {}, {}),
        (standing({"Networks": "n"}, q={}), "new", {"Networks": "m"}, {}, {"Networks": "m"}),
        (standing({}, q={}), "new", {"KeyPair": "k", "Zones": "z"}, {}, {"KeyPair": "k", "Zones": "z"}),
        (standing({}, q={}, r={}), "", {"Networks": "m"}, {"Networks": "m"}, {}),
        (standing({"Image": "i"}, q={}), "q", {"Image": "i", "Flavor": "f"}, {}, {"Flavor": "f"}),
        (standing({"Image": "i"}, q={}), "q", {"Image": "j"}, {"Image": "j"}, {}),
        (standing({"Image": "i"}, q={}, r={}), "q", {"Image": "j"}, {}, {"Image": "j"}),
        (standing(site={"VO": "belle"}, q={}), "q", {"VO": "belle"}, {}, {}),
        (standing(q={"VO": "belle"}), "q", {"VO": "t2k"}, {}, {"VO": "t2k"}),
        (standing({"MaxVMs": "1"}, q={"MaxVMs": "2"}), "q", {"MaxVMs": "3"}, {"MaxVMs": "3"}, {}),
        (standing({"KeyPair": "k"}, q={}), "q", {"KeyPair": ""}, {"KeyPair": ""}, {}),
        (standing({"KeyPair": "k"}, q={"KeyPair": "l"}), "q", {"KeyPair": ""}, {"KeyPair": ""}, {"KeyPair": ""}),
        (standing({"KeyPair": "k"}, q={}), "q", {"KeyPair": None}, {}, {}),
        (standing(), "q", {"KeyPair": ""}, {}, {}),
    ],
)
def test_a_value_is_written_where_it_stands_and_changes_no_other_vm_type(stands, queue, value, of_ce, of_queue):
    assert stands.place(queue, value) == (of_ce, of_queue)


def test_what_stands_for_others_too_is_not_removed_for_one():
    with pytest.raises(ConfigError, match="without --queue it is removed for all"):
        standing({"KeyPair": "k"}, q={}, r={}).place("q", {"KeyPair": ""})
    with pytest.raises(ConfigError, match="CLOUD.GRIF.fr/CEs/KeyPair.*remove it there"):
        standing(site={"KeyPair": "k"}, q={}).place("q", {"KeyPair": ""})


def test_an_option_is_removed_and_the_diff_shows_it():
    made = change(cs(registration(KeyPair="key")), registration(KeyPair=""))
    assert made.options == {"/Resources/Sites/CLOUD/CLOUD.GRIF.fr/CEs/grif/KeyPair": ""}
    assert "-            KeyPair = key" in made.diff
    assert not change(cs(), registration(KeyPair="")).options.keys() & made.options.keys()
