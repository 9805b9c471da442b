"""Expected rows as people write them, and stored rows brought into the same form.

An expectation names the columns that carry information; all others must be blank. Times are text in UTC,
`2024-05-03 01:23:40.000`; `step_details` and `extra_fields` are JSON, and `"as sent"` stands for the details of the
payload's step; the order of anomalies does not count. A fingerprint must be there exactly when there is a message or a
code. `tests/examples/README.md` says how a file looks.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from tests.support.paths import EXAMPLES
from tests.support.wire_shapes import frames

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
            "too_complex",
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
AS_SENT: Final = "as sent"
_JSON: Final = ("step_details", "extra_fields")
_TEXTS: Final = ("thread_id", "run_id", "step_id", "assistant_id", "type", "status", "dialect", "message_id")
_ERROR: Final = ("error_code", "error_category", "error_message")
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
NUMBERS: Final = (*TIMES, "duration_ms", *_TOKENS)
"""Columns of times and counts: NULL, or what the payload's numbers say."""

_LISTS: Final = ("tool_types", "tool_names", "tool_call_ids", "anomalies")
_BLANK: Final[Columns] = {
    **dict.fromkeys(_TEXTS + _ERROR + _JSON, ""),
    **dict.fromkeys((*NUMBERS, "error_retryable")),
    **{name: [] for name in _LISTS},
    "tool_call_count": 0,
    "metadata": {},
}
COLUMNS: Final = (*_BLANK, "error_fingerprint")
"""What is compared, to be selected from the tables."""

_is_fingerprint: Final = re.compile(r"[0-9a-f]{16}").fullmatch


def expected(written: Mapping[str, Any], sent: object = None) -> Columns:
    """Return the full row of an expectation; a column that does not exist is a mistake in the test.

    Args:
        written: the columns that carry information.
        sent: the step as it was sent, which `"as sent"` refers to.
    """
    unknown = written.keys() - _BLANK.keys()
    assert not unknown, f"no such columns: {sorted(unknown)}"
    row = _BLANK | dict(written)
    if row["step_details"] == AS_SENT:
        assert isinstance(sent, dict), sent
        row["step_details"] = sent.get("step_details") or sent["stepDetails"]
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
    """One of the project's own payloads: the record's value, and a verdict for each step in it.

    Attributes:
        name: the file, as folder/stem.
        value: the bytes of the record.
        verdicts: a full row (see `expected`) or a reason for each step of a page or frame of a stream.
    """

    name: str
    value: bytes | None
    verdicts: list[Columns | str]

    @property
    def reasons(self) -> list[str]:
        """Return the reason of each verdict, '' for a stored step."""
        return ["" if isinstance(verdict, dict) else verdict for verdict in self.verdicts]


def examples() -> Iterable[Example]:
    """Read all of them, by name."""
    for path in sorted(EXAMPLES.glob("*/*.json")):
        yield example(f"{path.parent.name}/{path.stem}")


def example(name: str) -> Example:
    """Read one.

    The value stands as JSON under `value`, as text under `text`, in base64 under `base64`, or under `lines`: a line
    each, where `["data: ", {...}]` is a line that ends in JSON.
    """
    read = json.loads((EXAMPLES / f"{name}.json").read_text())
    value = _value(read)
    written = read["expected"] if isinstance(read["expected"], list) else [read["expected"]]
    as_sent = any(one.get("step_details") == AS_SENT for one in written)
    sent = [frame.sent for frame in frames(value or b"")] if as_sent else [None] * len(written)
    return Example(name, value, [_verdict(one, step) for one, step in zip(written, sent, strict=True)])


def _value(read: Mapping[str, Any]) -> bytes | None:
    if "lines" in read:
        return "\n".join(one if isinstance(one, str) else one[0] + _compact(one[1]) for one in read["lines"]).encode()
    if "value" in read:
        return None if read["value"] is None else json.dumps(read["value"], ensure_ascii=False).encode()
    return base64.b64decode(read["base64"]) if "base64" in read else read["text"].encode()


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _verdict(written: Mapping[str, Any], sent: object) -> Columns | str:
    if "outcome" not in written:
        return expected(written, sent)
    assert written["outcome"] == OUTCOMES[written["reason"]], written
    return str(written["reason"])
