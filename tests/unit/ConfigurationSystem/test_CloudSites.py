"""Endpoints are read as DIRAC reads them, and a mistake disables its own endpoint only."""

import pytest

from JenniferDIRAC.ConfigurationSystem.CloudSites import CloudSites, read_cloud_sites
from JenniferDIRAC.ConfigurationSystem.PlannerTerms import bounds_of
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import Bounds

QUEUE = {"Image": "name:el9", "Flavor": "cores>=1", "maxCPUTime": 1440}


def ce(queues=None, **options):
    return {"CEType": "JenniferFake", "Queues": queues if queues is not None else {"q": QUEUE}, **options}


def sites(**ces):
    """One site ``CLOUD.Here.org`` with these CEs."""
    return {"Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": {"CEs": ces}}}}}


def the_vm_type(cs, queue=(), **ce_options):
    cs(sites(ours=ce({"q": QUEUE | dict(queue)}, **ce_options)))
    (endpoint,) = read_cloud_sites().endpoints
    (vm_type,) = endpoint.vm_types
    return vm_type


def the_problem(cs, queue=(), **ce_options):
    """The one problem of an endpoint, beside which another one stays in use."""
    cs(sites(good=ce(), bad=ce({"q": QUEUE | dict(queue)}, **ce_options)))
    found = read_cloud_sites()
    assert [endpoint.ce for endpoint in found.endpoints] == ["good"]
    (problem,) = found.problems
    return problem


BAD = "/Resources/Sites/CLOUD/CLOUD.Here.org/CEs/bad"


def test_an_endpoint_is_read_with_its_limits_and_vm_types(cs):
    cs(sites(ours=ce(MaxVMs=5, MaxCores=20, CVMFSProxy="http://squid.here.org:3128", VO=["belle", "t2k.org"])))
    (endpoint,) = read_cloud_sites().endpoints
    assert (endpoint.site, endpoint.ce, endpoint.max_vms, endpoint.max_cores) == ("CLOUD.Here.org", "ours", 5, 20)
    assert endpoint.cvmfs_proxies == ("http://squid.here.org:3128",)
    assert endpoint.vos == {"belle", "t2k.org"}
    assert [vm_type.queue for vm_type in endpoint.vm_types] == ["q"]


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("http://a:1, http://b:2", ("http://a:1", "http://b:2")),
        ("http://a:1;http://b:2;DIRECT", ("http://a:1", "http://b:2")),
        ("http://a:1 | http://b:2, http://c:3|DIRECT", ("http://a:1|http://b:2", "http://c:3")),
    ],
)
def test_squids_that_share_the_load_stay_together(cs, written, groups):
    cs(sites(ours=ce(CVMFSProxy=written)))
    (endpoint,) = read_cloud_sites().endpoints
    assert endpoint.cvmfs_proxies == groups


def test_ces_of_other_types_are_none_of_our_business(cs):
    cs(sites(ours=ce(), theirs={"CEType": "HTCondorCE", "SSHPassword": "x", "Queues": {"q": {}}}))
    found = read_cloud_sites()
    assert [endpoint.ce for endpoint in found.endpoints] == ["ours"]
    assert found.problems == ()


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"Resources": {"Sites": {}}},
        {"Resources": {"Sites": {"CLOUD": {"CLOUD.Here.org": {}}}}},
        sites(theirs={"CEType": "HTCondorCE", "Queues": {"q": {}}}),
        sites(theirs={}),
    ],
)
def test_a_cs_without_any_endpoint_is_no_mistake(cs, tree):
    cs(tree)
    assert read_cloud_sites() == CloudSites()


# Inheritance, as DIRAC does it


def test_tags_of_ce_and_queue_add_up(cs):
    vm_type = the_vm_type(cs, {"Tag": "B", "RequiredTag": "D"}, Tag="A, B", RequiredTag="C")
    assert (vm_type.tags, vm_type.required_tags) == (("A", "B"), ("C", "D"))


def test_a_queue_inherits_what_it_does_not_say_itself(cs):
    vm_type = the_vm_type(cs, {"MaxRAM": 4000}, MaxRAM=2000, NumberOfProcessors=4, Platform="Linux_x86_64")
    assert (vm_type.max_ram, vm_type.number_of_processors, vm_type.platform) == (4000, 4, "Linux_x86_64")


def test_limits_of_the_endpoint_are_not_those_of_each_vm_type(cs):
    assert the_vm_type(cs, MaxVMs=5).max_vms is None
    assert the_vm_type(cs, {"MaxVMs": 2}, MaxVMs=5).max_vms == 2


