"""What a VM says is heard; what others say on the same line is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from JenniferDIRAC.WorkloadManagementSystem.Context.ConsoleWords import parse_console
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import EndReport

VM = "a" * 32
OTHER = "b" * 32


def said(*lines):
    return parse_console("\n".join(lines), VM)


def end(code=200, reason="done", vm=VM):
    return f"@jennifer {vm} end code={code} reason={json.dumps(reason)}"


def test_silence_is_no_word():
    report = said("[    0.000000] Linux version 6.1", "cloud-init started")
    assert (report.spoke, report.said) == (False, None)


def test_hello_is_the_first_word():
    report = said(f'@jennifer {VM} hello time="2026-01-01T00:00:00Z" uptime=12.3')
    assert (report.spoke, report.said) == (True, None)


def test_the_start_of_the_pilot_is_heard_and_no_other_word_passes_for_it():
    assert said(f"@jennifer {VM} hello", f"@jennifer {VM} pilot-start disk_mib=9").pilot_started
    assert not said(
        f"@jennifer {VM} hello", f"@jennifer {OTHER} pilot-start", f"@jennifer {VM} pilot-started"
    ).pilot_started


def test_an_end_tells_code_and_reason():
    assert said(end(300, "Nothing to do for more than 1 cycles")).said == EndReport(
        300, "Nothing to do for more than 1 cycles"
    )


def test_the_words_of_another_vm_are_nobodys():
    report = said(f"@jennifer {OTHER} hello", end(vm=OTHER))
    assert (report.spoke, report.said) == (False, None)


@pytest.mark.parametrize("word", ["helloo", "bye", "", "ends code=200"])
def test_a_word_that_does_not_exist_is_none(word):
    assert not said(f"@jennifer {VM} {word}").spoke


@pytest.mark.parametrize("code", ["0", "50", "250", "800", "20", "2000", "abc", "-100"])
def test_only_hsf_codes_are_codes(code):
    assert said(end(code)).said is None


@pytest.mark.parametrize(
    "line",
    [
        f"[   12.3456] random: crng init done{end()}",
        f"{end()}[   99.1] kernel speaks",
        f"\r{end()}\r",
        f"login: \x1b[32m{end()}\x1b[0m",
    ],
)
def test_what_the_kernel_says_on_the_same_line_does_no_harm(line):
    assert said(line).said == EndReport(200, "done")


def test_an_end_that_was_torn_is_heard_from_its_repetition():
    assert said(f"@jennifer {VM} end co[  1.0] oops", "de=200", end(600, "x")).said == EndReport(600, "x")


def test_the_first_end_counts():
    assert said(end(300, "first"), end(200, "second")).said == EndReport(300, "first")


def test_a_reason_is_printable_and_short():
    reason = said(end(reason='quote " and \\ and \x1b[31mred\x07\n' + "x" * 500)).said.reason
    assert reason.startswith('quote " and \\ and red')
    assert len(reason) <= 200
    assert reason.isprintable()


def test_a_line_that_the_pilot_printed_does_not_pass_for_an_end():
    assert said(f"@jennifer {VM} line text={json.dumps('a ' + end())}").said is None


@given(st.text(), st.text())
def test_no_console_is_too_strange(before, after):
    assert parse_console(f"{before}\n{end()}\n{after}", VM).spoke


@given(st.text())
def test_any_reason_comes_through_printable(reason):
    heard = said(end(400, reason)).said
    assert heard.code == 400
    assert heard.reason.isprintable()
