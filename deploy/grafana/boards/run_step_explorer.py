"""Which steps: search, the slowest, who fails, which errors, which tools, how many tokens.

For whoever looks for the cause, and for analysts. `explorer_queries` holds what it asks.
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
        ("What is chosen", (_figures(),)),
        ("Steps", (_steps(), _slowest())),
        ("Errors", (_errors(),)),
        ("Assistants and tools", (_assistants(), _tools())),
        ("Hour by hour", (_tokens(), _latency(), _statuses())),
    )


def _figures() -> Any:
    panel = figures(
        Caption(
            "The chosen steps",
            "What the choices at the top leave of the steps that were created in the time range. The success ratio "
            "leaves out cancelled steps and those under way.",
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
            "The latest 200 of the chosen steps. Click a step or a run to open it, an assistant to see only its steps.",
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
        Caption("Slowest steps", "The 50 of the chosen steps that took longest from created to ended.", "none"),
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
            "Errors by what they have in common",
            "Failed and expired steps, grouped by what their messages have in common once ids, numbers and addresses "
            "are masked. First and last seen within the time range. No fingerprint: the step came without an error.",
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
            "Assistants with failed or expired steps. most_often is the category that most of their failures have.",
            "none",
        ),
        queries.ASSISTANTS,
        {
            "assistant_id": _ASSISTANT,
            "failures": _NARROW,
            "failure_ratio": _RATIO,
            "steps": _NARROW,
            "most_often": Column(width=110),
            "last_failure": Column(unit="time:MM-DD HH:mm", width=125),
        },
    ).span(12)


def _tools() -> Any:
    return rows(
        Caption(
            "Tools",
            "Which tools were called most. A call has no time and no outcome of its own: durations and failures are "
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
            "Tokens of the steps created in each hour, by the seven assistants that use most and all others.",
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
            "How long the steps created in each hour took, from the steps themselves and not from buckets.",
            "ms",
        ),
        queries.LATENCY,
    )


def _statuses() -> Any:
    panel = stored_over_time(
        Caption("Steps per hour by status", "Steps created in each hour, by their state now.", "short"),
        queries.STATUSES,
        bars=True,
    )
    return coloured(panel, "completed", "failed", "expired", "cancelled", "in_progress")
