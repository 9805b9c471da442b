"""From an event to the row that is stored: the hot path's second half.

Owns which value goes to which column, the version of a step, and when an anomaly is noted. Pure. The rules
come from what servers and SDKs were seen to send; `schemas.vocabulary` lists the anomalies.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic_core import to_json

from pipeline.normalize.decode import announced_status
from pipeline.normalize.event import RunStepEvent
from pipeline.normalize.rules import Rules, bounded, cleaned, cleaned_entry
from pipeline.normalize.step_details import read_details
from pipeline.normalize.step_errors import read_error
from pipeline.normalize.timestamps import millis
from pipeline.records import (
    EARLIEST_STAMP_MS,
    FUTURE_TOLERANCE_MS,
    Outcome,
    Reason,
    Record,
    Stage,
    Unstored,
)
from pipeline.redaction import redact
from schemas.row import Row
from schemas.vocabulary import STATUSES, STEP_TYPES, TERMINAL_STATUSES
from schemas.wire import Step

_VERSION_EPOCH_MS: Final = 946_684_800_000
_VERSION_TIME_BITS: Final = 41
_VERSION_OFFSET_BITS: Final = 22
_VERSION_TIME_MAX: Final = (1 << _VERSION_TIME_BITS) - 1
_VERSION_OFFSET_MASK: Final = (1 << _VERSION_OFFSET_BITS) - 1
_TERMINAL_BIT: Final = 1 << (_VERSION_TIME_BITS + _VERSION_OFFSET_BITS)

_MAX_TOKENS: Final = 10**12
"""More than any step can use; sums of such counts stay within 64 bits, and within what a float holds exactly."""

_MAX_WORD_CHARS: Final = 128
"""Of a type and of a status: reports and panels are grouped by them, and carry each of them whole."""

_MAX_SEARCHED_CHARS: Final = 1_024
"""Of a type or status that is no known one."""

_MAX_METADATA: Final = 1_000
"""Entries; the API allows 16. A key is a value of a LowCardinality column, so there must not be any number of them."""

_MAX_KEY_CHARS: Final = 256

_NO_METADATA: Final[tuple[dict[str, str], dict[str, Any]]] = {}, {}
_NO_ANOMALIES: Final[list[str]] = []
"""Both shared by most rows, and never changed: a batch holds fewer objects for the garbage collector to walk."""

_NO_TOKENS: Final = (None, None, None, None, None)
_STORED: Final = Outcome.STORED.value
_FULL: Final = "full"
_NONE: Final = "none"


def step_row(event: RunStepEvent, record: Record, index: int, rules: Rules) -> Row | Unstored:
    """Return the row of a run step, in the order of `schemas.row.INGEST_COLUMNS`, or why it has none.

    `created_at` is part of the table's key: it is never substituted or rounded, so a step without one is rejected.
    """
    step, dialect, name, repaired, unknown = event
    anomalies = list(repaired)
    created_at = millis(step.created_at, anomalies)
    if created_at is None:
        return _without_creation(step, anomalies)
    completed_at = None if (stamp := step.completed_at) is None else millis(stamp, anomalies)
    failed_at = None if (stamp := step.failed_at) is None else millis(stamp, anomalies)
    cancelled_at = None if (stamp := step.cancelled_at) is None else millis(stamp, anomalies)
    expired_at = None if (stamp := step.expired_at) is None else millis(stamp, anomalies)
    status = step.status or ""
    if name:
        status = _ahead(name, status, anomalies)
    if status == "completed":
        ended_at = completed_at
    elif status in TERMINAL_STATUSES:
        ended_at = {"failed": failed_at, "cancelled": cancelled_at, "expired": expired_at}[status]
    else:
        ended_at = None
        if status != "in_progress" or completed_at or failed_at or cancelled_at or expired_at:
            status = _doubt_open(status, (completed_at, failed_at, cancelled_at, expired_at), anomalies)
    terminal = status in TERMINAL_STATUSES
    duration = _duration(created_at, ended_at, anomalies) if terminal else None
    topic, partition, offset, timestamp = record.topic, record.partition, record.offset, record.timestamp
    instant = ended_at or created_at
    occurred_at = ended_at if terminal else created_at
    is_stamped = EARLIEST_STAMP_MS <= timestamp <= rules.latest_stamp
    sent_at = timestamp if is_stamped else rules.read_at
    if sent_at < max(created_at, instant) - FUTURE_TOLERANCE_MS:
        anomalies.append("future_timestamp")
        # No end that lies ahead is measured, and none wins against what a later record says.
        instant, ended_at, duration = min(instant if is_stamped else created_at, sent_at), None, None
    details = read_details(step.step_details, rules, anomalies)
    kind = step.type or ""
    if kind != details.kind or kind not in STEP_TYPES:
        kind = _kind(kind, details.kind, anomalies)
    usage = step.usage
    prompt, completion, total, cached, reasoning = _tokens(usage, anomalies) if usage else _NO_TOKENS
    error = read_error(step.last_error, status, rules, anomalies)
    metadata = step.metadata
    entries, rest = _metadata(metadata, rules, anomalies) if metadata else _NO_METADATA
    return (
        topic,
        partition,
        offset,
        max(0, timestamp),
        0,
        index,
        _STORED,
        "",
        occurred_at,
        step.thread_id or "",
        step.run_id,
        step.id,
        step.assistant_id or "",
        kind,
        status,
        dialect,
        created_at,
        completed_at,
        failed_at,
        cancelled_at,
        expired_at,
        None if (stamp := step.expires_at) is None else millis(stamp, anomalies),
        ended_at,
        duration,
        *error,
        prompt,
        completion,
        total,
        cached,
        reasoning,
        details.tool_calls,
        details.tool_types,
        details.tool_names,
        details.tool_call_ids,
        details.message_id,
        details.text,
        entries,
        "" if not rest and not unknown else _extra(unknown or {}, rest, rules, anomalies),
        list(dict.fromkeys(anomalies)) if anomalies else _NO_ANOMALIES,
        version_of(terminal, instant, offset),
        False,
    )


def _doubt_open(status: str, stamps: Sequence[int | None], anomalies: list[str]) -> str:
    """Return the status, flagging what is odd about a step that has not ended: its stamps do not count."""
    if any(stamp is not None for stamp in stamps):
        anomalies.append("stamp_without_terminal_status")
    if status and status not in STATUSES:
        anomalies.append("unknown_status")
    return bounded(redact(status[:_MAX_SEARCHED_CHARS]), _MAX_WORD_CHARS, anomalies)


def _duration(created_at: int, ended_at: int | None, anomalies: list[str]) -> int | None:
    """Return the milliseconds that an ended step took; None where they are unknown or negative."""
    if ended_at is None:
        anomalies.append("terminal_without_timestamp")
        return None
    if ended_at < created_at:
        anomalies.append("negative_duration")
        return None
    return ended_at - created_at


def version_of(terminal: bool, event_time: int, offset: int) -> int:
    """Order the states of a step: terminal beats non-terminal, then the later event time, then the higher offset.

    63 | 62 ... 22 | 21 ... 0: one bit, 41 bits of milliseconds since 2000 (until 2069), the offset's lower 22 bits.
    These wrap every four million records, which can only matter between events of one step with the same time.
    """
    since = event_time - _VERSION_EPOCH_MS
    if not 0 <= since <= _VERSION_TIME_MAX:
        since = 0 if since < 0 else _VERSION_TIME_MAX
    version = since << _VERSION_OFFSET_BITS | offset & _VERSION_OFFSET_MASK
    return version | _TERMINAL_BIT if terminal else version


def _without_creation(step: Step, anomalies: list[str]) -> Unstored:
    reason = Reason.UNREADABLE_CREATED_AT if "unreadable_timestamp" in anomalies else Reason.MISSING_CREATED_AT
    detail = "created_at is not a time" if reason is Reason.UNREADABLE_CREATED_AT else "created_at is not set"
    return Unstored(reason, Stage.NORMALIZE, detail, step.id, step.run_id, step.thread_id or "")


def _ahead(name: str, status: str, anomalies: list[str]) -> str:
    """Let the event's name decide when it says that the step ended and the body lags behind (DashScope)."""
    announced = announced_status(name)
    if announced and status not in TERMINAL_STATUSES:
        anomalies.append("event_ahead_of_status")
        return announced
    return status


