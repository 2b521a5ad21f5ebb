"""What looks like a secret, and what only looks a little like one."""

import base64
import random

import pytest

from JenniferDIRAC.ConfigurationSystem.SecretCheck import find_secrets, looks_secret


@pytest.mark.parametrize(
    "name",
    ["Password", "SSHPassword", "clientSecret", "RefreshToken", "AccessKey", "Secret_Key", "API-Key", "Key", "Appcred"],
)
def test_a_secrets_name_betrays_it(name):
    (problem,) = find_secrets("/Resources/x", {name: "anything"})
    assert problem.path == f"/Resources/x/{name}"
    assert "anything" not in str(problem)


@pytest.mark.parametrize("name", ["KeyPair", "Tag", "MaxVMs", "Networks", "ExtraPilotOptions"])
def test_other_names_do_not(name):
    assert find_secrets("/Resources/x", {name: "anything"}) == ()


@pytest.mark.parametrize(
    "value",
    [
        "-----BEGIN CERTIFICATE-----",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "OIDC_TOKEN:::abc",
        "a:::b,DB_PASSWORD:::abc",
        "--refresh-token=abc",
        ["--debug", "--token abc"],
    ],
)
def test_a_value_that_holds_a_secret_is_found(value):
    assert looks_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        "5f0e8c1e-2f1b-4a0d-9c1e-5b6f7a8b9c0d",
        "Token, MultiProcessor",
        "Token:belle",
        "/cvmfs/belle.cern.ch/el9/releases/light-2406-Vela/Setup/Production/Site/x86_64-Linux",
        "name:AlmaLinux-9-GenericCloud-Latest.x86_64-20241118.0",
        "BEARER_TOKEN_FILE:::/etc/jennifer/token",
        "0123456789abcdef0123456789abcdef0123456789abcdef",
        "http://squid.grif.fr:3128",
        "cores>=4, ram>=8",
    ],
)
def test_ids_paths_and_tags_are_no_secrets(value):
    assert not looks_secret(value)


def test_long_random_words_are_found():
    rng = random.Random(1)
    found = [looks_secret(f"id {base64.urlsafe_b64encode(rng.randbytes(64)).decode()}") for _ in range(200)]
    assert all(found)
