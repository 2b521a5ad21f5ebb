"""Documents that name tests name tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def names_of_tests():
    files = (ROOT / "tests").rglob("*.py")
    return {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}


@pytest.mark.parametrize("page", ["threats.md", "gateway.md"])
def test_every_test_that_a_page_names_exists(page):
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    assert named
    assert named - names_of_tests() == set()


def test_every_file_of_tests_that_the_threats_name_exists():
    named = re.findall(r"`(tests/\S+\.py)`", (ROOT / "docs/threats.md").read_text())
    assert [path for path in named if not (ROOT / path).is_file()] == []
