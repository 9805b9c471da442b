"""Thirteen steps whose answers can be worked out by hand, as the daemon would write them: twice, and with late events.

| run | thread, assistant | its steps, in seconds since BASE                                                        |
|-----|-------------------|-----------------------------------------------------------------------------------------|
| r1  | ta, ann           | s1 weather 0-10, s2 file_search 4-7 beside it, s3 message 12-16                         |
| r2  | ta, ann           | s4 weather twice 60-66 fails (f1), s5 weather 68-76, s6 message 76-78                   |
| r3  | tb, bob           | s7 message 3600-3603 fails (f2)                                                         |
| r4  | tb, bob           | s8 message 4800-4805                                                                    |
| r9  | te, ann           | s13 message, a day and two hours later, 40 s, 1200 tokens                               |
| r5  | tc, bob           | s9 waits for pay since day 2                                                            |
| r6  | tc, bob           | s10 code_interpreter, day 2 and 100 s, cancelled after 30 s                             |
| r7  | td, ann           | s11 weather, day 9, expires after 600 s                                                 |
| r8  | td, ann           | s12 message, day 9 and 700 s, fails after 1 s (f3)                                      |

Each has an in_progress record and, but for s9, one of its end. Threads ta, tc and te come through partition 0, tb and
td through 1. Then an ignored record (0:17), a hole (0:18), the in_progress of s1 once more, ten days late (0:19), and a
dead letter (1:8).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from schemas.row import Row
from tests.support.fakes.rows import columns_of, step_row, unstored_row

BASE = round(datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400
CATEGORIES = {"f1": ("rate_limit", "rate_limit_exceeded", True), "f2": ("server", "server_error", True)}
CATEGORIES["f3"] = CATEGORIES["f2"]


@dataclass(frozen=True)
class Step:
    """A step; times are seconds since BASE, `tools` are names with `()` behind those of functions."""

    id: str
    place: tuple[str, str, str]
    at: int
    seconds: int | None
    status: str = "completed"
    tools: tuple[str, ...] = ()
    tokens: tuple[int, int] = (100, 20)
    error: str = ""
    anomalies: list[str] = field(default_factory=list)

    @property
    def partition(self) -> int:
        return int(self.place[0] in {"tb", "td"})

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the seconds and the fields of its records."""
        begun = {
            **dict.fromkeys(("completed_at", "ended_at", "duration_ms", "prompt_tokens", "completion_tokens")),
            **dict.fromkeys(("total_tokens", "cached_tokens", "reasoning_tokens")),
            **dict(zip(("thread_id", "run_id", "assistant_id"), self.place, strict=True)),
            "kafka_partition": self.partition,
            "step_id": self.id,
            "type": "tool_calls" if self.tools else "message_creation",
            "status": "in_progress",
            "created_at": BASE + self.at * 1000,
            "expires_at": BASE + (self.at + 600) * 1000,
            "tool_call_count": len(self.tools),
            "tool_types": ["function" if name.endswith("()") else name for name in self.tools],
            "tool_names": [name.removesuffix("()") for name in self.tools],
            "tool_call_ids": [f"call_{self.id}_{number}" for number, _ in enumerate(self.tools)],
            "anomalies": self.anomalies,
            "version": 1,
        }
        yield self.at, begun
        if self.seconds is not None:
            yield self.at + self.seconds, {**begun, **self._end(self.seconds)}

    def _end(self, seconds: int) -> dict[str, Any]:
        ended = BASE + (self.at + seconds) * 1000
        category, code, retryable = CATEGORIES.get(self.error, ("", "", None))
        return {
            "status": self.status,
            f"{self.status}_at": ended,
            "ended_at": ended,
            "duration_ms": seconds * 1000,
            "prompt_tokens": self.tokens[0],
            "completion_tokens": self.tokens[1],
            "total_tokens": sum(self.tokens),
            "cached_tokens": 5,
            "reasoning_tokens": 0,
            "error_category": category or ("" if self.status == "completed" else self.status),
            "error_code": code,
            "error_retryable": retryable,
            "error_fingerprint": self.error,
            "error_message": f"what {self.error} says" if self.error else "",
            "version": 2,
        }


R1, R2 = ("ta", "r1", "ann"), ("ta", "r2", "ann")
STEPS = (
    Step("s1", R1, 0, 10, tools=("weather()",)),
    Step("s2", R1, 4, 3, tools=("file_search",), anomalies=["unit_repaired"]),
    Step("s3", R1, 12, 4, tokens=(200, 40)),
    Step("s4", R2, 60, 6, "failed", tools=("weather()", "weather()"), error="f1"),
    Step("s5", R2, 68, 8, tools=("weather()",)),
    Step("s6", R2, 76, 2),
    Step("s7", ("tb", "r3", "bob"), 3_600, 3, "failed", error="f2"),
    Step("s8", ("tb", "r4", "bob"), 4_800, 5),
    Step("s13", ("te", "r9", "ann"), DAY + 7_200, 40, tokens=(1_000, 200)),
    Step("s9", ("tc", "r5", "bob"), 2 * DAY, None, tools=("pay()",)),
    Step("s10", ("tc", "r6", "bob"), 2 * DAY + 100, 30, "cancelled", tools=("code_interpreter",)),
    Step("s11", ("td", "r7", "ann"), 9 * DAY, 600, "expired", tools=("weather()",), anomalies=["x", "unit_repaired"]),
    Step("s12", ("td", "r8", "ann"), 9 * DAY + 700, 1, "failed", error="f3"),
)


def rows() -> Iterator[Row]:
    """Yield the rows of all records."""
    heads = [0, 0]
    for step in STEPS:
        for at, fields in step.rows():
            yield step_row(heads[step.partition], **fields, **_written(at))
            heads[step.partition] += 1
    yield unstored_row(17, reason="delta", **_written(9 * DAY + 1_000))
    yield step_row(19, **next(STEPS[0].rows())[1], **_written(10 * DAY, delay=60))
    dead = {"outcome": "dead_lettered", "reason": "invalid_json", "kafka_partition": 1}
    yield unstored_row(8, **dead, **_written(9 * DAY + 2_000))


def _written(at: int, delay: int = 2) -> dict[str, int]:
    written = BASE + (at + 1) * 1000
    return {"kafka_timestamp": written, "ingested_at": written + delay * 1000, "occurred_at": BASE + at * 1000}


def fill(settings: ClickHouseSettings) -> None:
    """Write them, and then all of them again, as after a rewind of the group."""
    sink = ClickHouseSink(lambda: settings)
    for token in ("first", "again"):
        sink.insert(columns_of(list(rows())), token)
    sink.close()
