"""A check that fails itself is a finding: with its cause and its place, without secrets, and the others go on."""

from collections.abc import Iterator

import pytest

from pipeline.errors import ConfigError, ServiceUnavailable
from pipeline.tools.checks.finding import Finding, fine, guarded


def failing(error: Exception) -> Iterator[Finding]:
    yield fine("first", "was seen")
    raise error


def test_what_was_found_before_the_failure_stays() -> None:
    first, second = guarded("topics", failing(KeyError("endpoint_type")))
    assert (first.subject, second.subject, second.level) == ("first", "topics", "warning")
    assert second.detail.startswith(
        "unknown: the check failed with KeyError: 'endpoint_type' (tools/checks/test_finding.py:"
    )
    assert second.fix.startswith("report this line")


def test_what_the_daemon_cannot_do_without_is_not_passed_unseen() -> None:
    *_, last = guarded("topics", failing(KeyError("x")), required=True)
    assert (last.ok, last.unavailable) == (False, False)


def test_a_failure_shows_no_secret_and_drives_no_terminal() -> None:
    *_, last = guarded("kafka", failing(ValueError("http://u:hunter2@h:1/ \x1b[2J\nnext")))
    assert "hunter2" not in last.detail
    assert not {"\x1b", "\n"} & set(last.detail)


def test_a_wrong_setting_is_named_as_such() -> None:
    *_, last = guarded("kafka", failing(ConfigError("kafka: no such codec")))
    assert (last.level, last.detail, last.fix) == (
        "bad",
        "kafka: no such codec",
        "correct what it names, then check again",
    )


def test_a_service_that_is_away_is_the_callers_matter() -> None:
    with pytest.raises(ServiceUnavailable):
        list(guarded("kafka", failing(ServiceUnavailable("away")), (ServiceUnavailable,)))
