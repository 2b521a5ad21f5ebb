"""The project's one command."""

import os
import subprocess
from pathlib import Path

CLONE = Path(__file__).parents[3]


def run(*arguments, home, command="run"):
    environment = {**os.environ, "JENNIFERDIRAC_HOME": str(home)}
    return subprocess.run([CLONE / command, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_it_explains_itself(tmp_path):
    done = run(home=tmp_path)
    assert done.returncode == 0
    for word in ("./run demo", "./run test", "./run lab", "./run status", "./run down", str(tmp_path)):
        assert word in done.stdout


def test_an_unknown_command_is_refused(tmp_path):
    done = run("dmeo", home=tmp_path)
    assert done.returncode == 2
    assert "unknown command 'dmeo'" in done.stderr


def test_down_and_status_set_nothing_up_where_nothing_ran(tmp_path):
    for command in ("down", "status"):
        assert "No lab was started here" in run(command, home=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []


def test_ci_calls_exactly_the_tests(tmp_path):
    assert (CLONE / ".ci/run").read_text().splitlines()[1:] == [
        'exec "$(dirname "$(readlink -f "$0")")/../run" test',
    ]
    assert os.access(CLONE / ".ci/run", os.X_OK)