def test_options_of_all_ces_of_a_site_are_inherited_and_those_of_other_kinds_are_no_mistake(cs):
    tree = sites(ours=ce())
    tree["Resources"]["Sites"]["CLOUD"]["CLOUD.Here.org"]["CEs"] |= {"MaxRAM": "3000", "XRSLExtraString": "x"}
    cs(tree)
    (endpoint,) = read_cloud_sites().endpoints
    assert endpoint.vm_types[0].max_ram == 3000


@pytest.mark.parametrize(
    ("site", "of_ce", "of_queue", "expected"),
    [
        (["belle"], ["t2k.org"], ["hyperk.org"], {"hyperk.org"}),
        (["belle"], ["t2k.org"], [], {"t2k.org"}),
        (["belle"], [], [], {"belle"}),
        ([], [], [], set()),
    ],
)
def test_the_vo_list_nearest_to_the_queue_counts(cs, site, of_ce, of_queue, expected):
    tree = sites(ours=ce({"q": QUEUE | {"VO": of_queue}}, VO=of_ce))
    tree["Resources"]["Sites"]["CLOUD"]["CLOUD.Here.org"]["VO"] = site
    cs(tree)
    assert read_cloud_sites().endpoints[0].vm_types[0].vos == expected


def test_a_vm_type_without_vos_serves_all_and_names_have_no_case(cs):
    assert the_vm_type(cs).serves("belle")
    assert the_vm_type(cs, VO="Belle").serves("belle")
    assert not the_vm_type(cs, VO="t2k.org").serves("belle")


@pytest.mark.parametrize("place", ["site", "ce", "queue"])
def test_vos_are_spelt_as_in_the_registry(cs, place):
    vos = ["Belle", "HYPERK.ORG", "Unknown"]
    tree = sites(ours=ce({"q": QUEUE | {"VO": vos if place == "queue" else []}}, VO=vos if place == "ce" else []))
    tree["Resources"]["Sites"]["CLOUD"]["CLOUD.Here.org"]["VO"] = vos if place == "site" else []
    cs(tree | {"Registry": {"VO": {"belle": {}, "hyperk.org": {}, "t2k.org": {}}}})
    (endpoint,) = read_cloud_sites().endpoints
    assert endpoint.vm_types[0].vos == {"belle", "hyperk.org", "Unknown"}
    assert place == "queue" or endpoint.vos == endpoint.vm_types[0].vos


def test_two_vos_that_differ_in_case_alone_stay_two(cs):
    cs(sites(ours=ce(VO=["vo", "VO"])) | {"Registry": {"VO": {"vo": {}, "VO": {}}}})
    assert read_cloud_sites().endpoints[0].vos == {"vo", "VO"}


# What the Matcher is asked


def test_the_matcher_gets_what_a_site_director_would_tell_it(cs):
    options = {"MaxRAM": "4000", "NumberOfProcessors": 2, "SI00": 2500, "Tag": "GPU", "WholeNode": "True"}
    assert the_vm_type(cs, options).matcher_parameters() == {
        "Site": "CLOUD.Here.org",
        "GridCE": "ours",
        "Queue": "q",
        "CPUTime": int(60 / 250 * 1440 * 2500),
        "MaxRAM": 4000,
        "NumberOfProcessors": 2,
        "Tag": ["GPU"],
        "RequiredTag": [],
        "WholeNode": True,
    }


def test_what_the_cs_does_not_say_the_flavor_says(cs):
    parameters = the_vm_type(cs).matcher_parameters(cores=8, ram_mib=16000)
    assert (parameters["NumberOfProcessors"], parameters["MaxRAM"]) == (8, 16000)


def test_the_cpu_time_is_reckoned_from_maxcputime_and_si00_unless_it_is_given(cs):
    assert the_vm_type(cs, {"SI00": 5000}).cpu_time == int(60 / 250 * 1440 * 5000)
    assert the_vm_type(cs).cpu_time == int(60 / 250 * 1440 * 2500)
    assert the_vm_type(cs, {"CPUTime": 999}).cpu_time == 999


def test_an_inner_ce_pool_fills_the_cores(cs):
    assert the_vm_type(cs, {"LocalCEType": "Pool/Singularity"}).fills_cores
    assert not the_vm_type(cs).fills_cores


def test_the_usual_words_of_dirac_are_no_mistake(cs):
    the_vm_type(cs, {"OS": "EL9", "architecture": "x86_64", "MaxWaitingJobs": 1}, MaxTotalJobs=5, GridEnv="/x")


# Mistakes


