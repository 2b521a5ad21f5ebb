"""The machine is switched off, one way or another. Nothing here reaches this host's own switch."""

import signal

import pytest

from JenniferDIRAC.WorkloadManagementSystem.Context.jennifer_vm import PowerOff


@pytest.fixture
def power_commands(tmp_path, monkeypatch):
    """A function that sets the exit code of stand-ins for systemctl and poweroff, which write down their use."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)

    def exit_with(code):
        for command in ("systemctl", "poweroff"):
            script = tmp_path / command
            script.write_text(f'#!/bin/sh\necho {command} "$@" >> {tmp_path}/tried\nexit {code}\n')
            script.chmod(0o755)

    yield exit_with
    signal.signal(signal.SIGTERM, before)


def test_every_way_of_switching_off_is_tried_at_once_when_the_one_before_fails(tmp_path, power_commands):
    power_commands(1)
    pauses = []
    PowerOff.switch_off(root=str(tmp_path), pause=pauses.append)
    assert (tmp_path / "tried").read_text() == "systemctl poweroff --force\npoweroff -f\n"
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"
    assert pauses == []


def test_the_kernels_key_is_pressed_though_its_permission_cannot_be_given(tmp_path, power_commands):
    power_commands(1)
    (tmp_path / "proc/sys/kernel/sysrq").mkdir()
    PowerOff.switch_off(root=str(tmp_path), pause=lambda _: None)
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"


def test_a_command_that_hangs_is_not_waited_for(tmp_path, power_commands, monkeypatch):
    power_commands(1)
    monkeypatch.setattr(PowerOff, "POWER_OFF_PATIENCE", 0.1)
    (tmp_path / "systemctl").write_text("#!/bin/sh\n/bin/sleep 3\n")
    PowerOff.switch_off(root=str(tmp_path), pause=lambda _: None)
    assert (tmp_path / "proc/sysrq-trigger").read_text() == "o"


def test_a_machine_that_goes_down_need_not_wait_for_us(tmp_path, power_commands):
    power_commands(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seen = []
    PowerOff.switch_off(root=str(tmp_path), pause=lambda _: seen.append(signal.getsignal(signal.SIGTERM)))
    assert seen == [signal.SIG_DFL, signal.SIG_DFL]
