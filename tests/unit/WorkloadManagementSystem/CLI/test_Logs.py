"""Following a log, piece by piece."""

from JenniferDIRAC.WorkloadManagementSystem.CLI.Logs import read_on


class GrowingLog:
    """A log that grows by a word at each look; its VM ends after the last."""

    def __init__(self, *words, at_once=1):
        self.words, self.seen = words, at_once

    def read(self, offset):
        text = "".join(self.words[: self.seen])
        return {"text": text[offset:], "next": len(text), "size": len(text), "ended": self.seen >= len(self.words)}

    def wait(self, seconds):
        self.seen += 1


def heard(log, follow, offset=0):
    words = []
    read_on(log.read, offset, follow, words.append, log.wait)
    return words


def test_what_is_there_is_read_and_no_more():
    assert "".join(heard(GrowingLog("one ", "two ", "three", at_once=2), follow=False)) == "one two "


def test_a_log_that_is_followed_is_read_to_its_vms_end_and_nothing_twice():
    assert "".join(heard(GrowingLog("one ", "two ", "three"), follow=True)) == "one two three"


def test_a_large_log_is_read_piece_by_piece():
    text = "x" * 10

    def read(offset):
        return {"text": text[offset : offset + 3], "next": min(offset + 3, 10), "size": 10, "ended": True}

    words = []
    assert read_on(read, 0, False, words.append)["next"] == 10
    assert words == ["xxx", "xxx", "xxx", "x"]
