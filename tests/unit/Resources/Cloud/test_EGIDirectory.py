"""Sites of EGI are found, with servers that answer as its two directories do; nothing trusts them blindly."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from scripted_server import Reply

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Rejected, Unreachable
from JenniferDIRAC.Resources.Cloud.EGIDirectory import EGIDirectory, EGISite, Source, clouds_entry

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
KEYSTONE = "https://keystone.ires.example:5000/v3"
GOCDB = "/gocdbpi/public/"
ENDPOINT = """
  <SERVICE_ENDPOINT PRIMARY_KEY="{key}">
    <PRIMARY_KEY>{key}</PRIMARY_KEY>
    <HOSTNAME>keystone.ires.example</HOSTNAME>
    <BETA>N</BETA>
    <SERVICE_TYPE>org.openstack.nova</SERVICE_TYPE>
    <CORE/>
    <IN_PRODUCTION>{production}</IN_PRODUCTION>
    <NODE_MONITORED>Y</NODE_MONITORED>
    <SITENAME>{site}</SITENAME>
    <ROC_NAME>NGI_FRANCE</ROC_NAME>
    <URL>{url}</URL>
    <ENDPOINTS/>
    <SCOPES><SCOPE>EGI</SCOPE></SCOPES>
    <EXTENSIONS/>
  </SERVICE_ENDPOINT>"""


def gocdb(*endpoints):
    body = "".join(
        ENDPOINT.format(**{"key": f"{n}G0", "production": "Y", "site": "IRES", "url": KEYSTONE, **endpoint})
        for n, endpoint in enumerate(endpoints)
    )
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<results>{body}\n</results>\n'
    return Reply(body=xml, headers={"Content-Type": "application/xml"})


class World:
    """Both directories: the first knows the site IRES, which serves two VOs; the second is empty."""

    def __init__(self, scripted, ca_file, cache):
        self.service, self.gocdb = scripted(), scripted()
        self.cache, self.now = cache, START
        self.session = requests.Session()
        self.session.verify = str(ca_file)
        self.site = {"id": "1G0", "name": "IRES", "url": KEYSTONE, "state": "", "hostname": "keystone.ires.example"}
        self.projects = [{"id": "3b1e", "name": "belle"}, {"id": "77aa", "name": "ops"}]
        self.service.routes |= {
            "/site/IRES/": lambda seen: Reply(body=self.site),
            "/site/IRES/projects": lambda seen: Reply(body=self.projects),
            "/sites/": self.sites,
        }
        self.gocdb.routes[GOCDB] = gocdb()

    def sites(self, seen):
        (vo,) = parse_qs(urlsplit(seen.path).query)["vo_name"]
        return Reply(body=[self.site] if any(project["name"] == vo for project in self.projects) else [])

    def forget(self):
        self.service.routes["/site/IRES/"] = Reply(404, {"detail": "Site IRES not found"})

    @property
    def directory(self):
        """As a new process has it."""
        return EGIDirectory(
            self.cache, self.service.url, self.gocdb.url + GOCDB, session=self.session, clock=lambda: self.now
        )

    def find(self, site="IRES", vo="belle"):
        return self.directory.find(site, vo)


@pytest.fixture
def world(scripted, certificate, tmp_path):
    return World(scripted, certificate[0], tmp_path / "cache")


FOUND = EGISite("IRES", "belle", KEYSTONE, "3b1e", Source.INFORMATION_SERVICE, timedelta())


def test_the_information_service_knows_endpoint_and_project(world):
    assert world.find() == FOUND
    assert not world.gocdb.seen


def test_a_site_that_it_does_not_know_is_looked_for_in_gocdb_which_knows_no_projects(world):
    world.forget()
    world.gocdb.routes[GOCDB] = gocdb({})
    assert world.find() == EGISite("IRES", "belle", KEYSTONE, "", Source.GOCDB, timedelta())
    query = parse_qs(urlsplit(world.gocdb.seen[0].path).query)
    assert query == {"method": ["get_service_endpoint"], "sitename": ["IRES"], "service_type": ["org.openstack.nova"]}


def test_gocdb_helps_when_the_information_service_is_down(world):
    world.service.stop()
    world.gocdb.routes[GOCDB] = gocdb({})
    assert world.find().source is Source.GOCDB


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://k.example:5000/v2.0/?image=1&amp;resource=tiny", "https://k.example:5000/v3"),
        (" https://k.example/identity/v3/ ", "https://k.example/identity/v3"),
        ("https://k.example:13000", "https://k.example:13000/v3"),
    ],
)
def test_the_address_is_that_of_version_3_whatever_gocdb_has_behind_it(world, url, address):
    world.forget()
    world.gocdb.routes[GOCDB] = gocdb({"url": url})
    assert world.find().auth_url == address


# --- what is not there


def test_a_vo_that_the_site_does_not_serve_is_an_error_that_names_the_sites_that_do(world):
    world.service.routes["/sites/"] = Reply(body=[{**world.site, "name": name} for name in ("SITE-B", "SITE-A")])
    with pytest.raises(Rejected, match="IRES does not serve the VO 't2k.org'; it serves belle, ops") as error:
        world.find(vo="t2k.org")
    assert "Sites that serve t2k.org: SITE-A, SITE-B" in str(error.value)
    assert not world.gocdb.seen


def test_a_site_that_nobody_knows_is_an_error_that_names_the_sites_that_serve_the_vo(world):
    with pytest.raises(Rejected, match="knows no site 'ATLANTIS'.*found none. Sites that serve belle: IRES"):
        world.find("ATLANTIS")


def test_a_vo_without_any_site_is_told(world):
    with pytest.raises(Rejected, match="No site serves hyperk.org"):
        world.find(vo="hyperk.org")


@pytest.mark.parametrize("endpoint", [{"production": "N"}, {"site": "IRES-2"}])
def test_an_endpoint_that_is_not_in_production_or_of_another_site_does_not_count(world, endpoint):
    world.forget()
    world.gocdb.routes[GOCDB] = gocdb(endpoint)
    with pytest.raises(Rejected, match="expected one OpenStack in production at 'IRES' in GOCDB, found none"):
        world.find()


def test_two_clouds_at_one_site_are_an_error_that_lists_them(world):
    world.forget()
    world.gocdb.routes[GOCDB] = gocdb(
        {"url": "https://b.example/v3"}, {"url": "https://a.example/v3"}, {"url": "https://a.example/v3/"}
    )
    with pytest.raises(Rejected, match="found several: https://a.example/v3, https://b.example/v3"):
        world.find()


def test_no_directory_at_all_is_an_error_that_says_what_is_left_to_do(world):
    world.service.stop()
    world.gocdb.stop()
    with pytest.raises(Unreachable, match="Write auth_url and project_id into clouds.yaml by hand") as error:
        world.find()
    assert world.service.url in str(error.value) and world.gocdb.url in str(error.value)


# --- age


def test_an_answer_is_not_asked_for_again_within_an_hour(world):
    world.find()
    world.now += timedelta(minutes=59)
    assert world.find().age == timedelta(minutes=59)
    assert len(world.service.seen) == 2


def test_an_answer_of_yesterday_is_asked_for_again(world):
    world.find()
    world.site["url"] = "https://moved.example/v3"
    world.now += timedelta(days=1)
    assert world.find().auth_url == "https://moved.example/v3"


@pytest.mark.parametrize(
    "reply", [None, Reply(503), Reply(200, "<html>maintenance</html>"), Reply(200, ["?"]), Reply(200, "[" * 100_000)]
)
def test_while_the_service_is_down_its_last_answer_does_and_says_how_old_it_is(world, reply):
    world.find()
    world.now += timedelta(days=3)
    if reply is None:
        world.service.stop()
    else:
        world.service.routes |= {"/site/IRES/": reply, "/site/IRES/projects": reply}
        world.service.routes["/site/IRES/projects"] = Reply(503)
    for _ in range(2):  # the bad answer has not taken the good one's place
        found = world.find()
        assert (found.auth_url, found.stale, found.age) == (KEYSTONE, True, timedelta(days=3))
    assert not world.gocdb.seen


def test_a_damaged_cache_is_as_good_as_none(world):
    world.find()
    for file in world.cache.iterdir():
        file.write_text('{"url": 1')
    assert world.find() == FOUND
    assert len(world.service.seen) == 4


def test_a_cache_that_cannot_be_written_hinders_nothing(world, caplog):
    world.cache.write_text("a file")
    assert world.find() == FOUND
    assert "is not kept" in caplog.text


def test_a_clock_that_went_back_makes_no_negative_age(world):
    world.find()
    world.now -= timedelta(days=1)
    assert world.find().age == timedelta()


# --- trust


@pytest.mark.parametrize(
    "url",
    [
        "http://keystone.ires.example:5000/v3",
        "https://user:pw@keystone.ires.example/v3",
        "https://127.0.0.1:5000/v3",
        "https://localhost/v3",
        "https://169.254.169.254/v3",
        "https://[fe80::a9fe:a9fe]/v3",
        "https://10.1.2.3/v3",
        "https://host:port/v3",
        "",
        None,
    ],
)
def test_an_address_that_no_public_cloud_has_is_not_passed_on(world, url):
    world.site["url"] = url
    with pytest.raises(Rejected, match="expected https|expected an address|is no address|inside a network"):
        world.find()


@pytest.mark.parametrize("project", ["", "a b", "../x", "x" * 65, None])
def test_a_project_that_is_no_id_is_not_passed_on(world, project):
    world.projects[0]["id"] = project
    with pytest.raises(Rejected, match="which is no id"):
        world.find()


def test_names_cannot_leave_their_place_in_the_address(world):
    with pytest.raises(Rejected):
        world.find("../sites/?vo_name=ops&x=", "belle")
    assert {urlsplit(seen.path).path for seen in world.service.seen} == {
        "/site/..%2Fsites%2F%3Fvo_name%3Dops%26x%3D/",
        "/sites/",
    }


def test_no_redirect_to_another_host_is_followed(world, scripted):
    other = scripted()
    world.service.routes["/site/IRES/"] = Reply(302, "", {"Location": f"{other.url}/site/IRES/"})
    world.gocdb.stop()
    with pytest.raises(Unreachable, match="redirects to another host"):
        world.find()
    assert not other.seen


def test_a_redirect_on_the_same_host_is_followed_a_few_times(world):
    world.service.routes["/moved"] = Reply(body=world.site)
    world.service.routes["/site/IRES/"] = Reply(307, "", {"Location": "/moved"})
    assert world.find() == FOUND
    world.now += timedelta(days=1)
    world.service.routes["/moved"] = Reply(307, "", {"Location": "/moved"})
    assert world.find().stale
    assert len(world.service.asked("/moved")) == 1 + 2


def test_only_https_is_asked(world, scripted):
    plain = scripted(https=False)
    with pytest.raises(Unreachable, match="expected https"):
        EGIDirectory(world.cache, plain.url, plain.url + GOCDB, session=world.session).find("IRES", "belle")
    assert not plain.seen


def test_a_service_of_an_unknown_ca_is_not_believed(world):
    world.session.verify = True
    with pytest.raises(Unreachable, match="certificate verify failed"):
        world.find()


def test_an_answer_without_end_is_cut(world):
    world.service.routes["/site/IRES/"] = Reply(body=" " * (5 << 20))
    world.gocdb.stop()
    with pytest.raises(Unreachable, match="longer than"):
        world.find()


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><results>&b;</results>',
        "<results><unclosed></results>",
        "<html/>",
        "",
    ],
)
def test_xml_that_is_no_answer_of_gocdb_is_an_error(world, xml):
    world.forget()
    world.gocdb.routes[GOCDB] = Reply(body=xml)
    with pytest.raises(Unreachable, match="gives no answer that can be used"):
        world.find()


# --- the entry


def test_what_was_found_becomes_an_entry_of_clouds_yaml():
    entry = clouds_entry(FOUND, "~/.config/jenniferdirac/ires.token")
    assert yaml.safe_load(yaml.safe_dump(entry)) == {
        "auth_type": "v3oidcrefreshtoken",
        "auth": {
            "auth_url": KEYSTONE,
            "identity_provider": "egi.eu",
            "issuer": "https://aai.egi.eu/auth/realms/egi",
            "client_id": "token-portal",
            "refresh_token_file": "~/.config/jenniferdirac/ires.token",
            "openid_scope": "openid email profile voperson_id "
            "eduperson_entitlement:urn:mace:egi.eu:group:belle:role=vm_operator#aai.egi.eu "
            "eduperson_entitlement:urn:mace:egi.eu:group:belle:role=member#aai.egi.eu",
            "project_id": "3b1e",
        },
    }
