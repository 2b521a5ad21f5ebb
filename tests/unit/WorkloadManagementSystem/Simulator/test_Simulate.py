"""The command simulates without any DIRAC server, and says what it came to."""

import json
import sys

import pytest
from typer.testing import CliRunner

from JenniferDIRAC.WorkloadManagementSystem.CLI.CloudCommand import app

SCENARIO = """
vos: [belle]
days: 1
clouds: [{site: CLOUD.A.fr, ce: a, quota_cores: 10, shares: {belle: 1}, vm_types: [{queue: q}]}]
workload: [{kind: burst, vo: belle, jobs: 4, hours: 1}]
"""


@pytest.fixture
def simulate(tmp_path):
    (tmp_path / "one.yaml").write_text(SCENARIO)

    def run(*words):
        return CliRunner().invoke(app, ["simulate", str(tmp_path / "one.yaml"), *words])

    return run


def test_the_figures_are_a_table_and_json(simulate):
    table = simulate()
    assert table.exit_code == 0
    assert "started per needed" in table.stdout
    (run,) = json.loads(simulate("--json").stdout)["runs"]
    assert (run["vms_started"], run["vms_needed"], run["jobs_done"], run["started_per_needed"]) == (4, 4, 4, 1.0)
    assert run["outcomes"] == {"Worked": 4}


def test_all_policies_are_compared_in_one_world(simulate):
    runs = json.loads(simulate("--policy", "all", "--json").stdout)["runs"]
    assert [run["policy"] for run in runs] == ["ours", "site-director", "vmdirac", "vcycle"]
    assert {run["jobs_done"] for run in runs} == {4}


def test_an_option_of_the_director_is_tried(simulate):
    (run,) = json.loads(simulate("--option", "PollingTime=600", "--json").stdout)["runs"]
    assert run["cycles_run"] + run["cycles_skipped"] == 145


def test_the_page_is_self_contained(simulate, tmp_path):
    assert simulate("--html", str(tmp_path / "page.html")).exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "src=" not in page and "@import" not in page


def test_without_matplotlib_only_drawings_are_refused(simulate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = simulate("--html", str(tmp_path / "page.html"))
    assert refused.exit_code == 1
    assert "pip install" in refused.stderr
    assert simulate("--json").exit_code == 0


def test_a_trace_takes_the_place_of_the_workload(simulate, tmp_path):
    (tmp_path / "trace.csv").write_text("submitted_at,vo,jobs,processors,seconds\n0,belle,7,1,600\n")
    (run,) = json.loads(simulate("--trace", str(tmp_path / "trace.csv"), "--json").stdout)["runs"]
    assert run["jobs_submitted"] == 7


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--policy", "mine"), 2, "expected ours"),
        (("--option", "MaxBooting"), 2, "OPTION=VALUE"),
        (("--option", "MaxBootin=3"), 1, "did you mean MaxBooting"),
        (("--trace", "/nowhere.csv"), 1, "nowhere.csv"),
        (("--days", "0"), 1, "days"),
    ],
)
def test_what_cannot_be_simulated_is_refused(simulate, words, code, said):
    result = simulate(*words)
    assert result.exit_code == code
    assert said in result.stderr


def test_shipped_scenarios_are_named():
    assert "trickle: " in CliRunner().invoke(app, ["simulate", "--list"]).stdout
