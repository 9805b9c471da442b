"""Logs: one form for all lines, no secrets, no record values, no flood."""

import io
import json
import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import structlog

from pipeline.config import LogSettings
from pipeline.logs import KafkaLimit, configure
from schemas.vocabulary import OTHER

TIME = 1_000.0


class Envelope(NamedTuple):
    """Like kafka-python's ConsumerRecord: a tuple that would print the record's value."""

    offset: int
    value: bytes


@dataclass
class Opaque:
    """An object whose text may hold anything."""

    value: str


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines as objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    """A stream that everything is logged to, as JSON."""
    stream = io.StringIO()
    configure(LogSettings(format="json", level="info"), stream=stream)
    return stream


def test_lines_of_the_daemon_and_of_libraries_have_one_form(stream: io.StringIO) -> None:
    structlog.get_logger("pipeline.kafka.source").info("assigned", partition=3)
    logging.getLogger("some.library").warning("%s is odd", "it")
    own, theirs = logged(stream)
    assert (own["event"], own["partition"], own["logger"], own["level"]) == (
        "assigned",
        3,
        "pipeline.kafka.source",
        "info",
    )
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("it is odd", "some.library", "warning")
    assert own["timestamp"].endswith("Z")


def test_a_line_has_a_key_to_search_for_and_a_sentence(stream: io.StringIO) -> None:
    structlog.get_logger("pipeline.x").warning("insert_retrying", message="the batch is kept", cause="no route")
    logging.getLogger("kafka.net.manager").warning("%s failed", "it")
    own, theirs = logged(stream)
    assert (own["event"], own["message"], own["cause"]) == ("insert_retrying", "the batch is kept", "no route")
    assert (theirs["event"], theirs["message"], theirs["logger"]) == ("kafka_client", "it failed", "kafka.net.manager")


def test_the_console_shows_the_key_with_its_sentence_before_the_fields() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="console"), stream=stream)
    structlog.get_logger("pipeline.x").warning("insert_retrying", message="the batch is kept", cause="no route")
    logging.getLogger("some.library").warning("%s is odd", "it")
    own, theirs = stream.getvalue().splitlines()
    assert "insert_retrying: the batch is kept" in own
    assert own.index("the batch is kept") < own.index("cause=")
    assert "message=" not in own
    assert "it is odd" in theirs


def test_levels(stream: io.StringIO) -> None:
    structlog.get_logger("pipeline.x").debug("not shown")
    logging.getLogger("some.library").info("not shown")
    assert logged(stream) == []
    configure(LogSettings(format="json", level="debug"), stream=stream)
    structlog.get_logger("pipeline.x").debug("shown")
    logging.getLogger("some.library").debug("not shown")
    logging.getLogger("kafka.net.connection").debug("never shown: SaslAuthenticateRequest(auth_bytes=...)")
    assert [line["event"] for line in logged(stream)] == ["shown"]


def test_the_last_configuration_holds_alone(stream: io.StringIO) -> None:
    second = io.StringIO()
    configure(LogSettings(format="json"), stream=second)
    structlog.get_logger("pipeline.x").info("once")
    assert logged(stream) == []
    assert len(logged(second)) == 1


@pytest.mark.parametrize(
    "key", ["password", "sasl_password", "token", "access_token", "API_KEY", "authorization", "client_secret"]
)
def test_what_is_called_like_a_credential_is_masked(stream: io.StringIO, key: str) -> None:
    structlog.get_logger("pipeline.x").info("x", **{key: "hunter2", "nested": {key: "hunter2"}, "tokens": 12})
    assert "hunter2" not in stream.getvalue()
    assert logged(stream)[0]["tokens"] == 12


def test_credentials_within_text_are_redacted(stream: io.StringIO) -> None:
    key = "sk-" + "abcdefghij0123456789" * 2
    log = structlog.get_logger("pipeline.x")
    log.info("key %s", key, why=f"used {key}", where="http://u:hunter2@h:8123")
    logging.getLogger("some.library").warning("%s failed", key)
    try:
        int(key)
    except ValueError as error:
        log.exception("failed", cause=error)
    text = stream.getvalue()
    assert key not in text
    assert "hunter2" not in text
    assert "ValueError" in logged(stream)[2]["exception"]


def test_record_values_are_not_shown(stream: io.StringIO) -> None:
    secret = b"what the user said"
    log = structlog.get_logger("pipeline.x")
    log.info("x", value=secret, record=Envelope(7, secret), other=Opaque("what the user said"), label=OTHER)
    (line,) = logged(stream)
    assert "what the user said" not in stream.getvalue()
    assert (line["value"], line["other"], line["label"]) == ("<18 bytes>", "<Opaque>", "other")


def test_the_console_shows_stack_traces_without_local_variables() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="console"), stream=stream)
    local = "what the user said".replace(" ", "-")
    try:
        int(local[:0])
    except ValueError:
        structlog.get_logger("pipeline.x").exception("failed")
    assert "ValueError: invalid literal" in stream.getvalue()
    assert local not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def record(message: str, *arguments: object, name: str = "kafka.net.manager") -> logging.LogRecord:
    """Return a line as kafka-python writes it."""
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)


def test_a_flood_is_cut_for_each_message_and_its_size_is_shown() -> None:
    now = [TIME]
    limit = KafkaLimit(burst=2, period=60, monotonic=lambda: now[0])
    passed = [limit.filter(record("Connection failed: %s", number)) for number in range(5)]
    assert passed == [True, True, False, False, False]
    assert limit.filter(record("Another message"))
    assert limit.filter(record("Connection failed: %s", name="pipeline.kafka.source"))
    now[0] += 60
    line = record("Connection failed: %s", 6)
    assert limit.filter(line)
    assert vars(line)["suppressed"] == 3


def test_messages_that_differ_in_numbers_are_one() -> None:
    limit = KafkaLimit(burst=1)
    assert limit.filter(record("Bootstrap attempt to bootstrap-0 failed: x (backoff 0.05 secs)"))
    assert not limit.filter(record("Bootstrap attempt to bootstrap-1 failed: x (backoff 0.11 secs)"))


def test_memory_of_messages_is_bounded() -> None:
    limit = KafkaLimit(burst=1)
    for number in range(3000):
        limit.filter(record("message " + chr(0x4E00 + number)))
    assert len(limit._templates) <= 1001


def test_the_flood_s_size_reaches_the_line(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    (handler,) = [handler for handler in logging.getLogger().handlers if getattr(handler, "runstep", False)]
    (limit,) = handler.filters
    now = [TIME]
    monkeypatch.setattr(limit, "_monotonic", lambda: now[0])
    for _ in range(10):
        logging.getLogger("kafka.x").warning("again")
    now[0] += 61
    logging.getLogger("kafka.x").warning("again")
    lines = logged(stream)
    assert [line.get("suppressed_before") for line in lines] == [None, None, None, 7]
