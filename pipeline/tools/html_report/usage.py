"""Sections about what steps belong to and use: runs, tokens, tools."""

from pipeline.tools.html_report import tables
from pipeline.tools.html_report.figures import Figure, Words, bars, counted, percentiles, ranking
from pipeline.tools.html_report.period import Period, span
from pipeline.tools.html_report.questions import Answers
from pipeline.tools.html_report.tables import Table


def runs(period: Period, answers: Answers) -> list[Figure | Table]:
    """Return how many runs there were, and how long they took."""
    rows = [row for row in answers["runs"] if not row["whole"]]
    counts = [
        (name, row["bucket"], number)
        for row in rows
        for name, number in (
            ("without failures", row["runs"] - row["failed"]),
            ("with failed or expired steps", row["failed"]),
        )
    ]
    return [
        bars(
            Words("runs", "Runs begun", "By the time of their first step.", f"runs per {span(period.width)}"),
            period,
            counted(period, counts, ("without failures", "with failed or expired steps")),
        ),
        percentiles(
            Words(
                "run_durations",
                "Run duration",
                "From the creation of the first step to the end of the last, of runs that are over.",
                "seconds",
            ),
            period,
            answers["runs"],
        ),
        _longest(answers),
    ]


def tokens(period: Period, answers: Answers) -> list[Figure | Table]:
    """Return how many tokens were used, and by whom."""
    spent = [(name, row["bucket"], row[name] or 0) for row in answers["tokens"] for name in ("input", "output")]
    users = [row for row in answers["assistants"] if row["total"]]
    return [
        bars(
            Words("tokens", "Tokens over time", "By the creation of their step.", f"tokens per {span(period.width)}"),
            period,
            counted(period, spent, ("input", "output")),
        ),
        ranking(
            Words("assistants", "Tokens by assistant", "The 20 assistants that used most.", "tokens"),
            [row["assistant"] for row in users],
            {name: [row[name] or 0 for row in users] for name in ("input", "output")},
        ),
        Table(
            "assistant_tokens",
            "Tokens by assistant, in numbers",
            "Cached tokens are part of the input, reasoning tokens of the output.",
            [
                tables.identity("assistant", "assistant"),
                tables.number("steps", "steps"),
                tables.number("failed or expired", "failed"),
                *(tables.number(name, name) for name in ("total", "input", "output", "cached", "reasoning")),
            ],
            answers["assistants"],
            "No steps.",
        ),
    ]


def tools(answers: Answers) -> list[Figure | Table]:
    """Return which tools were called, and how the steps that called them fared."""
    rows = answers["tools"]
    return [
        ranking(
            Words("calls", "Calls by tool", "The 20 tools that were called most.", "calls"),
            [row["tool"] for row in rows],
            {"calls": [row["calls"] for row in rows]},
            wide=True,
        ),
        Table(
            "tools",
            "Tools, in numbers",
            "A step with several calls counts once for each of its tools.",
            [
                tables.word("tool", "tool"),
                tables.word("kind", "kind"),
                tables.number("calls", "calls"),
                tables.number("steps", "steps"),
                tables.number("failed or expired steps", "failed"),
                tables.lasting("step duration, p50", "percentiles", 0),
                tables.lasting("p95", "percentiles", 1),
            ],
            rows,
            "No step called a tool.",
        ),
    ]


def _longest(answers: Answers) -> Table:
    return Table(
        "longest_runs",
        "Longest runs",
        "The 15 that took longest. Active: a step was at work. Waiting on the client: of that, in steps that call "
        "functions, which last until their outputs are submitted.",
        [
            tables.lasting("duration", "wall_ms"),
            tables.lasting("active", "active_ms"),
            tables.lasting("waiting on the client", "client_ms"),
            tables.word("status", "status"),
            tables.number("steps", "steps"),
            tables.number("failed", "failed_steps"),
            tables.number("tool calls", "tool_calls"),
            tables.number("tokens", "total_tokens"),
            tables.time("began", "started_at"),
            tables.identity("run", "run_id"),
            tables.identity("thread", "thread_id"),
        ],
        answers["longest_runs"],
        "No run of this time is over.",
    )
