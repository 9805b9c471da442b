"""Sections about steps: their number, success and duration, their failures, and slow and stuck ones."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pipeline.text import duration, percent
from pipeline.tools.html_report import tables
from pipeline.tools.html_report.page_queries import BOUNDS, Answers, Row
from pipeline.tools.html_report.period import Period, bucket_name
from pipeline.tools.html_report.plots import Caption, Figure, bars, counted, heat, lines, percentiles
from pipeline.tools.html_report.tables import PageTable

_STATES: Final = ("completed", "in_progress", "cancelled", "expired", "failed")
_FAILED: Final = frozenset({"failed", "expired"})
_JUDGED: Final = _FAILED | {"completed"}
_IDENTITIES: Final = (
    tables.identity("step", "step_id"),
    tables.identity("run", "run_id"),
    tables.identity("thread", "thread_id"),
)


def steps(period: Period, answers: Answers) -> list[Figure | PageTable]:
    """Return the steps by status, their success and their durations."""
    each = bucket_name(period.width)
    states = [(row["state"], row["bucket"], row["steps"]) for row in answers["steps"]]
    return [
        bars(
            Caption("steps", "Steps by status", "By the time of their creation.", f"steps per {each}"),
            period,
            counted(period, states, _STATES),
        ),
        lines(
            Caption(
                "success",
                "Success by type",
                "Completed steps among those that completed, failed or expired. A gap in a line: there were none.",
                "% of steps",
            ),
            period,
            _success(period, answers["steps"]),
            range=[0, 103],
            ticksuffix=" %",
            hoverformat=".2~f",
        ),
        percentiles(
            Caption(
                "durations",
                "Duration percentiles",
                "Of completed steps, from creation to completion; exact.",
                "seconds",
            ),
            period,
            answers["durations"],
        ),
        _by_kind(answers["steps"]),
        _heatmap(period, answers),
    ]


def failures(period: Period, answers: Answers) -> list[Figure | PageTable]:
    """Return failed and expired steps by category, and the groups of their errors."""
    counts = [(row["category"], row["bucket"], row["steps"]) for row in answers["failures"]]
    return [
        bars(
            Caption(
                "failures",
                "Failures by category",
                "A retry may help after rate_limit, server and timeout; it does not help after quota, auth, "
                "invalid_request and content_filter.",
                f"steps per {bucket_name(period.width)}",
            ),
            period,
            counted(period, counts),
            wide=True,
        ),
        PageTable(
            "errors",
            "Groups of errors",
            "The 25 most frequent groups. Messages that differ only in ids, numbers and addresses have the same "
            "fingerprint; shown is the latest message, with credentials redacted. A group without a fingerprint holds "
            "steps that reported no error.",
            [
                tables.number("steps", "steps"),
                tables.number("runs", "runs"),
                tables.word("category", "category"),
                tables.word("code", "code"),
                tables.message("message", "message"),
                tables.time("first seen", "first_seen"),
                tables.time("last seen", "last_seen"),
                tables.identity("fingerprint", "fingerprint"),
            ],
            answers["errors"],
            "No step failed or expired in this time.",
        ),
    ]


def slow(answers: Answers) -> list[Figure | PageTable]:
    """Return the slowest steps, and those that are stuck."""
    stuck = answers["stuck"]
    more = bool(stuck) and stuck[0]["stuck"] > len(stuck)
    shown = f" Shown are the {len(stuck)} longest silent of {stuck[0]['stuck']:,}." if more else ""
    return [
        PageTable(
            "slowest",
            "Slowest steps",
            "The 25 steps that took longest. Expired steps are left out: they last until the deadline of their run.",
            [
                tables.elapsed("duration", "duration_ms"),
                tables.word("type", "type"),
                tables.word("status", "status"),
                tables.time("created", "created_at"),
                tables.names("tools", "tool_names"),
                tables.word("error", "error_category"),
                *_IDENTITIES,
            ],
            answers["slowest"],
            "No step of this time has ended.",
        ),
        PageTable(
            "stuck",
            "Stuck steps",
            f"Steps that have not ended and sent no event in the ten minutes before this page was made.{shown}",
            [
                tables.PageColumn("silent for", lambda row: duration(row["silent"]), "number"),
                tables.PageColumn("deadline", lambda row: "passed" if row["overdue"] else ""),
                tables.word("type", "type"),
                tables.word("status", "status"),
                tables.time("created", "created_at"),
                *_IDENTITIES,
            ],
            stuck,
            "No step of this time is stuck.",
        ),
    ]


def _success(period: Period, rows: Sequence[Row]) -> dict[str, Sequence[float | None]]:
    """Return the share of completed steps by type, in percent."""
    judged: Counter[tuple[str, int]] = Counter()
    good: Counter[tuple[str, int]] = Counter()
    for row in rows:
        if row["state"] in _JUDGED:
            judged[row["kind"], row["bucket"]] += row["steps"]
            good[row["kind"], row["bucket"]] += row["steps"] if row["state"] == "completed" else 0
    kinds = sorted({kind for kind, _ in judged})
    return {
        kind: [
            100 * good[kind, bucket] / judged[kind, bucket] if judged[kind, bucket] else None
            for bucket in range(period.buckets)
        ]
        for kind in kinds
    }


def _bins() -> list[str]:
    """Return the names of the duration bins; a bin holds durations above the previous bound, up to its own."""
    named = [duration(bound / 1000) for bound in BOUNDS]
    return [f"≤ {named[0]}", *(f"≤ {upper}" for upper in named[1:]), f"> {named[-1]}"]


def _by_kind(rows: Sequence[Row]) -> PageTable:
    """Return the steps of the whole range by type, one column for each status."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts[row["kind"], row["state"]] += row["steps"]
    kinds = sorted({kind for kind, _ in counts})
    states = [*_STATES, *({state for _, state in counts} - set(_STATES))]
    totals = [{"type": kind, **{state: counts[kind, state] for state in states}} for kind in kinds]
    return PageTable(
        "by_type",
        "Steps by type",
        "Unknown types and statuses are counted as other. Success: completed among completed, failed and expired.",
        [
            tables.word("type", "type"),
            *(tables.number(state.replace("_", " "), state) for state in states),
            tables.PageColumn("success", _success_of, "number"),
        ],
        sorted(totals, key=lambda total: -sum(total[state] for state in states)),
        "No steps.",
        wide=False,
    )


def _success_of(total: Row) -> str:
    return percent(total["completed"], sum(total[state] for state in _JUDGED))


def _heatmap(period: Period, answers: Answers) -> Figure:
    return heat(
        Caption(
            "heatmap",
            "Durations",
            "Ended steps by the time of their creation and by their duration.",
            f"steps per {bucket_name(period.width)}",
        ),
        period,
        _bins(),
        [(row["bucket"], row["bin"], row["steps"]) for row in answers["heatmap"]],
    )