def _kind(sent: str, inferred: str, anomalies: list[str]) -> str:
    """Return the step's type; text that is not known is kept and flagged."""
    kind = sent or inferred
    if not sent and inferred:
        anomalies.append("type_inferred")
    elif inferred and sent != inferred:
        anomalies.append("type_mismatch")
    if kind and kind not in STEP_TYPES:
        anomalies.append("unknown_type")
    return bounded(redact(kind[:_MAX_SEARCHED_CHARS]), _MAX_WORD_CHARS, anomalies)


_TOKEN_FIELDS: Final = (
    ("prompt_tokens", "promptTokens", "input_tokens", "inputTokens"),
    ("completion_tokens", "completionTokens", "output_tokens", "outputTokens"),
    ("total_tokens", "totalTokens"),
)
_SNAKE_USAGE: Final = tuple(names[0] for names in _TOKEN_FIELDS)
_CACHED_FIELDS: Final = (
    ("prompt_token_details", "promptTokenDetails", "prompt_tokens_details", "promptTokensDetails"),
    ("cached_tokens", "cachedTokens"),
)
_REASONING_FIELDS: Final = (
    ("completion_tokens_details", "completionTokensDetails", "completion_token_details", "completionTokenDetails"),
    ("reasoning_tokens", "reasoningTokens"),
)