def test_a_wrong_value_is_told_with_path_expected_and_found(cs):
    problem = the_problem(cs, MaxVMs="many")
    assert (problem.path, problem.expected, problem.found) == (
        f"{BAD}/MaxVMs",
        "a whole number, at least 0",
        "many",
    )


@pytest.mark.parametrize("value", ["-1", "1.5", "5 VMs", "²", ""])
def test_only_whole_numbers_are_numbers(cs, value):
    assert the_problem(cs, MaxVMs=value).path == f"{BAD}/MaxVMs"


def test_an_unknown_option_is_refused_with_the_nearest_word(cs):
    problem = the_problem(cs, {"Flavour": "big"})
    assert problem.path == f"{BAD}/Queues/q/Flavour"
    assert problem.hint == "did you mean Flavor?"


def test_maxcputime_is_required_because_pilots_need_it(cs):
    cs(sites(bad=ce({"q": {"Image": "i", "Flavor": "f"}})))
    (problem,) = read_cloud_sites().problems
    assert problem.path == f"{BAD}/Queues/q/maxCPUTime"


@pytest.mark.parametrize("name", ["Image", "Flavor"])
def test_a_vm_type_without_image_or_flavor_cannot_be_booted(cs, name):
    assert the_problem(cs, {name: ""}).path == f"{BAD}/Queues/q/{name}"


def test_a_wrong_maxcputime_does_not_stop_the_reading_of_others(cs):
    assert the_problem(cs, {"maxCPUTime": "long"}).path == f"{BAD}/Queues/q/maxCPUTime"


def test_an_unknown_kind_of_cloud_is_refused(cs):
    problem = the_problem(cs, CEType="JenniferOpenStak")
    assert problem.path == f"{BAD}/CEType"
    assert "JenniferQEMU" in problem.expected


@pytest.mark.parametrize("missing", ["ImageDirectory", "StateDirectory"])
def test_a_qemu_endpoint_needs_its_directories(cs, missing):
    options = {"CEType": "JenniferQEMU", "ImageDirectory": "/images", "StateDirectory": "/state"}
    del options[missing]
    assert the_problem(cs, **options).path == f"{BAD}/{missing}"


def test_directories_are_absolute_paths(cs):
    options = {"CEType": "JenniferQEMU", "ImageDirectory": "/images", "StateDirectory": "state"}
    assert the_problem(cs, **options).expected == "an absolute path"


def test_two_endpoints_in_one_state_directory_would_take_each_others_servers(cs):
    options = {"CEType": "JenniferQEMU", "ImageDirectory": "/images", "StateDirectory": "/state"}
    cs(sites(one=ce(**options), two=ce(**options), good=ce(**options | {"StateDirectory": "/other"})))
    found = read_cloud_sites()
    assert [endpoint.ce for endpoint in found.endpoints] == ["good"]
    assert [problem.path.split("/")[-2:] for problem in found.problems] == [
        ["one", "StateDirectory"],
        ["two", "StateDirectory"],
    ]


def test_an_endpoint_without_queues_is_told(cs):
    cs(sites(good=ce(), bad=ce({})))
    (problem,) = read_cloud_sites().problems
    assert problem.path == f"{BAD}/Queues"


def test_an_unknown_section_is_refused(cs):
    problem = the_problem(cs, Queue={"q": {}})
    assert (problem.path, problem.hint) == (f"{BAD}/Queue", "did you mean Queues?")


def test_one_ce_name_at_two_sites_disables_both(cs):
    tree = sites(same=ce(), good=ce())
    tree["Resources"]["Sites"]["VCYCLE"] = {"VCYCLE.There.org": {"CEs": {"same": ce()}}}
    cs(tree)
    found = read_cloud_sites()
    assert [endpoint.ce for endpoint in found.endpoints] == ["good"]
    assert sorted(problem.found for problem in found.problems) == [
        "the same name at CLOUD.Here.org",
        "the same name at VCYCLE.There.org",
    ]


def test_a_ce_name_of_another_kind_of_ce_is_taken_too(cs):
    tree = sites(same=ce(), good=ce())
    tree["Resources"]["Sites"]["LCG"] = {"LCG.There.org": {"CEs": {"same": {"CEType": "AREX", "Queues": {"q": {}}}}}}
    cs(tree)
    assert [endpoint.ce for endpoint in read_cloud_sites().endpoints] == ["good"]


def test_all_mistakes_of_an_endpoint_are_told_at_once(cs):
    cs(sites(bad=ce({"q": QUEUE | {"maxCPUTime": "x"}}, MaxVMs="x", Nonsense=1)))
    assert len(read_cloud_sites().problems) == 3


