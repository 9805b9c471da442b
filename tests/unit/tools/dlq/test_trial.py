"""A dry run tries the daemon's own rules: which dead letters would be rejected again, and why."""

import json

import pytest

from pipeline.config import NormalizeSettings, Settings
from pipeline.records import Reason
from pipeline.tools.dlq import Trial
from pipeline.tools.dlq.transactions import Outgoing
from tests.support.events import step

GOOD = json.dumps(step()).encode()


def back(value: bytes | None, topic: str = "run-steps") -> Outgoing:
    return Outgoing(topic, 1, b"key", value, [])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{broken", Reason.INVALID_JSON),
        (b"\xff", Reason.NOT_UTF8),
        (b"[[1]]", Reason.NOT_AN_OBJECT),
        (b" " * 2_000, None),
    ],
)
def test_a_record_is_rejected_again_for_what_the_daemon_rejects_it_for(value: bytes, reason: Reason | None) -> None:
    rejected = Trial.of(Settings()).rejection(back(value))
    assert (rejected and rejected.reason) == reason


def test_what_the_settings_allow_now_is_not_rejected_again() -> None:
    small = Settings(normalize=NormalizeSettings(max_event_bytes=1_024))
    rejected = Trial.of(small).rejection(back(GOOD.ljust(2_000)))
    assert rejected is not None
    assert rejected.reason is Reason.TOO_LARGE
    assert Trial.of(Settings()).rejection(back(GOOD)) is None


@pytest.mark.parametrize("value", [None, b""])
def test_what_is_ignored_is_not_rejected(value: bytes | None) -> None:
    assert Trial.of(Settings()).rejection(back(value)) is None


def test_a_topic_that_the_daemon_does_not_read_is_not_tried() -> None:
    assert Trial.of(Settings()).rejection(back(b"{broken", "elsewhere")) is None