def _tokens(usage: Any, anomalies: list[str]) -> tuple[int | None, ...]:
    """Return prompt, completion, total, cached and reasoning tokens; None where not said."""
    if type(usage) is not dict:
        anomalies.append("token_count_unreadable")
        return _NO_TOKENS
    names = _SNAKE_USAGE if "prompt_tokens" in usage and "completion_tokens" in usage else None
    found = [usage.get(name) for name in names] if names else [_first(usage, names) for names in _TOKEN_FIELDS]
    for group, fields in (_CACHED_FIELDS, _REASONING_FIELDS):
        inner = _first(usage, group)
        found.append(_first(inner, fields) if type(inner) is dict else None)
    return tuple([value if value is None else _count(value, anomalies) for value in found])


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in values:
            return values[name]
    return None


def _count(value: Any, anomalies: list[str]) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _MAX_TOKENS):
        return value
    if isinstance(value, float) and value.is_integer() and 0 <= value <= _MAX_TOKENS:
        return int(value)
    anomalies.append("token_count_unreadable")
    return None


def _metadata(metadata: Any, rules: Rules, anomalies: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the map of strings, and the entries that are too many or have too long a key for it.

    Values that are no strings become compact JSON text.
    """
    if not isinstance(metadata, dict):
        anomalies.append("metadata_repaired")
        return _NO_METADATA
    texts: dict[str, str] = {}
    rest = {}
    for key, value in metadata.items():
        if len(texts) == _MAX_METADATA or len(key) > _MAX_KEY_CHARS:
            rest[key] = value
            continue
        text = value
        if type(value) is not str:
            text = _json(value)
            anomalies.append("metadata_repaired")
        shown, text = cleaned_entry(key, text, rules, anomalies)
        if shown != key and shown in texts:
            shown = f"{shown} {len(texts)}"  # two names that are secrets: no value is lost
        texts[shown] = text
    if rest:
        anomalies.append("metadata_repaired")
    return texts, rest


def _extra(unknown: dict[str, Any], rest: dict[str, Any], rules: Rules, anomalies: list[str]) -> str:
    """Return the undocumented fields, and the rest of the metadata, as JSON text, so that nothing sent is lost."""
    if unknown:
        anomalies.append("unknown_field")
    if rest:
        unknown = unknown | {"metadata": rest}
    if rules.content == _NONE:
        return ""
    return cleaned(_json(unknown if rules.content == _FULL else sorted(unknown)), rules, anomalies)


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="strings").decode()