# Secrets


@pytest.mark.parametrize("place", ["ce", "queue"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Password", "hunter2-hunter2"),
        ("SecretKey", "hunter2-hunter2"),
        ("Appcred", "/etc/hunter2-hunter2"),
        ("ExtraPilotOptions", "--modules=x --token hunter2-hunter2"),
        ("UserEnvVariables", "API_TOKEN:::hunter2-hunter2"),
        ("Cloud", "-----BEGIN RSA PRIVATE KEY-----hunter2-hunter2"),
    ],
)
def test_a_secret_is_refused_with_its_path_and_never_its_value(cs, place, name, value):
    if place == "queue":
        problem = the_problem(cs, {name: value})
        assert problem.path == f"{BAD}/Queues/q/{name}"
    else:
        problem = the_problem(cs, **{name: value})
        assert problem.path == f"{BAD}/{name}"
    assert "hunter2" not in repr(problem)
    assert "hunter2" not in str(problem)


def test_the_value_of_an_unknown_option_is_not_shown_either(cs):
    problem = the_problem(cs, Pasword="hunter2-hunter2")
    assert "hunter2" not in repr(problem)


def test_limits_come_in_pairs_and_per_vo(cs):
    limits = {"belle": {"MaxVMs": 3, "SoftMaxCores": 8}}
    cs(sites(ours=ce({"q": QUEUE | {"SoftMaxVMs": 2}}, MaxCores=20, SoftMaxCores=10, VOLimits=limits)))
    (endpoint,) = read_cloud_sites().endpoints
    assert bounds_of(endpoint) == Bounds(max_cores=20, soft_max_cores=10)
    assert bounds_of(endpoint.vm_types[0]) == Bounds(soft_max_vms=2)
    assert {vo: bounds_of(own) for vo, own in endpoint.vo_limits.items()} == {"belle": Bounds(3, soft_max_cores=8)}


def test_shares_priority_and_quota_domain_are_read(cs):
    shares = {"belle": 50, "t2k.org": "12.5", "hyperk.org": 0}
    cs(sites(ours=ce(Shares=shares, Priority=2, QuotaDomain="grif", MaxStartingCores=16, VacuumVMs=1)))
    (endpoint,) = read_cloud_sites().endpoints
    assert endpoint.shares == {"belle": 50, "t2k.org": 12.5, "hyperk.org": 0}
    assert (endpoint.priority, endpoint.quota_domain, endpoint.max_starting_cores, endpoint.vacuum_vms) == (
        2,
        "grif",
        16,
        1,
    )


@pytest.mark.parametrize("value", ["much", "-1", "inf", "nan", ""])
def test_a_share_that_is_no_number_is_refused(cs, value):
    problem = the_problem(cs, Shares={"belle": value})
    assert (problem.path, problem.expected) == (f"{BAD}/Shares/belle", "a number, at least 0")


def test_an_unknown_limit_of_a_vo_is_refused(cs):
    problem = the_problem(cs, VOLimits={"belle": {"MaxVM": 1}})
    assert (problem.path, problem.hint) == (f"{BAD}/VOLimits/belle/MaxVM", "did you mean MaxVMs?")


def test_a_secret_among_the_limits_of_a_vo_is_refused_without_its_value(cs):
    assert "hunter2" not in str(the_problem(cs, VOLimits={"belle": {"Password": "hunter2"}}))


def test_shares_and_limits_of_vos_are_spelt_as_in_the_registry(cs):
    registry = {"Registry": {"VO": {"belle": {}, "t2k.org": {}}}}
    here = ce(Shares={"Belle": 3, "Unknown": 1}, VOLimits={"T2K.ORG": {"MaxVMs": 2}})
    cs(sites(ours=here) | registry)
    (endpoint,) = read_cloud_sites().endpoints
    assert endpoint.shares == {"belle": 3, "Unknown": 1}
    assert {vo: limits.max_vms for vo, limits in endpoint.vo_limits.items()} == {"t2k.org": 2}
    cs(sites(ours=ce(Shares={"belle": 3, "Belle": 1})) | registry)
    (problem,) = read_cloud_sites().problems
    assert (problem.path.rpartition("/")[2], problem.found) == ("Belle", "belle and Belle")


def test_an_endpoint_with_shares_and_limits_can_be_a_key(cs):
    cs(sites(ours=ce(Shares={"belle": 50}, VOLimits={"belle": {"MaxVMs": 3}})))
    (endpoint,) = read_cloud_sites().endpoints
    assert {endpoint: 1}[endpoint.model_copy()] == 1
