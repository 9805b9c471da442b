"""Every line of the log has a stable key, to search for and to alert on, and a sentence that says what it means."""

import re

import pytest

from tests.documents.log_events import LogCall, log_calls

KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
CALLS = list(log_calls())


def test_the_calls_are_found() -> None:
    assert {call.place.split("/")[-2] for call in CALLS} >= {"daemon", "source", "workers", "endpoints", "commands"}


@pytest.mark.parametrize("call", CALLS, ids=[call.place for call in CALLS])
def test_each_line_has_a_key_and_above_debug_a_sentence(call: LogCall) -> None:
    assert KEY.fullmatch(call.key or ""), "the event is a literal key in snake_case"
    if call.sentences is None:
        assert call.level == "debug", "above debug, a line has a message"
        return
    assert call.sentences, "the message is known"
    assert all(" " in sentence for sentence in call.sentences), "the message is a literal sentence"
