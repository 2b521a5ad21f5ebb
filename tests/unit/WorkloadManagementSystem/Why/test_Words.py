"""Lengths of time, numbers, lists and moments in words."""

from why_world import NOW, ago

from JenniferDIRAC.WorkloadManagementSystem.Why.Words import listed, moment, number, sentence


def test_small_words():
    assert (number(1, "VM"), number(2, "VM")) == ("1 VM", "2 VMs")
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["none", "a", "a, b and c"]
    assert (moment(NOW, NOW), moment(ago(24 * 60), NOW)) == ("10:00 UTC", "2026-11-19 10:00 UTC")
    assert (sentence("so"), sentence("so.")) == ("so.", "so.")
