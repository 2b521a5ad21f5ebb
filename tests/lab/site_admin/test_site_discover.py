"""discover, as a site admin types it: a real OpenStack."""

import json
from datetime import UTC, datetime, timedelta

from site_admin_world import (
    FLAVOR,
    SITE,
)

from lab.openstack.cloud import IMAGE, NETWORK


def test_discover_lists_the_entries_without_any_server(anywhere, clouds):
    shown = anywhere("discover")
    assert shown.returncode == 0, shown.stderr
    assert "test-cloud" in shown.stdout and f"{clouds.path}: used" in shown.stdout


def test_discover_shows_a_real_cloud_and_a_section_that_choosing_understands(anywhere, cloud, project):
    cloud.set_quota(project, instances=7)
    shown = anywhere("discover", "test-cloud", "--site", SITE, "--vo", "belle")
    assert shown.returncode == 0, shown.stderr
    for word in (project.name, FLAVOR, IMAGE, NETWORK, "10.77.0.0/16", "default"):
        assert word in shown.stdout
    assert project.password not in shown.stdout + shown.stderr
    told = json.loads(anywhere("discover", "test-cloud", "--json").stdout)
    assert told["account"]["project_id"] == project.id
    assert told["limits"]["max_instances"] == 7
    assert f"Image = name:{IMAGE}" in told["section"] and f"Flavor = name:{FLAVOR}" in told["section"]


def test_discover_raises_the_alarm_for_a_credential_that_ends_this_week(anywhere, clouds, cloud, project):
    connection = cloud.connect(project)
    soon = datetime.now(UTC) + timedelta(days=3)
    made = connection.identity.create_application_credential(
        connection.current_user_id, "soon", expires_at=soon.strftime("%Y-%m-%dT%H:%M:%S")
    )
    entry = cloud.password_entry(project)
    entry["auth"] = {
        "auth_url": cloud.auth_url,
        "application_credential_id": made.id,
        "application_credential_secret": made.secret,
    }
    clouds(ends_soon={**entry, "auth_type": "v3applicationcredential"})
    shown = anywhere("discover", "ends-soon")
    assert shown.returncode == 0, shown.stderr
    assert "ALARM" in shown.stderr and "replace it now" in shown.stderr
    assert made.secret not in shown.stdout + shown.stderr


def test_discover_says_what_is_wrong_with_an_entry(anywhere, clouds, cloud, project):
    entry = cloud.password_entry(project)
    wrong = {**entry, "auth": {**entry["auth"], "password": "not-the-password"}}
    away = {**entry, "auth": {**entry["auth"], "auth_url": "http://127.0.0.1:9/v3"}}
    clouds(wrong=wrong, away=away)
    for name, said in (("wrong", "401"), ("away", "127.0.0.1"), ("test-clout", "test-cloud")):
        shown = anywhere("discover", name)
        assert shown.returncode == 1, shown.stdout
        assert said in shown.stdout + shown.stderr
        assert "Traceback" not in shown.stderr and "not-the-password" not in shown.stdout + shown.stderr


def test_discover_fails_where_the_cloud_shows_nothing_to_choose_from(anywhere, clouds, cloud, project):
    entry = cloud.password_entry(project)
    clouds(elsewhere={**entry, "region_name": "Nowhere"})
    shown = anywhere("discover", "elsewhere", "--json")
    assert shown.returncode == 1, shown.stdout
    assert json.loads(shown.stdout)["section"] is None
    assert "Traceback" not in shown.stderr


def test_the_new_verbs_teach_themselves(anywhere):
    for verb in ("discover", "egi", "register", "check"):
        shown = anywhere(verb, "--help")
        assert shown.returncode == 0
        assert f"Example: dirac-admin-cloud {verb}" in shown.stdout
