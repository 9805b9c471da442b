"""The board "Run step explorer": search, the slowest steps, failing assistants, errors, tools, tokens.

For those who look for a cause, and for analysts. Its SQL is in `queries/explorer_sql`.
"""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from deploy.grafana.clickhouse_panels import figures, rows, stored_over_time
from deploy.grafana.navigation import EXPLORER, STEP, cell, link
from deploy.grafana.queries import explorer_sql as queries
from deploy.grafana.style import Caption, Column, coloured, falling

_SHOWN: Final = {"run_id": cell("run_id"), "step_id": cell("step_id")}
_STEP_ID: Final = Column(width=265, links=[link("Open the step", EXPLORER, STEP, **_SHOWN)])
_RUN_ID: Final = Column(width=265, links=[link("Open the run", EXPLORER, STEP, run_id=cell("run_id"), step_id="")])
_ASSISTANT: Final = Column(
    width=265, links=[link("Only this assistant", EXPLORER, EXPLORER, assistant="${__value.raw:percentencode}")]
)
_TIME: Final = Column(unit="time:YYYY-MM-DD HH:mm:ss", width=170)
_COUNT: Final = Column(unit="short", width=110)
_NARROW: Final = Column(unit="short", width=80)
_DURATION: Final = Column(unit="ms", width=125)
_RATIO: Final = Column(unit="percentunit", width=115)


def sections() -> Sequence[tuple[str, Sequence[Any]]]:
    """Return the board's rows: their titles and panels."""
    return (
        ("Selection", (_figures(),)),
        ("Steps", (_steps(), _slowest())),
        ("Errors", (_errors(),)),
        ("Assistants and tools", (_assistants(), _tools())),
        ("Hour by hour", (_tokens(), _latency(), _statuses())),
    )


def _figures() -> Any:
    panel = figures(
        Caption(
            "Selected steps",
            "The steps created in the time range that match the variables at the top. The success ratio leaves out "
            "cancelled steps and steps in progress.",
            "short",
        ),
        queries.FIGURES,
        {"success ratio": "percentunit", "p50 duration": "ms", "p95 duration": "ms"},
    )
    limits = falling(warn=0.99, bad=0.95).build()
    return panel.override_by_name("success ratio", [DynamicConfigValue(id_val="thresholds", value=limits)])


def _steps() -> Any:
    return rows(
        Caption(
            "Search",
            "The latest 200 of the selected steps. Click a step or a run to open it, or an assistant to see only its "
            "steps.",
            "none",
        ),
        queries.STEPS,
        {
            "created_at": _TIME,
            "step_id": _STEP_ID,
            "run_id": _RUN_ID,
            "assistant_id": _ASSISTANT,
            "type": Column(width=150),
            "status": Column(width=110),
            "duration_ms": _DURATION,
            "total_tokens": _COUNT,
            "tools": Column(width=150),
            "error_category": Column(width=130),
            "error_message": Column(width=230),
        },
    ).height(11)


def _slowest() -> Any:
    return rows(
        Caption("Slowest steps", "The 50 selected steps with the longest time from creation to end.", "none"),
        queries.SLOWEST,
        {
            "step_id": _STEP_ID,
            "run_id": _RUN_ID,
            "assistant_id": _ASSISTANT,
            "created_at": _TIME,
            "duration_ms": _DURATION,
            "type": Column(width=150),
            "status": Column(width=110),
        },
    )


def _errors() -> Any:
    return rows(
        Caption(
            "Errors by fingerprint",
            "Failed and expired steps, grouped by their error message with ids, numbers and addresses masked. "
            "first_seen and last_seen are within the time range. Without a fingerprint: the event had no error.",
            "none",
        ),
        queries.ERRORS,
        {
            "fingerprint": Column(
                width=160,
                links=[link("Only this error", EXPLORER, EXPLORER, fingerprint="${__value.raw:percentencode}")],
            ),
            "latest_message": Column(width=250),
            "category": Column(width=115),
            "code": Column(width=160),
            "steps": _NARROW,
            "runs": _NARROW,
            "assistants": _COUNT,
            "first_seen": _TIME,
            "last_seen": _TIME,
            "latest_step": Column(
                links=[link("Open the step", EXPLORER, STEP, run_id="", step_id=cell("latest_step"))]
            ),
        },
    ).height(9)


def _assistants() -> Any:
    return rows(
        Caption(
            "Failing assistants",
            "Assistants with failed or expired steps. main_category is the error category of most of their failures.",
            "none",
        ),
        queries.ASSISTANTS,
        {
            "assistant_id": _ASSISTANT,
            "failures": _NARROW,
            "failure_ratio": _RATIO,
            "steps": _NARROW,
            "main_category": Column(width=110),
            "last_failure": Column(unit="time:MM-DD HH:mm", width=125),
        },
    ).span(12)


def _tools() -> Any:
    return rows(
        Caption(
            "Tools",
            "The tools with most calls. A call has no time and no outcome of its own: durations and failures are "
            "those of the steps that called the tool.",
            "none",
        ),
        queries.TOOLS,
        {
            "tool": Column(links=[link("Only this tool", EXPLORER, EXPLORER, tool="${__value.raw:percentencode}")]),
            "calls": _NARROW,
            "steps": _NARROW,
            "failure_ratio": _RATIO,
            "p50": Column(unit="ms", width=80),
            "p95": Column(unit="ms", width=80),
        },
    ).span(12)


def _tokens() -> Any:
    panel = stored_over_time(
        Caption(
            "Tokens per hour by assistant",
            "Tokens of the steps created in each hour: the seven assistants with most tokens, and all others together.",
            "short",
        ),
        queries.TOKENS,
        bars=True,
    )
    return panel.span(12)


def _latency() -> Any:
    return stored_over_time(
        Caption(
            "Latency by hour",
            "Exact durations of the steps created in each hour.",
            "ms",
        ),
        queries.LATENCY,
    )


def _statuses() -> Any:
    panel = stored_over_time(
        Caption("Steps per hour by status", "Steps created in each hour, by their current status.", "short"),
        queries.STATUSES,
        bars=True,
    )
    return coloured(panel, "completed", "failed", "expired", "cancelled", "in_progress")
