"""Sections about steps: how many, how fast, how well, and single ones that deserve a look."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pipeline.tools.html_report import tables
from pipeline.tools.html_report.figures import Figure, Words, bars, counted, heat, lines, percentiles
from pipeline.tools.html_report.period import Period, span
from pipeline.tools.html_report.questions import BOUNDS, Answers, Row
from pipeline.tools.html_report.tables import Table
from pipeline.tools.html_report.text import duration, percent

_STATES: Final = ("completed", "in_progress", "cancelled", "expired", "failed")
_FAILED: Final = frozenset({"failed", "expired"})
_JUDGED: Final = _FAILED | {"completed"}
_IDENTITIES: Final = (
    tables.identity("step", "step_id"),
    tables.identity("run", "run_id"),
    tables.identity("thread", "thread_id"),
)


def steps(period: Period, answers: Answers) -> list[Figure | Table]:
    """Return how many steps there were, how many of them went well, and how long they took."""
    each = span(period.width)
    states = [(row["state"], row["bucket"], row["steps"]) for row in answers["steps"]]
    return [
        bars(
            Words("steps", "Steps by status", "By the time of their creation.", f"steps per {each}"),
            period,
            counted(period, states, _STATES),
        ),
        lines(
            Words(
                "success",
                "Success by type",
                "Completed steps among those that completed, failed or expired. No point: no such step.",
                "% of steps",
            ),
            period,
            _success(period, answers["steps"]),
            range=[0, 103],
            ticksuffix=" %",
            hoverformat=".2~f",
        ),
        percentiles(
            Words(
                "durations", "Duration percentiles", "Of completed steps, from created to completed; exact.", "seconds"
            ),
            period,
            answers["durations"],
        ),
        _by_kind(answers["steps"]),
        _heatmap(period, answers),
    ]


def failures(period: Period, answers: Answers) -> list[Figure | Table]:
    """Return what went wrong."""
    counts = [(row["category"], row["bucket"], row["steps"]) for row in answers["failures"]]
    return [
        bars(
            Words(
                "failures",
                "Failures by category",
                "rate_limit, server and timeout may heal when tried again; quota, auth, invalid_request and "
                "content_filter do not.",
                f"steps per {span(period.width)}",
            ),
            period,
            counted(period, counts),
            wide=True,
        ),
        Table(
            "errors",
            "Groups of errors",
            "Grouped by what the messages have in common once ids, numbers and addresses are masked; the message is "
            "the latest one, with credentials redacted when it was stored. The 25 most frequent groups. No "
            "fingerprint: the step came without an error.",
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


def slow(answers: Answers) -> list[Figure | Table]:
    """Return single steps that deserve a look."""
    stuck = answers["stuck"]
    more = bool(stuck) and stuck[0]["stuck"] > len(stuck)
    shown = f" The {len(stuck)} longest silent of {stuck[0]['stuck']:,}." if more else ""
    return [
        Table(
            "slowest",
            "Slowest steps",
            "The 25 that took longest, without the expired ones: those took as long as a run may last.",
            [
                tables.lasting("duration", "duration_ms"),
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
        Table(
            "stuck",
            "Stuck steps",
            f"Not ended, and nothing was heard of them for ten minutes when this page was made.{shown}",
            [
                tables.Column("silent for", lambda row: duration(row["silent"] * 1000), "number"),
                tables.Column("deadline", lambda row: "passed" if row["overdue"] else ""),
                tables.word("type", "type"),
                tables.word("status", "status"),
                tables.time("created", "created_at"),
                *_IDENTITIES,
            ],
            stuck,
            "None.",
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
    """Return the names of the duration bins; a bin holds what exceeds the bound before and not its own."""
    named = [duration(bound) for bound in BOUNDS]
    return [f"≤ {named[0]}", *(f"≤ {upper}" for upper in named[1:]), f"> {named[-1]}"]


def _by_kind(rows: Sequence[Row]) -> Table:
    """Return the steps of the whole range by type, one column a status."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts[row["kind"], row["state"]] += row["steps"]
    kinds = sorted({kind for kind, _ in counts})
    states = [*_STATES, *({state for _, state in counts} - set(_STATES))]
    totals = [{"type": kind, **{state: counts[kind, state] for state in states}} for kind in kinds]
    return Table(
        "by_type",
        "Steps by type",
        "What is in no vocabulary is counted as other. Success: completed among completed, failed and expired.",
        [
            tables.word("type", "type"),
            *(tables.number(state.replace("_", " "), state) for state in states),
            tables.Column("success", _success_of, "number"),
        ],
        sorted(totals, key=lambda total: -sum(total[state] for state in states)),
        "No steps.",
        wide=False,
    )


def _success_of(total: Row) -> str:
    return percent(total["completed"], sum(total[state] for state in _JUDGED))


def _heatmap(period: Period, answers: Answers) -> Figure:
    return heat(
        Words(
            "heatmap",
            "Durations",
            "Ended steps by the time of their creation and by how long they took.",
            f"steps per {span(period.width)}",
        ),
        period,
        _bins(),
        [(row["bucket"], row["bin"], row["steps"]) for row in answers["heatmap"]],
    )
