"""Expected rows as people write them, and stored rows brought into the same form.

An expectation names the columns that carry information; all others must be blank. Times are text in UTC,
`2024-05-03 01:23:40.000`; `step_details` and `extra_fields` are JSON; the order of anomalies does not count. Of a
fingerprint is only said that it is there exactly when there is a message or a code.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from tests.support.paths import EXAMPLES

Columns: TypeAlias = dict[str, Any]


OUTCOMES: Final = {
    "": "stored",
    **dict.fromkeys(("tombstone", "empty_value", "empty_list", "delta", "not_a_run_step", "stream_control"), "ignored"),
    **dict.fromkeys(
        (
            "not_utf8",
            "invalid_json",
            "too_deep",
            "too_large",
            "not_an_object",
            "too_many_steps",
            "missing_step_id",
            "missing_run_id",
            "missing_created_at",
            "unreadable_created_at",
        ),
        "dead_lettered",
    ),
}
"""Reason to outcome."""

TIMES: Final = ("created_at", "completed_at", "failed_at", "cancelled_at", "expired_at", "expires_at", "ended_at")
_JSON: Final = ("step_details", "extra_fields")
_TEXTS: Final = ("thread_id", "run_id", "step_id", "assistant_id", "type", "status", "dialect", "message_id")
_ERROR: Final = ("error_code", "error_category", "error_message")
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_NUMBERS: Final = ("duration_ms", "error_retryable", *_TOKENS)
_LISTS: Final = ("tool_types", "tool_names", "tool_call_ids", "anomalies")
_BLANK: Final[Columns] = {
    **dict.fromkeys(_TEXTS + _ERROR + _JSON, ""),
    **dict.fromkeys(TIMES + _NUMBERS),
    **{name: [] for name in _LISTS},
    "tool_call_count": 0,
    "metadata": {},
}
COLUMNS: Final = (*_BLANK, "error_fingerprint")
"""What is compared, to be selected from the tables."""

_is_fingerprint: Final = re.compile(r"[0-9a-f]{16}").fullmatch


def expected(written: Mapping[str, Any]) -> Columns:
    """Return the full row of an expectation; columns that do not exist are a mistake in the test."""
    unknown = written.keys() - _BLANK.keys()
    assert not unknown, f"no such columns: {sorted(unknown)}"
    row = _BLANK | dict(written)
    row["has_fingerprint"] = bool(row["error_message"] or row["error_code"])
    return _comparable(row)


def observed(stored: Mapping[str, Any]) -> Columns:
    """Return the compared columns of a row: of ClickHouse's JSON, or of a row tuple as a mapping."""
    row = {name: stored[name] for name in COLUMNS}
    row |= {name: _as_text(row[name]) for name in TIMES}
    fingerprint = row.pop("error_fingerprint")
    assert not fingerprint or _is_fingerprint(fingerprint), fingerprint
    row["has_fingerprint"] = bool(fingerprint)
    return _comparable(row)


def _comparable(row: Columns) -> Columns:
    parsed = {name: json.loads(row[name]) if isinstance(row[name], str) and row[name] else row[name] for name in _JSON}
    return row | parsed | {"anomalies": sorted(row["anomalies"])}


def _as_text(time: str | int | None) -> str | None:
    if not isinstance(time, int):
        return time
    seconds, millis = divmod(time, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{millis:03}"


class Example(NamedTuple):
    """One of our own payloads: the record's value, and a verdict for each step in it.

    A verdict is a full row (see `expected`), or a reason.
    """

    name: str
    value: bytes | None
    verdicts: list[Columns | str]


def examples() -> Iterable[Example]:
    """Read all of them, by name.

    The value stands as JSON under `value`, as text under `text`, or in base64 under `base64`.
    """
    for path in sorted(EXAMPLES.glob("*.json")):
        read = json.loads(path.read_text())
        assert read["name"] == path.stem, path
        verdicts = read["expected"] if isinstance(read["expected"], list) else [read["expected"]]
        yield Example(path.stem, _value(read), [_verdict(one) for one in verdicts])


def _value(read: Mapping[str, Any]) -> bytes | None:
    if "value" in read:
        return None if read["value"] is None else json.dumps(read["value"], ensure_ascii=False).encode()
    return base64.b64decode(read["base64"]) if "base64" in read else read["text"].encode()


def _verdict(written: Mapping[str, Any]) -> Columns | str:
    if "outcome" not in written:
        return expected(written)
    assert written["outcome"] == OUTCOMES[written["reason"]], written
    return str(written["reason"])
