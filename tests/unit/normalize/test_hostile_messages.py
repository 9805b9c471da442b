"""No message holds up the pipeline: a pattern that backtracks would take longer than the suite's time-out."""

import pytest

from pipeline.normalize.rules import Rules
from pipeline.normalize.step_errors import read_error

LENGTH = 4_096
UNITS = (
    *("1", "1,", "1.", "1a", "a.", "a-", "f", "org-", "'a", '"', "`", "(", "/", "://a", "1:", "sk-", "key=", "eyJ."),
    *("a@b.", "req_", "version ", "status code ", "Please ", "1T", " ", "1 ", "1s", "step-1", '="', ":a@", "\u0663"),
)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("tail", ["", "x", "!", " z"])
@pytest.mark.parametrize("unit", UNITS)
def test_repetition_does_not_hold_up_the_pipeline(unit: str, tail: str) -> None:
    message = (unit * LENGTH)[:LENGTH] + tail
    assert read_error({"code": "server_error", "message": message}, "failed", Rules(max_text=LENGTH), []).fingerprint
