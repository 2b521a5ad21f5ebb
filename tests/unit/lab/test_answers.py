"""Questions to DIRAC's services."""

import pytest

from lab.dirac import LabError
from lab.dirac.answers import ask


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(ask.retry, "sleep", waited.append)
    return waited


def test_a_question_is_asked_again_until_it_is_answered(waits):
    answers = [{"OK": False, "Message": "broken off"}, {"OK": True, "Value": 42}]
    assert ask(lambda what: answers.pop(0), "what") == 42
    assert len(waits) == 1


def test_after_ten_seconds_of_growing_waits_the_last_answer_is_told(waits):
    with pytest.raises(LabError, match="connection refused"):
        ask(lambda: {"OK": False, "Message": "connection refused"})
    assert waits == sorted(waits)
    assert 8 < sum(waits) < 12
