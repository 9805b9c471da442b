"""Sections about runs, tokens and tools."""

from pipeline.tools.html_report import tables
from pipeline.tools.html_report.page_queries import Answers
from pipeline.tools.html_report.period import Period, bucket_name
from pipeline.tools.html_report.plots import Caption, Figure, bars, counted, percentiles, ranking
from pipeline.tools.html_report.tables import PageTable


def runs(period: Period, answers: Answers) -> list[Figure | PageTable]:
    """Return the number of runs and their durations."""
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
            Caption("runs", "Runs begun", "By the time of their first step.", f"runs per {bucket_name(period.width)}"),
            period,
            counted(period, counts, ("without failures", "with failed or expired steps")),
        ),
        percentiles(
            Caption(
                "run_durations",
                "Run duration",
                "From the creation of the first step to the end of the last one; only runs that are over.",
                "seconds",
            ),
            period,
            answers["runs"],
        ),
        _longest(answers),
    ]


def tokens(period: Period, answers: Answers) -> list[Figure | PageTable]:
    """Return the tokens over time and by assistant."""
    spent = [(name, row["bucket"], row[name] or 0) for row in answers["tokens"] for name in ("input", "output")]
    users = [row for row in answers["assistants"] if row["total"]]
    return [
        bars(
            Caption(
                "tokens", "Tokens over time", "By the creation of the step.", f"tokens per {bucket_name(period.width)}"
            ),
            period,
            counted(period, spent, ("input", "output")),
        ),
        ranking(
            Caption("assistants", "Tokens by assistant", "The 20 assistants that used most tokens.", "tokens"),
            [row["assistant"] for row in users],
            {name: [row[name] or 0 for row in users] for name in ("input", "output")},
        ),
        PageTable(
            "assistant_tokens",
            "Tokens by assistant, in numbers",
            "Cached tokens are part of the input tokens, reasoning tokens part of the output tokens.",
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


def tools(answers: Answers) -> list[Figure | PageTable]:
    """Return the calls by tool, and how the steps with those calls ended."""
    rows = answers["tools"]
    return [
        ranking(
            Caption("calls", "Calls by tool", "The 20 tools that were called most.", "calls"),
            [row["tool"] for row in rows],
            {"calls": [row["calls"] for row in rows]},
            wide=True,
        ),
        PageTable(
            "tools",
            "Tools, in numbers",
            "A step with several calls counts once for each tool.",
            [
                tables.word("tool", "tool"),
                tables.word("kind", "kind"),
                tables.number("calls", "calls"),
                tables.number("steps", "steps"),
                tables.number("failed or expired steps", "failed"),
                tables.elapsed("step duration, p50", "percentiles", 0),
                tables.elapsed("p95", "percentiles", 1),
            ],
            rows,
            "No step called a tool.",
        ),
    ]


def _longest(answers: Answers) -> PageTable:
    return PageTable(
        "longest_runs",
        "Longest runs",
        "The 15 runs that took longest. Active: time in which a step was in progress. Waiting on the client: the part "
        "of it in steps that call functions, which last until the client submits the outputs.",
        [
            tables.elapsed("duration", "wall_ms"),
            tables.elapsed("active", "active_ms"),
            tables.elapsed("waiting on the client", "client_ms"),
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
        "No run that began in this time is over.",
    )
